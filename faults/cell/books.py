"""The oracle: what the driver knows to be true, compared with the records of a gate that is stopped."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.contract import Outcome
from edge.errors import CordonError
from edge.gate.audit import verify_chain
from edge.gate.messages import Message, PartVerdict, TriggerAck, Verdict
from faults.registry import Result
from sim.robot_protocol import RobotResult

Key = tuple[str, int]
"""Session and sequence."""
_SHOWN = 20


def is_bad(weld: str) -> bool:
    """The truth, which is in the weld's name."""
    return weld.startswith("B")


@dataclass
class Books:
    """Everything that happened at the robot's end of one cell."""

    asked: dict[Key, tuple[str, str]] = field(default_factory=dict)
    """Part and weld of every trigger that was sent."""
    results: list[RobotResult] = field(default_factory=list)
    read: dict[Key, Outcome] = field(default_factory=dict)
    """The verdict that the robot read whole, whatever it did with it."""
    durable: set[Key] = field(default_factory=set)
    """Triggers that the gate said are on disk."""
    killed: set[str] = field(default_factory=set)
    """Sessions during which the gate was killed."""
    contradictions: list[str] = field(default_factory=list)

    def note(self, message: Message) -> None:
        """A whole message of the gate."""
        if isinstance(message, Verdict | PartVerdict):
            key = (message.session, message.sequence)
            if self.read.setdefault(key, message.outcome) is not message.outcome:
                self.contradictions.append(f"{key}: first {self.read[key].value}, then {message.outcome.value}")
        elif isinstance(message, TriggerAck):
            self.durable.add((message.session, message.sequence))


@dataclass(kw_only=True)
class Findings:
    """What the comparison found."""

    cycles: int = 0
    accepted: int = 0
    """Parts that the robot let pass."""
    false_accepts: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    """Event rows of the product, by kind and reason."""
    done: Counter[str] = field(default_factory=Counter)
    """Dispositions."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Reasons of the verdicts."""
    unrecorded_rejects: int = 0
    """Rejects that left before their row was on disk, of a gate that was killed then (I2 allows it)."""

    def result(self, injections: int, **more: Any) -> Result:
        """As the fault suite wants it."""
        found = self.false_accepts + self.lost + self.failures
        return Result(
            injections=injections,
            cycles_real=self.cycles,
            false_accepts=len(self.false_accepts),
            lost_records=len(self.lost),
            failures=(*more.pop("failures", ()), *found[:_SHOWN]),
            **more,
        )


def audit(records: Path, books: Books, budget_ns: int) -> Findings:
    """Verify the chain, count every trigger's rows, and hold every part that the robot let pass against truth and record."""
    found = Findings()
    try:
        verify_chain(records)
    except CordonError as exc:
        found.failures.append(f"the chain does not hold: {exc}")
    rows = {table: list(_rows(records, table)) for table in ("triggers", "verdicts", "dispositions", "events")}
    _count(found, rows)
    by_key = {table: {(row["session"], row["sequence"]): row for row in rows[table]} for table in ("triggers", "verdicts", "dispositions")}
    found.cycles = len(by_key["triggers"])
    _complete(found, by_key)
    _in_time(found, by_key, budget_ns)
    _seen(found, books, by_key)
    _let_pass(found, books, by_key)
    found.false_accepts += [f"two different verdicts for {text}" for text in books.contradictions]
    return found


def _rows(records: Path, table: str) -> Iterator[sqlite3.Row]:
    """Of all files, sealed ones first, without the product's help."""
    for path in [*sorted(records.parent.glob("records-*.db")), records]:
        if path.exists():
            with closing(sqlite3.connect(path)) as connection:
                connection.row_factory = sqlite3.Row
                yield from connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()  # noqa: S608 - our own names


def _count(found: Findings, rows: dict[str, list[sqlite3.Row]]) -> None:
    for row in rows["events"]:
        found.events[f"{row['kind']} {row['reason']}".strip()] += row["count"]
    found.done.update(row["done"] for row in rows["dispositions"])
    found.reasons.update(row["reason"] for row in rows["verdicts"])


