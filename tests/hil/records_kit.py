"""What the records say about time, from a file that a gate may still be writing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from budget_kit import at

from edge.gate.snapshot import snapshot

STAGES = """
SELECT t.opened_ns, v.received_ns, v.prepared_ns, v.scored_ns, v.decided_ns, d.sent_ns, v.outcome, v.reason
FROM triggers t JOIN verdicts v USING (session, sequence) JOIN dispositions d USING (session, sequence)
WHERE t.id > ? ORDER BY t.opened_ns
"""
UNACCOUNTED = """
SELECT count(*) FROM triggers t JOIN dispositions last USING (session, sequence) WHERE t.id > ? AND
((SELECT count(*) FROM verdicts v WHERE v.session = t.session AND v.sequence = t.sequence) != 1 OR
(SELECT count(*) FROM dispositions d WHERE d.session = t.session AND d.sequence = t.sequence) != 1)
"""
PAUSE_S = 1.0
Row = tuple[int | None, ...]


class Seen(NamedTuple):
    """Rows of STAGES, and how many closed triggers have not exactly one verdict and one disposition."""

    rows: list[Row]
    unaccounted: int


def read(records: Path, after: int = 0) -> Seen:
    """What came after this row."""
    with snapshot(records) as connection:
        return Seen(connection.execute(STAGES, (after,)).fetchall(), connection.execute(UNACCOUNTED, (after,)).fetchone()[0])


def newest(records: Path) -> int:
    """The last trigger's row."""
    with snapshot(records) as connection:
        number: int = connection.execute("SELECT coalesce(max(id), 0) FROM triggers").fetchone()[0]
    return number


def watch(records: Path, verdicts: int, wait_s: float) -> Seen:
    """Wait until so many triggers were asked, answered and closed from now on."""
    begun, until_s = newest(records), time.monotonic() + wait_s
    while len((seen := read(records, begun)).rows) < verdicts and time.monotonic() < until_s:
        time.sleep(PAUSE_S)
    return seen


def stages(rows: Sequence[Row]) -> dict[str, float]:
    """Figures of the stages, from rows whose frame was judged, in milliseconds."""
    whole = [row[:6] for row in rows if None not in row[:6]]
    assert whole, "not one frame was judged"
    steps = {
        name: [(row[place + 1] - row[place]) / 1e6 for row in whole]  # type: ignore[operator]
        for place, name in enumerate(("to_frame", "prepare", "engine", "decide", "record"))
    }
    totals = totals_ms(rows)
    figures = {f"{name}_p99_ms": at(values, 0.99) for name, values in steps.items()}
    return {**figures, "total_p50_ms": at(totals, 0.5), "total_p99_ms": at(totals, 0.99), "total_max_ms": max(totals)}


def totals_ms(rows: Sequence[Row]) -> list[float]:
    """From trigger to verdict handed over, of every verdict that was."""
    return [(row[5] - row[0]) / 1e6 for row in rows if row[5] is not None and row[0] is not None]
