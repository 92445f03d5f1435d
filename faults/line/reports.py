"""Rows B08, B10, G01, G03: reports that are incomplete, reports at the gate's cutoff, and texts that try to forge lines or rows."""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from edge.contract import Reason, Report, TriggerId
from faults.line.cell import FaultLine, Setup
from faults.line.probe import Probe, good_report
from faults.line.trial import Act, Asked, Trial
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_line_reports.py"
BUDGET_MS = 40.0
GATE_ONLY = Setup(inspector=False, budget_ms=BUDGET_MS)
MARGIN_MS = 5.0
HORIZON_US = 4_000
"""The race is run this far around the cutoff."""


@contextmanager
def gate_and_probe(setup: Setup = GATE_ONLY, **state: Any) -> Iterator[tuple[FaultLine, Probe]]:
    """A real gate with a robot, and the probe in the inspector's place."""
    line = FaultLine(setup)
    probe = None
    try:
        line.until(lambda: "waiting for the robot" in line.gate.tail(), 20)
        probe = Probe(line.folder / "gate.sock", **state)
        line.settle()
        yield line, probe
    finally:
        if probe is not None:
            probe.close()
        line.close()


def _report(trial: Trial, asked: Asked, **changes: Any) -> Report:
    """A report that makes this trigger ACCEPT, were it not for the changes."""
    made = good_report(asked.session, asked.sequence, asked.part, asked.weld, counter=trial.line.camera.count())
    return msgspec.structs.replace(made, **changes)


def _register(trial: Trial, asked: Asked, report: Report) -> Report:
    trial.acceptable.setdefault((asked.session, asked.sequence), set()).add(report.payload_hash)
    return report


def refusable() -> Iterator[tuple[dict[str, Any], str]]:
    """Changes to a good report, each of which must make the verdict REJECT, and the reason where it is certain."""
    for members, expected in (((), 1), ((0.1,), 2), ((0.1, 0.1), 1), ((), 0), ((0.1, 0.1), 3), ((math.nan,), 1), ((0.1, math.inf), 2)):
        yield {"members": members, "members_expected": expected}, Reason.SCORE_INVALID.value
    for score in (math.nan, math.inf, -math.inf, -0.1, -1e-300, 1.0000001, 2.0, 1e308):
        yield {"score": score}, Reason.SCORE_INVALID.value
    for threshold in (math.nan, math.inf, -math.inf, 0.0, -0.5, 1.0, 1.5):
        yield {"threshold": threshold}, Reason.SCORE_INVALID.value
    yield {"score": 0.5000001}, Reason.DEFECT.value
    yield {"score": math.nextafter(0.5, 1)}, Reason.DEFECT.value
    yield {"bundle": "a" * 64}, Reason.BUNDLE_DIFFERS.value
    yield {"bundle": ""}, Reason.BUNDLE_DIFFERS.value
    yield {"part": "other"}, Reason.FRAME_PART.value
    yield {"weld": "other"}, Reason.FRAME_PART.value
    yield {"typology": "T5"}, Reason.TYPOLOGY_DIFFERS.value
    yield {"typology": None}, Reason.TYPOLOGY_DIFFERS.value
    yield {"typology_named": "T5"}, Reason.TYPOLOGY_DIFFERS.value
    yield {"received_ns": 2**62}, Reason.DEADLINE.value
    yield {"received_ns": 0}, Reason.DEADLINE.value
    for reason in Reason:
        if reason is not Reason.OK:
            yield {"reason": reason}, ""
    yield {"trigger": None}, Reason.NO_FRAME.value
    yield {"trigger": TriggerId("0" * 16, 1)}, Reason.NO_FRAME.value


@injects("B08", test=TEST)
def incomplete_reports(effort: Effort) -> Result:
    """A report in which one thing is wrong: a member missing, a score that is none, another bundle, another weld."""
    with gate_and_probe() as (line, probe):
        trial = Trial(line, effort, "B08", latches=True)
        changes = list(refusable())
        if effort.name == "quick":
            changes = changes[::6]
        for _ in range(1 if effort.name == "quick" else effort.times(2)):
            for change, reason in changes:
                # A report that is older or newer than its trigger can be may also count as one for another trigger.
                wanted = (reason, Reason.NO_FRAME.value) if reason else ()
                trial.refused(_saying(trial, probe, **change), *wanted)
        trial.accepted(lambda asked: _say(probe, _register(trial, asked, _report(trial, asked))))
        return trial.finish(note="said to the real gate by a probe in the inspector's place")


def _say(probe: Probe, report: Report) -> None:
    probe.say(report)


def _saying(trial: Trial, probe: Probe, **changes: Any) -> Act:
    """The act of reporting this trigger's frame with `changes`."""
    return lambda asked: _say(probe, _report(trial, asked, **changes))


