"""Rows B01, B02, B04, B05, B08: engines of the real inspector that raise, hang, die, slow down or answer nonsense."""

from __future__ import annotations

import math
import time

from faults.line.bundles import TinyBundle
from faults.line.cell import FaultLine, Setup, shared
from faults.line.trial import Trial
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_line_engines.py"
FAULTY = Setup(faulty=True)
COMMITTEE = 3


def _until_restarted(line: FaultLine, before: int, seconds: float) -> None:
    line.until(lambda: line.inspector.restarts > before, seconds)


@injects("B01", test=TEST)
def raises(effort: Effort) -> Result:
    """The engine raises at the n-th run, once, twice, for ever; the third failure within a minute ends the inspector."""
    trial = Trial(shared(FAULTY), effort, "B01", latches=True)
    line, restarts = trial.line, trial.line.inspector.restarts
    for number in range(effort.times(3)):
        line.settle()
        after, before = number % 3, line.inspector.restarts
        line.order(mode="throw", after=after, text="ordered\nby the fault file")
        for _ in range(after):
            trial.trigger(trial.sending(trial.bad))
        for _ in range(3):
            trial.refused(trial.sending(trial.looks_good), "ENGINE_FAILED", "INSPECTOR_DOWN", "NOT_READY", "LATCHED")
        _until_restarted(line, before, 5)
        line.order()
        line.settle()
    if line.inspector.restarts <= restarts:
        trial.fail("three failures did not end the inspector")
    latched = len(line.acknowledged)
    return trial.finish(note=f"the inspector was started again {line.inspector.restarts - restarts} times, {latched} latches acknowledged")


@injects("B02", test=TEST)
def hangs_and_dies(effort: Effort) -> Result:
    """The engine never comes back, or takes the process with it, while a good weld's frame is in it."""
    trial = Trial(shared(FAULTY), effort, "B02", latches=True)
    line, restarts = trial.line, trial.line.inspector.restarts
    modes = ("hang", "SIGKILL", "SIGSEGV", "SIGABRT", "SIGBUS") if effort.name != "quick" else ("SIGKILL",)
    waits = []
    for mode in modes * effort.times(1):
        line.settle()
        line.order(mode=mode)
        begin, before = time.monotonic(), line.inspector.restarts
        for _ in range(4):
            trial.refused(trial.sending(trial.looks_good), "NO_FRAME", "INSPECTOR_DOWN", "NOT_READY")
        _until_restarted(line, before, 10)
        line.order()
        line.settle()
        waits.append(time.monotonic() - begin)
    return trial.finish(note=f"started again {line.inspector.restarts - restarts} times, READY after {max(waits):.1f} s at most")


@injects("B04", test=TEST)
def slows_down(effort: Effort) -> Result:
    """The engine takes longer and longer, over the budget and beyond the silence that counts as death."""
    trial = Trial(shared(FAULTY), effort, "B04", latches=True)
    line, accepted_ms = trial.line, 0.0
    steps = range(0, 160, 8) if effort.name != "quick" else (0, 60, 130)
    for _ in range(effort.times(1)):
        for ms in steps:
            line.order(mode="slow", ms=ms)
            trial.injections += 1
            result = trial.trigger(trial.sending(trial.good))
            accepted_ms = max(accepted_ms, ms if result.accepted else 0)
            if result.accepted and ms >= line.setup.budget_ms:
                trial.fail(f"accepted although the engine took {ms} ms of {line.setup.budget_ms:g}")
            if result.outcome is None:
                trial.fail(f"no answer at all with an engine of {ms} ms")
            trial.refused(trial.sending(trial.bad))
            line.idle(ms / 1000)
    line.order()
    line.idle(0.2)
    return trial.finish(note=f"accepted with engines of up to {accepted_ms:.0f} ms, never later than the budget of 100 ms")


NONSENSE = (
    ("NaN", "NaN"),
    ("NaN", "1"),
    ("0", "NaN"),
    ("inf", "0"),
    ("-inf", "1"),
    ("0", "0"),
    ("0", "2"),
    ("-0.5", "1.5"),
    ("1e-45", "0.5"),
    ("0", "0.99"),
    ("0", "1.01"),
    ("3e38", "3e38"),
    ("-1", "1"),
)
"""Answers for bad and good that are no probabilities."""


@injects("B05", "B08", test=TEST)
def answers_nonsense(effort: Effort) -> Result:
    """Outputs that are no probabilities, of one member or of all; members of a committee that fail."""
    line = FaultLine(FAULTY, bundle=TinyBundle(members=COMMITTEE))
    try:
        line.settle()
        trial = Trial(line, effort, "B05", latches=True)
        for _ in range(effort.times(4)):
            for values in NONSENSE:
                line.order(output=values)
                trial.refused(trial.sending(trial.looks_good), "SCORE_INVALID")
        whole = trial.injections
        for _ in range(effort.times(2)):
            for index in range(COMMITTEE):
                for values in NONSENSE:
                    line.order(output=values, member=f"T2-{index}")
                    trial.refused(trial.sending(trial.looks_good), "SCORE_INVALID")
                line.order(mode="throw", member=f"T2-{index}")
                trial.refused(trial.sending(trial.looks_good), "ENGINE_FAILED", "NOT_READY", "INSPECTOR_DOWN")
                line.order()
                line.settle()
        line.order()
        members = trial.injections - whole
        note = (
            "Known answers are re-checked at every start and not in between: a network whose memory changes afterwards to other valid "
            "probabilities is not noticed until the next start."
        )
        return trial.finish(note=note, injections_by_row={"B05": whole, "B08": members})
    finally:
        line.close()


def is_probability(values: tuple[str, str]) -> bool:
    """Would the box take these two for a network's answer?"""
    numbers = [float(value) for value in values]
    return all(0 <= value <= 1 for value in numbers) and math.isclose(sum(numbers), 1, abs_tol=1e-3)
