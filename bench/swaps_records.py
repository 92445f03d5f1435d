"""What the records say of a run with swaps: each trigger has its verdict, each verdict is what the bundle it names says of its frame."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.swaps_pair import Pair
from edge.contract import Outcome
from edge.gate.audit import verify_chain
from edge.gate.segments import segments_of

EXACT = 1e-5
"""Scores of one network for one frame differ by no more; those of the two bundles by 0.001 at least."""
JUDGED = {"OK", "DEFECT"}
CONFIRMED = {Outcome.ACCEPT: "ACCEPTED", Outcome.REJECT: "REJECTED", Outcome.NO_VERDICT: "REJECTED"}
Key = tuple[str, int]
"""Session and sequence."""


@dataclass
class Audit:
    """Counts, and whatever is wrong in words."""

    triggers: int = 0
    by_bundle: Counter[str] = field(default_factory=Counter)
    changes: int = 0
    """Verdicts by another bundle than the verdict before."""
    slowest_ms: float = 0.0
    """Longest from a trigger's last byte to its verdict's last byte, as the gate wrote both down."""
    lost: dict[Key, str] = field(default_factory=dict)
    """Triggers that a robot in step got no verdict of a network for, each with the reason."""
    mixed: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    """Anything else: records missing or double, another verdict than the robot read."""

    @property
    def clean(self) -> bool:
        """Nothing lost, nothing mixed, nothing odd."""
        return not (self.lost or self.mixed or self.odd)


def audit(records: Path, pair: Pair, told: dict[Key, Outcome | None]) -> Audit:
    """Check the records of a stopped gate against `told`, the robot's own list of its triggers. Raises CordonError for a broken chain."""
    verify_chain(records)
    found = Audit()
    triggers, verdicts, done = (_rows(records, table) for table in ("triggers", "verdicts", "dispositions"))
    found.triggers = len(triggers)
    for what, rows in (("trigger", triggers), ("verdict", verdicts), ("disposition", done)):
        counts = Counter((row["session"], row["sequence"]) for row in rows)
        found.odd += [f"{count} {what} rows for {key[1]}" for key, count in counts.items() if count != 1]
        found.odd += [f"no {what} row for {sequence}" for session, sequence in told if (session, sequence) not in counts]
        found.odd += [f"{what} row for {key[1]}, which the robot did not ask" for key in counts if key not in told]
    before = ""
    for row in verdicts:
        _check(row, pair, found)
        if row["bundle"]:
            found.by_bundle[row["bundle"]] += 1
            found.changes += bool(before) and row["bundle"] != before
            before = row["bundle"]
    opened = {(row["session"], row["sequence"]): row["opened_ns"] for row in triggers}
    for row in done:
        _check_sent(row, told, found)
        if row["sent_ns"] is not None:
            found.slowest_ms = max(found.slowest_ms, (row["sent_ns"] - opened[row["session"], row["sequence"]]) / 1e6)
    return found


def _check_sent(row: sqlite3.Row, told: dict[Key, Outcome | None], found: Audit) -> None:
    """A disposition: what was really sent is what the robot read and confirmed; an ACCEPT that was withheld is a trigger lost."""
    if row["sent_reason"] not in JUDGED:
        sent = f"disposition {row['sequence']}: sent {row['sent']} {row['sent_reason']} {row['detail']}"
        found.lost.setdefault((row["session"], row["sequence"]), sent)
        return
    read = told.get((row["session"], row["sequence"]))
    if read is None or (row["sent"], row["done"]) != (read.value, CONFIRMED[read]):
        found.odd.append(f"disposition {row['sequence']}: sent {row['sent']}, {row['done']}, but the robot read {read}")


def _check(row: sqlite3.Row, pair: Pair, found: Audit) -> None:
    """A verdict: judged, and as the bundle it names would judge that frame."""
    what = f"verdict {row['sequence']}"
    if row["reason"] not in JUDGED:
        found.lost[row["session"], row["sequence"]] = f"{what}: {row['reason']} {row['detail']}"
        return
    if row["bundle"] not in pair.hashes or row["payload_hash"] not in pair.numbers:
        found.mixed.append(f"{what}: bundle {row['bundle'][:12]}, frame {row['payload_hash'][:12]}")
        return
    which, frame = pair.hashes.index(row["bundle"]), pair.numbers[row["payload_hash"]]
    score, limit = float(pair.scores[which][frame]), pair.thresholds[which]
    says = Outcome.ACCEPT if score <= limit else Outcome.REJECT
    if abs(row["score"] - score) > EXACT or row["threshold"] != limit or row["outcome"] != says.value:
        seen = f"{row['outcome']} {row['score']:.6f} of {row['threshold']:.6f}"
        found.mixed.append(f"{what}: {seen}, but bundle {row['bundle'][:12]} says {says.value} {score:.6f} of {limit:.6f}")


def _rows(records: Path, table: str) -> list[Any]:
    """All rows of a table, over all files of the record, in their order."""
    rows: list[Any] = []
    for path in (*(segment.path for segment in segments_of(records)), records):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            rows += connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()  # noqa: S608 - names from the code above
    return rows
