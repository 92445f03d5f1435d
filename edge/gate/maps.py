"""The map that a report may carry, on its way into the record: checked apart from the verdict, which never rests on it."""

from __future__ import annotations

import msgspec

from edge.contract import Report
from edge.gate.rows import VerdictRow
from edge.map_text import unpack


def with_map(row: VerdictRow, report: Report | None) -> tuple[VerdictRow, str]:
    """The row with the report's map where it has a sound one, and what to note of a map that is missing or none."""
    if report is None or report.map is None:
        return row, "" if report is None else report.map_note
    try:
        unpack(report.map)
    except ValueError as exc:
        return row, f"the map of a report was left out: {exc}"
    return msgspec.structs.replace(row, map=report.map), report.map_note