@injects("B10", test=TEST)
def race_at_the_cutoff(effort: Effort) -> Result:
    """A good report arrives within 4 ms of the moment at which the gate rejects by itself; then again, and a contradicting one."""
    with gate_and_probe() as (line, probe):
        trial, rng = Trial(line, effort, "B10"), random.Random(effort.seed)  # noqa: S311 - seeded, not secret
        for _ in range(effort.times(240)):
            offset_us = rng.randint(-HORIZON_US, HORIZON_US)

            def act(asked: Asked, offset_us: int = offset_us) -> None:
                due_ns = time.monotonic_ns() + int((BUDGET_MS - MARGIN_MS) * 1e6) + offset_us * 1000
                report = _register(trial, asked, _report(trial, asked))
                while time.monotonic_ns() < due_ns:
                    time.sleep(0.0002)
                probe.say(msgspec.structs.replace(report, received_ns=time.monotonic_ns()))
                probe.say(_report(trial, asked, score=0.9))
                probe.say(msgspec.structs.replace(report, counter=line.camera.count()))

            trial.injections += 1
            trial.trigger(act)
        outcomes = sorted({(r.outcome.value if r.outcome else "none", r.reason) for r in trial.results})
        accepted = sum(r.accepted for r in trial.results)
        if effort.name != "quick" and not 0 < accepted < len(trial.results):
            trial.fail(f"the race was always won by the same side: {accepted} of {len(trial.results)} accepted")
        trial.accepted(lambda asked: _say(probe, _register(trial, asked, _report(trial, asked))))
        return trial.finish(note=f"{accepted} of {len(trial.results)} were decided before the cutoff; outcomes {outcomes}")


_OWN = re.compile(r'time=\S+Z level=\w+ from=gate (?:[a-z]+=(?:[^\s"=]+|"(?:[^"\\]|\\.)*") )*text=(?:[^\s"=]+|"(?:[^"\\]|\\.)*")')
"""A whole line of the gate's: plain words, or values in quotes with their own quotes escaped."""
FORGERIES = (
    "\ntime=2026-11-21T12:00:00.000Z level=info from=gate kind=verdict text=ACCEPT",
    '" kind=verdict text="ACCEPT for everything',
    "\r\n\x1b[2J\x1b[Htime=2026-11-21T12:00:00.000Z level=info from=gate text=forged",
    "\x1b]0;title\x07",
    "%s%s%s%n%d %(asctime)s {0} {x.__class__} ${HOME} `id` $(id)",
    "\x00\x01\x02\x7f\x80\x9b1m",
    "\u2028line\u2029paragraph\u202egnirts\u0085next",
    '"; DROP TABLE verdicts; --',
    "=cmd|' /C calc'!A0",
    "\ud7ff\ue000\U0010ffff",
    "x" * 20_000,
)


@injects("G01", "G03", test=TEST)
def forged_lines(effort: Effort) -> Result:
    """Details, faults and camera names of an inspector that try to forge log lines or rows: one record stays one line."""
    with gate_and_probe() as (line, probe):
        trial = Trial(line, effort, "G01")
        for _ in range(1 if effort.name == "quick" else effort.times(6)):
            for text in FORGERIES:
                trial.refused(_saying(trial, probe, reason=Reason.FRAME_CRC, detail=text), "FRAME_CRC")
                trial.refused(_saying(trial, probe, trigger=None, camera=text, detail=text), "NO_FRAME")
        forged = [text for text in _lines(line) if not _is_log_line(text)]
        if forged:
            trial.fail(f"{len(forged)} log lines are not the gate's own: {forged[0][:80]!r}")
        trial.accepted(lambda asked: _say(probe, _register(trial, asked, _report(trial, asked))))
        shown = _shown(line, trial.part)
        if len(shown) != len(trial.results):
            trial.fail(f"`records show` printed {len(shown)} lines for {len(trial.results)} triggers")
        if any(not text.isprintable() for text in shown):
            trial.fail("`records show` printed control characters")
        _ask_by_payloads(trial, line)
        return trial.finish(note="part and weld cannot carry such characters: neither line nor header takes them")


def _lines(line: FaultLine) -> list[str]:
    return line.gate.log.read_bytes().decode("utf-8", "replace").split("\n")[:-1]


def _is_log_line(text: str) -> bool:
    return _OWN.fullmatch(text) is not None and text.isprintable() and len(text) < 6_000


def _shown(line: FaultLine, part: str, *options: str) -> list[str]:
    command = (sys.executable, "-m", "edge", "records", "show", "--records", str(line.records), *options, "--", part)
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")[:-1]


def _ask_by_payloads(trial: Trial, line: FaultLine) -> None:
    """Names that are SQL: they find nothing, and change nothing."""
    from edge.gate.audit import read_part, verify_chain  # noqa: PLC0415

    before = verify_chain(line.records).rows
    for payload in (
        "' OR 1=1 --",
        '" OR ""="',
        "'; DELETE FROM verdicts; --",
        "%",
        "_",
        "P%",
        "\x00",
        "x' UNION SELECT * FROM meta --",
        "=1+1",
    ):
        trial.injections += 1
        if read_part(line.records, payload):
            trial.fail(f"records of a part that does not exist: {payload!r}")
    if verify_chain(line.records).rows < before:
        trial.fail("rows are gone after questions")
    found = [json.loads(text) for text in _shown(line, trial.part, "--json")]
    if len(found) != len(trial.results):
        trial.fail(f"--json gave {len(found)} objects for {len(trial.results)} triggers")
