"""Events without a flood: the first of a kind is a row at once, equal ones inside a second share one more; pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from edge.contract import Reason
from edge.gate.rows import EventRow

WINDOW_NS = 1_000_000_000
MAX_KEYS = 64
"""Kinds of events told apart inside one window; further ones share a row, so memory and disk stay bounded."""


@dataclass
class _Pending:
    start_ns: int
    kept: EventRow | None = None
    """What came since, as one row."""


class EventBook:
    """Decides which events become rows now and which are counted until their second is over."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, str, str], _Pending] = {}

    def note(self, kind: str, reason: Reason | None, detail: str, now_ns: int, *, camera: str = "", count: int = 1) -> EventRow | None:
        """The row to write at once, or None when an equal event (kind, reason, camera) was written within the last second."""
        key = (kind, reason.value if reason else "", camera)
        if key not in self._pending and len(self._pending) >= MAX_KEYS:
            key = ("more", "", "")
        pending = self._pending.get(key)
        if pending is not None:
            kept = pending.kept or _row(key, detail, 0, now_ns, now_ns)
            pending.kept = msgspec.structs.replace(kept, detail=detail, count=kept.count + count, at_ns=now_ns)
            return None
        self._pending[key] = _Pending(start_ns=now_ns)
        return _row(key, detail, count, now_ns, now_ns)

    def due(self, now_ns: int, *, everything: bool = False) -> list[EventRow]:
        """Rows for the counts whose second is over (`everything`: all counts, before the gate ends)."""
        over = [key for key, p in self._pending.items() if everything or now_ns >= self._end(p)]
        rows = []
        for key in over:
            pending = self._pending.pop(key)
            if pending.kept is not None:
                rows.append(pending.kept)
                if not everything:
                    self._pending[key] = _Pending(start_ns=now_ns)
        return rows

    def next_ns(self) -> int | None:
        """When `due` has something to do, or None."""
        return min((self._end(p) for p in self._pending.values()), default=None)

    def _end(self, pending: _Pending) -> int:
        return pending.start_ns + WINDOW_NS


def _row(key: tuple[str, str, str], detail: str, count: int, first_ns: int, at_ns: int) -> EventRow:
    kind, reason, camera = key
    return EventRow(kind=kind, reason=reason, detail=detail, camera=camera, count=count, first_ns=first_ns, at_ns=at_ns)
