"""Row B11: something goes wrong inside the verdict itself, in every condition and at every call; the answer is never ACCEPT."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import msgspec

from edge.contract import Outcome
from edge.gate import verdict
from edge.gate.verdict import AFTER_FRAME, BEFORE_FRAME, Asked, Decision, Duty, Facts, Plan, decide
from faults.line.probe import BUNDLE, good_report, ready_state
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_line_conditions.py"
SESSION = "0123456789abcdef"
CONFIG = "c" * 64
ERRORS: tuple[type[Exception], ...] = (ValueError, KeyError, TypeError, AttributeError, AssertionError, ZeroDivisionError, OverflowError)
ERRORS += (OSError, UnicodeError, RecursionError, MemoryError, StopIteration, RuntimeError, BufferError, NotImplementedError)


def acceptable() -> Facts:
    """Facts that make ACCEPT."""
    report = good_report(SESSION, 1, "P1", "W1", counter=1)
    return Facts(
        now_ns=report.scored_ns,
        cutoff_ns=report.scored_ns + 10**9,
        session=SESSION,
        asked=Asked(session=SESSION, sequence=1, part="P1", weld="W1", typology="T2", by="trigger"),
        report=report,
        inspector=msgspec.structs.replace(ready_state(), config=CONFIG),
        inspector_alive=True,
        configs=(CONFIG,),
        pinned=BUNDLE,
        store_healthy=True,
        latched=(),
        plan=Plan(recipe="R1", typology="T2", room=True),
        challenge=Duty(role="", lack="", bundle=BUNDLE),
    )


PARTS = ("asked", "report", "inspector", "plan", "challenge")
"""Facts that have fields of their own."""


class Trap:
    """Raises when anything at all is done with it."""

    def __init__(self, error: type[Exception]) -> None:
        self.__dict__["error"] = error

    def _spring(self, *_args: object) -> Any:
        raise self.__dict__["error"]("sprung")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _spring
    __bool__ = __len__ = __iter__ = __contains__ = __getitem__ = __getattr__ = __float__ = __index__ = __str__ = __repr__ = _spring
    __hash__ = None  # type: ignore[assignment]


def altered(value: object) -> Iterator[tuple[str, Facts]]:
    """The acceptable facts with `value` in place of each of their parts in turn, and the name of that part."""
    facts = acceptable()
    for name in facts.__struct_fields__:
        yield name, msgspec.structs.replace(facts, **{name: value})
    for name in PARTS:
        part = getattr(facts, name)
        for inner in part.__struct_fields__:
            yield f"{name}.{inner}", msgspec.structs.replace(facts, **{name: msgspec.structs.replace(part, **{inner: value})})


def calls(facts: Facts, at: int, error: type[Exception]) -> tuple[Decision | None, bool]:
    """`decide(facts)` with `error` raised on entering the at-th function that a condition calls; whether there was such a call."""
    left, sprung = [at], [False]

    def watch(frame: FrameType, event: str, _arg: object) -> None:
        inside = frame.f_code.co_filename == verdict.__file__ and frame.f_code.co_name not in ("decide", "judge", "refuse_early")
        if event == "call" and inside:
            left[0] -= 1
            if left[0] < 0 and not sprung[0]:
                sprung[0] = True
                raise error("sprung")

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        return decide(facts), sprung[0]
    finally:
        sys.setprofile(before)


def hostile(effort: Effort) -> Iterator[object]:
    """Values that no field should ever hold."""
    rng = random.Random(effort.seed)  # noqa: S311 - seeded, not secret
    yield from (Trap(error) for error in ERRORS)
    yield from (None, float("nan"), float("inf"), -1, 2**200, "", "\n", b"", [], {}, object(), NotImplemented, ..., 1j, "OK", True, False)
    for _ in range(effort.times(40)):
        yield rng.choice([rng.randbytes(8), rng.random() * 10 ** rng.randint(-300, 300), rng.getrandbits(300), chr(rng.randrange(0xD7FF))])


HARMLESS = {f"report.{name}" for name in ("camera", "counter", "detail", "router_confidence", "backend", "payload_hash", "captured_ns")}
HARMLESS |= {f"report.{name}" for name in ("prepared_ns", "scored_ns")} | {"asked.by", "inspector.ready", "plan.recipe"}
HARMLESS |= {f"inspector.{name}" for name in ("pid", "backend", "bundle_version", "frames", "gaps", "refused", "sent_ns", "fault")}
HARMLESS |= {"report.map", "report.map_note"}  # read apart from the verdict, for the record
"""Decide nothing where a typology is named, or are held to their type by the contract's decoder (`ready` is true or false there)."""
NUMBERS = {"cutoff_ns", "inspector.known_answers", "report.received_ns", "report.score"}
HONEST: tuple[object, ...] = (None, True, False, "")
"""True of some fields (nothing pinned, no plan, True for 1)."""


@injects("B11", test=TEST)
def inside_the_verdict(effort: Effort) -> Result:
    """Traps in every field, strange values in every field, and an exception at every call that any condition makes."""
    failures: list[str] = []
    facts = acceptable()
    if decide(facts).outcome is not Outcome.ACCEPT:
        return Result(injections=0, failures=(f"the untouched facts are not accepted: {decide(facts)}",))
    injections = 0
    for value in hostile(effort):
        for where, changed in altered(value):
            injections += 1
            failures += _wrongly(where, changed, value)
    conditions = len(BEFORE_FRAME) + len(AFTER_FRAME)
    for error in ERRORS:
        at, sprung = 0, True
        while sprung:
            decision, sprung = calls(facts, at, error)
            injections += sprung
            if sprung and (decision is None or decision.outcome is Outcome.ACCEPT):
                failures.append(f"{error.__name__} at call {at}: {decision}")
            at += 1
        if at <= conditions:
            failures.append(f"only {at} calls for {conditions} conditions")
    return Result(injections=injections, failures=tuple(failures[:8]), counter=f"REJECT INTERNAL and others, {conditions} conditions")


def _wrongly(where: str, changed: Facts, value: object) -> list[str]:
    try:
        decision = decide(changed)
    except BaseException as exc:  # noqa: BLE001 - whatever comes out of a verdict is what this looks for
        return [f"the verdict raised {type(exc).__name__}"]
    if decision.outcome is not Outcome.ACCEPT or where in HARMLESS or any(value is honest for honest in HONEST):
        return []
    if where in NUMBERS and isinstance(value, (int, float)) and value > 0:
        return []
    return [f"ACCEPT with {type(value).__name__} as {where}"]
