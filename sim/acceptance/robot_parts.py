"""What a robot program that finishes parts must do with change-overs and with the verdict on a whole part."""

from __future__ import annotations

from collections.abc import Callable

from edge.contract import Outcome, Reason
from edge.gate.fields import outcome_fields
from edge.gate.messages import Ack, ChangeOver, Done, Hello, Nak, PartQuery, Refusal, Trigger
from sim.acceptance.answers import accept, other
from sim.acceptance.findings import Result, failed, judged, passed
from sim.acceptance.robot_session import lose_session
from sim.acceptance.trial import AFTER_S, GOOD, Outcomes, Trial

NOTHING = ("0", "")
"""Missing welds and the first of them, of a part that may pass."""
PartAnswer = Callable[[PartQuery], bytes]


def _body(query: PartQuery, *tail: str, **changes: str) -> bytes:
    asked = {"session": query.session, "sequence": str(query.sequence), "part": query.part} | changes
    return ",".join(("GW", *asked.values(), *tail)).encode("ascii")


def part_verdict(*tail: str, **changes: Callable[[PartQuery], str]) -> PartAnswer:
    """The body of a part's verdict; without `tail` the one that lets it pass."""
    return lambda query: _body(query, *(tail or (*NOTHING, *GOOD)), **{name: make(query) for name, make in changes.items()})


REJECTED = part_verdict("1", "W1", *outcome_fields(Outcome.REJECT).split(","), Reason.WELDS_MISSING.value)
WRONG_PARTS: tuple[tuple[str, str, PartAnswer], ...] = (
    ("part: REJECT", "a part passes by ACCEPT only", REJECTED),
    ("part: a weld is missing", "accept a part only with missing 0", part_verdict("1", "", *GOOD)),
    ("part: a missing weld is named", "accept a part only with no missing weld named", part_verdict("0", "W1", *GOOD)),
    ("part: another part", "accept only the part that was asked about", part_verdict(part=lambda query: other(query.part))),
    ("part: the next sequence", "accept only with the sequence of the query", part_verdict(sequence=lambda query: str(query.sequence + 1))),
    ("part: one bit of the code turned", "accept only with the code F85A", part_verdict(*NOTHING, "ACCEPT", "F85B", "07A5", "OK")),
    ("part: ACCEPT because of RECIPE", "accept only with the reason OK", part_verdict(*NOTHING, *GOOD[:-1], "RECIPE")),
)


def _query(trial: Trial) -> tuple[PartQuery, int] | None:
    """Accept weld after weld until the robot asks about the part."""
    gate = trial.gate
    end_ns = gate.clock.now_ns() + int(trial.wait_s * 1e9)
    while gate.clock.now_ns() < end_ns:
        asked = gate.next(PartQuery, 0.0)
        if asked is not None:
            return asked
        weld = gate.next(Trigger, 0.02)
        if weld is not None:
            gate.say_bytes(accept(gate)(weld[0]))
    return None


def _settle(trial: Trial, answer: PartAnswer) -> tuple[PartQuery, list[Ack]] | None:
    asked = _query(trial)
    if asked is None:
        return None
    query, at_ns = asked
    gate, mark = trial.gate, len(trial.gate.heard)
    gate.say_bytes(gate.guarded(answer(query)))

    def acks() -> list[Ack]:
        said = [heard.message for heard in gate.since(mark, Ack) if isinstance(heard.message, Ack)]
        return [ack for ack in said if (ack.session, ack.sequence) == (query.session, query.sequence)]

    gate.pump(trial.left_s(at_ns), lambda: bool(acks()) or bool(gate.since(mark, Hello)))
    gate.pump(AFTER_S)
    return query, acks()


def passes(trial: Trial) -> Outcomes:
    """The right ACCEPT of a part is confirmed."""
    settled = _settle(trial, part_verdict())
    if settled is None:
        return _no_query(trial)
    query, acks = settled
    if [(ack.outcome, ack.done) for ack in acks[:1]] != [(Outcome.ACCEPT, Done.ACCEPTED)]:
        return failed(f"part {query.part}: {acks or 'no confirmation'}")
    seen = trial.observer.let_pass(query.part, "")
    return judged(seen is not False, f"part {query.part} confirmed")


def fails(answer: PartAnswer) -> Callable[[Trial], Outcomes]:
    """Such a verdict must not let the part pass."""

    def check(trial: Trial) -> Outcomes:
        settled = _settle(trial, answer)
        if settled is None:
            return _no_query(trial)
        query, acks = settled
        let_pass = any(ack.done is Done.ACCEPTED for ack in acks) or bool(trial.observer.let_pass(query.part, ""))
        return judged(not let_pass, f"part {query.part}: {'let pass' if let_pass else 'not let pass'}")

    return check


def names_recipe(trial: Trial) -> Outcomes:
    """In each new session the recipe is named before the first trigger, and no weld is asked about until it is confirmed."""
    gate = trial.gate
    lose_session(trial)
    gate.echoing, mark = False, len(gate.heard)
    try:
        named = gate.pump(trial.wait_s, lambda: bool(gate.since(mark, ChangeOver)))
        gate.pump(min(0.15, trial.robot_deadline_ms / 2e3))
        asked = gate.since(mark, Trigger)
    finally:
        gate.echoing = True
    if not named:
        return failed(f"no change-over within {trial.wait_s:g} s")
    if asked:
        return failed("a weld was asked about before the change-over was confirmed")
    changes = [heard.message for heard in gate.since(mark, ChangeOver)]
    recipes = {change.recipe for change in changes if isinstance(change, ChangeOver)}
    result: Result = "pass" if recipes == {trial.recipe} else "FAIL"
    return result, f"named {', '.join(sorted(recipes))}"


def other_recipe(trial: Trial) -> Outcomes:
    """A change-over that is confirmed with another recipe, or refused, starts no part."""
    gate = trial.gate
    lose_session(trial)
    gate.echoing, mark = False, len(gate.heard)
    try:
        if not gate.pump(trial.wait_s, lambda: bool(gate.since(mark, ChangeOver))):
            return failed(f"no change-over within {trial.wait_s:g} s")
        change = gate.since(mark, ChangeOver)[0].message
        assert isinstance(change, ChangeOver)
        gate.say(ChangeOver(session=change.session, sequence=change.sequence, recipe=change.recipe[:-1] + "_"))
        gate.pump(0.05)
        gate.say(Nak(session=change.session, sequence=change.sequence, reason=Refusal.RECIPE))
        gate.pump(0.3)
        asked = [heard for heard in gate.since(mark, Trigger) if getattr(heard.message, "session", "") == change.session]
    finally:
        gate.echoing = True
    return failed("a weld was asked about under a recipe that was refused") if asked else passed("no part started")


def _no_query(trial: Trial) -> Outcomes:
    return failed(f"no part was finished within {trial.wait_s:g} s")
