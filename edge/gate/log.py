"""Events of the records as lines of the log."""

from __future__ import annotations

from edge.gate.rows import EventRow
from edge.log import INFO, WARNING, Log


def say_event(log: Log, row: EventRow) -> None:
    """One line; equal kinds and reasons share a limit."""
    log.say(
        row.detail,
        kind=row.kind,
        key=(row.kind, row.reason),
        level=WARNING if row.reason else INFO,
        reason=row.reason,
        camera=row.camera,
        count=row.count if row.count > 1 else None,
    )
