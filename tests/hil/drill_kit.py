"""The drill of docs/commissioning.md: break one thing, see in the records that it was noticed and nothing accepted, mend it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from edge.gate.snapshot import snapshot
from sim.acceptance.findings import Finding, Report, line_of

PAUSE_S, WAIT_S = 0.3, 60.0
ANSWERS = 3
"""So many verdicts have to come while a fault lasts."""
_SEEN = """
SELECT 'verdict', reason, outcome FROM verdicts WHERE id > ? UNION ALL
SELECT 'event', reason, kind FROM events WHERE id > ? UNION ALL
SELECT 'disposition', done, '' FROM dispositions WHERE id > ?
"""
_MARK = """
SELECT (SELECT coalesce(max(id), 0) FROM verdicts), (SELECT coalesce(max(id), 0) FROM events),
(SELECT coalesce(max(id), 0) FROM dispositions)
"""


class Hands(Protocol):
    """Whoever does it: a person, or the test of the drill."""

    def do(self, what: str) -> bool:
        """Do it; False: left out."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One fault: how it is made and mended, and what of it the records must hold (any one of these reasons or kinds)."""

    name: str
    do: str
    undo: str
    expect: frozenset[str]
    answers: bool = True
    """The robot still gets verdicts while the fault lasts, every one a rejection."""
    lasting: bool = True
    """It lasts until it is mended; else the service manager has mended it within seconds."""


DRILL = (
    Step(name="robot's cable", do="Pull the robot's cable while it asks for welds.", undo="Plug it in again.",
         expect=frozenset({"SESSION_LOST"}), answers=False),
    Step(name="serial adapter", do="Pull the serial adapter out of the box.", undo="Plug it in again.",
         expect=frozenset({"SESSION_LOST"}), answers=False),
    Step(name="camera off", do="Switch the camera off.", undo="Switch it on again.", expect=frozenset({"NO_FRAME", "NOT_READY"})),
    Step(name="camera's cable", do="Pull the camera's network cable.", undo="Plug it in again.",
         expect=frozenset({"NO_FRAME", "NOT_READY"})),
    Step(name="inspector killed", do="Run: sudo systemctl kill -s KILL cordon-inspector", undo="Wait for ACCEPTING: cordon status --watch",
         expect=frozenset({"INSPECTOR_DOWN", "NOT_READY"}), lasting=False),
    Step(name="gate killed", do="Run: sudo systemctl kill -s KILL cordon-gate", undo="Wait for ACCEPTING: cordon status --watch",
         expect=frozenset({"gate"}), lasting=False),
    Step(name="robot switched off", do="Switch the robot controller off.", undo="Switch it on again and start its cycle.",
         expect=frozenset({"SESSION_LOST"}), answers=False),
    Step(name="window covered", do="Cover the camera's window.", undo="Uncover it.",
         expect=frozenset({"FRAME_EMPTY", "DEFECT", "NO_FRAME", "FRAME_FROZEN"})),
)  # fmt: skip


class Mark(NamedTuple):
    """A moment in the records."""

    verdicts: int
    events: int
    dispositions: int


class Seen(NamedTuple):
    """What came after a mark."""

    words: frozenset[str]
    """Reasons, kinds of events, dispositions."""
    verdicts: int
    accepted: int


def mark(records: Path) -> Mark:
    """Now."""
    with snapshot(records) as connection:
        return Mark(*connection.execute(_MARK).fetchone())


def since(records: Path, begun: Mark) -> Seen:
    """Everything after that moment."""
    with snapshot(records) as connection:
        rows = connection.execute(_SEEN, begun).fetchall()
    words = {word for row in rows for word in row[1:] if word}
    verdicts = [row for row in rows if row[0] == "verdict"]
    return Seen(frozenset(words), len(verdicts), sum(outcome == "ACCEPT" for _, _, outcome in verdicts))


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    until_s = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < until_s:
        time.sleep(PAUSE_S)
    return met


def go_through(step: Step, records: Path, hands: Hands, wait_s: float) -> Finding:
    """Make the fault, look, mend it, and see the line accept again."""

    def found(met: bool, seen: str) -> Finding:
        return Finding(check=step.name, rule=f"{step.do} {step.undo}", result="pass" if met else "FAIL", seen=seen)

    begun = mark(records)
    if not hands.do(step.do):
        return Finding(check=step.name, rule=step.do, result="open", seen="left out")
    broken = mark(records)
    if not _wait(lambda: bool(since(records, begun).words & step.expect), wait_s):
        return found(False, f"none of {sorted(step.expect)} in the records, but {sorted(since(records, begun).words)}")
    if step.lasting and step.answers and not _wait(lambda: since(records, broken).verdicts >= ANSWERS, wait_s):
        return found(False, f"{since(records, broken).verdicts} verdicts while it lasted: the robot has to be in its cycle")
    let_pass = since(records, broken).accepted if step.lasting else 0
    noticed = sorted(since(records, begun).words & step.expect)
    mended = mark(records)
    hands.do(step.undo)
    back = _wait(lambda: since(records, mended).accepted > 0, wait_s)
    if let_pass:
        return found(False, f"{let_pass} welds were ACCEPTED while it lasted")
    return found(back, f"{', '.join(noticed)}; {'accepts again' if back else 'accepts no more'}")


def drill(steps: Sequence[Step], records: Path, hands: Hands, report: Report) -> Report:
    """Every step in turn, each finding printed."""
    for step in steps:
        report.findings.append(go_through(step, records, hands, WAIT_S))
        print(line_of(report.findings[-1]), flush=True)
    return report