def _complete(found: Findings, rows: dict[str, dict[Key, sqlite3.Row]]) -> None:
    """Every trigger has exactly one verdict and one disposition (that there are not two, the tables' keys see to)."""
    every = set().union(*rows.values())
    for table, by_key in rows.items():
        found.lost += [f"{key} has no row in {table}" for key in sorted(every - by_key.keys())]


def _in_time(found: Findings, rows: dict[str, dict[Key, sqlite3.Row]], budget_ns: int) -> None:
    """No ACCEPT left after its deadline, and none without a score within the threshold."""
    for key, row in rows["dispositions"].items():
        verdict = rows["verdicts"].get(key)
        if row["sent"] != "ACCEPT" or verdict is None:
            continue
        if verdict["outcome"] != "ACCEPT":
            found.false_accepts.append(f"{key}: ACCEPT was sent, the record says {verdict['outcome']}")
        elif not 0 <= verdict["score"] <= verdict["threshold"]:
            found.false_accepts.append(f"{key}: ACCEPT with score {verdict['score']}")
        late_ns = row["sent_ns"] - verdict["opened_ns"] - budget_ns
        if late_ns > 0:
            found.false_accepts.append(f"{key}: ACCEPT left {late_ns / 1e6:.3f} ms after its deadline")


def _seen(found: Findings, books: Books, rows: dict[str, dict[Key, sqlite3.Row]]) -> None:
    """What the robot asked, read, or was told to be durable, is in the records as it was."""
    for key, row in rows["triggers"].items():
        asked = books.asked.get(key, (row["part"], row["weld"]))
        if asked != (row["part"], row["weld"]):
            found.failures.append(f"{key}: asked for {' '.join(asked)}, the record has {row['part']} {row['weld']}")
    found.lost += [f"{key} was acknowledged and has no row" for key in sorted(books.durable - rows["triggers"].keys())]
    for key, outcome in books.read.items():
        verdict, disposition = rows["verdicts"].get(key), rows["dispositions"].get(key)
        if verdict is None or disposition is None:
            if outcome is not Outcome.ACCEPT and key[0] in books.killed:
                found.unrecorded_rejects += 1
            elif verdict is None:
                found.lost.append(f"{key}: the robot read {outcome.value}, there is no row")
            continue
        unsent = disposition["sent"] == ""
        recorded = verdict["outcome"] if unsent else disposition["sent"]
        if unsent and outcome is not Outcome.ACCEPT and verdict["outcome"] != "ACCEPT":
            continue
        if unsent and outcome is not Outcome.ACCEPT and key[0] in books.killed:
            found.unrecorded_rejects += 1
            continue
        if recorded != outcome.value:
            found.lost.append(f"{key}: the robot read {outcome.value}, the record says {recorded}")


def _let_pass(found: Findings, books: Books, rows: dict[str, dict[Key, sqlite3.Row]]) -> None:
    """Every part that the robot let pass is good, was asked for, and its row says ACCEPT for this part and weld."""
    passed = Counter((result.session, result.sequence) for result in books.results if result.accepted)
    found.accepted = len(passed)
    found.false_accepts += [f"{key} was accepted {times} times" for key, times in passed.items() if times > 1]
    for result in books.results:
        if not result.accepted:
            continue
        key = (result.session, result.sequence)
        verdict = rows["verdicts"].get(key)
        if is_bad(result.weld) or books.asked.get(key) != (result.part, result.weld):
            found.false_accepts.append(f"{key}: the robot let {result.part} {result.weld} pass")
        elif verdict is None:
            found.lost.append(f"{key}: {result.part} {result.weld} passed without a record")
        elif (verdict["outcome"], verdict["part"], verdict["weld"]) != ("ACCEPT", result.part, result.weld):
            found.false_accepts.append(f"{key}: passed, the record says {verdict['outcome']} for {verdict['part']} {verdict['weld']}")
