"""What a gate that ended too early left open in the records, and the rows that close it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from edge.contract import Outcome, Reason
from edge.gate.rows import Disposition, DispositionRow, Row, VerdictRow

LOOK_BACK = 10_000
"""Newest triggers searched."""
_NEWEST_WITHOUT = (
    "SELECT t.session, t.sequence, t.part, t.weld, t.typology, t.opened_ns"
    " FROM (SELECT * FROM triggers ORDER BY id DESC LIMIT {}) t LEFT JOIN {} x USING (session, sequence) WHERE x.id IS NULL ORDER BY t.id"
)


def closing_rows(connection: sqlite3.Connection, now_ns: int) -> list[Row]:
    """A NO_VERDICT for every trigger without verdict, then a disposition for every trigger without one. Raises sqlite3.Error."""
    undecided = connection.execute(_NEWEST_WITHOUT.format(LOOK_BACK, "verdicts")).fetchall()
    unclosed = connection.execute(_NEWEST_WITHOUT.format(LOOK_BACK, "dispositions")).fetchall()
    return [*(_late_verdict(found, now_ns) for found in undecided), *(_late_disposition(found, now_ns) for found in unclosed)]


def _late_verdict(found: Sequence[Any], now_ns: int) -> VerdictRow:
    session, sequence, part, weld, typology, opened_ns = found
    return VerdictRow(
        session=session,
        sequence=sequence,
        part=part,
        weld=weld,
        typology=typology,
        outcome=Outcome.NO_VERDICT.value,
        reason=Reason.GATE_RESTARTED.value,
        detail="found open when the gate started",
        opened_ns=opened_ns,
        decided_ns=now_ns,
    )


def _late_disposition(found: Sequence[Any], now_ns: int) -> DispositionRow:
    return DispositionRow(
        session=found[0],
        sequence=found[1],
        sent="",
        sent_reason="",
        done=Disposition.GATE_RESTARTED.value,
        detail="what was sent is not known: the gate ended first",
        sent_ns=None,
        closed_ns=now_ns,
    )
