"""What a robot program must do with verdicts: accept one right ACCEPT in time, and nothing else, once."""

from __future__ import annotations

from typing import TypeAlias

from edge.contract import Outcome, Reason
from edge.gate.messages import Ack, ChangeOver, Done, PartQuery, Refusal, Trigger, TriggerAck
from sim.acceptance.answers import Wrong, accept, reject
from sim.acceptance.findings import failed, judged, passed, unanswered
from sim.acceptance.played_gate import NS_PER_S
from sim.acceptance.trial import Outcomes, Trial, no_trigger

ANSWER_MARGIN_MS = 5.0
"""The gate hands over its verdict this long before the end of its budget at the latest."""
QUESTIONS = (Trigger, PartQuery, ChangeOver)
"""What takes a sequence of the one counter."""
Question: TypeAlias = Trigger | PartQuery | ChangeOver
LATE_MS = 20.0
"""After its deadline the robot may ask the next question at once; sooner than that, and later than its clock can be off."""
REPEATS, REPEAT_S = 3, 0.01
SILENCES = 3
"""Questions in a row without a verdict: a program that then goes on without the box shows it here."""


def takes_accept(trial: Trial) -> Outcomes:
    """The right ACCEPT is confirmed as ACCEPTED: without this nothing else here proves anything."""
    return trial.accepts(accept(trial.gate))


def takes_reject(trial: Trial) -> Outcomes:
    """REJECT is confirmed as REJECTED."""
    return trial.rejects(reject(trial.gate), confirms=Outcome.REJECT)


def takes_void(trial: Trial) -> Outcomes:
    """VOID is confirmed as REJECTED."""
    return trial.rejects(reject(trial.gate, Outcome.NO_VERDICT, Reason.SESSION_LOST), confirms=Outcome.NO_VERDICT)


def ends_with(end: bytes, before: bytes, trial: Trial) -> Outcomes:
    """CR, LF and CR LF end a frame, and what stands between frames is nothing."""
    return trial.accepts(lambda trigger: before + accept(trial.gate)(trigger)[:-1] + end)


def after_break(trial: Trial) -> Outcomes:
    """A break between frames is noise: the next frame counts."""
    if not trial.gate.send_break():
        return unanswered("this line knows no break")
    return trial.accepts(accept(trial.gate))


def wrong(answer: Wrong, trial: Trial) -> Outcomes:
    """A wrong answer must not make the robot accept."""
    return trial.rejects(lambda trigger: answer.answer(trial.gate, trigger))


def waits_long_enough(trial: Trial) -> Outcomes:
    """A verdict that leaves at the end of the gate's budget is still in time."""
    asked = trial.trigger()
    if asked is None:
        return no_trigger(trial)
    trigger, at_ns = asked
    mark = len(trial.gate.heard)
    so_far_s = (trial.gate.clock.now_ns() - at_ns) / NS_PER_S
    trial.gate.pump((trial.gate.budget_ms - ANSWER_MARGIN_MS) / 1e3 - so_far_s)
    trial.gate.say_bytes(accept(trial.gate)(trigger))
    trial.gate.pump(0.3, lambda: bool(trial.gate.since(mark, Ack)))
    acks = [heard.message for heard in trial.gate.since(mark, Ack) if isinstance(heard.message, Ack)]
    taken = bool(acks) and acks[0].done is Done.ACCEPTED
    return judged(taken, f"{acks[0].done.value}" if acks else "no confirmation; its deadline is shorter than it says")


def silence(trial: Trial) -> Outcomes:
    """No verdict at all: rejected at the robot's deadline, and the work goes on with the next sequence."""
    asked = trial.trigger()
    if asked is None:
        return no_trigger(trial)
    trigger, at_ns = asked
    mark = len(trial.gate.heard)
    result = trial.rejected(trigger, at_ns, mark)
    following = _following(trial, trigger, mark)
    if result[0] != "pass":
        return result
    if following is None:
        return no_trigger(trial)
    met = following.session != trigger.session or following.sequence == trigger.sequence + 1
    return judged(met, f"went on with sequence {following.sequence} after {trigger.sequence}")


def _following(trial: Trial, trigger: Trigger, mark: int) -> Question | None:
    """The first other question after this one, answered or not."""
    gate = trial.gate

    def others() -> list[Question]:
        asked = [heard.message for heard in gate.since(mark, *QUESTIONS) if isinstance(heard.message, QUESTIONS)]
        return [question for question in asked if (question.session, question.sequence) != (trigger.session, trigger.sequence)]

    gate.pump(trial.wait_s, lambda: bool(others()))
    return others()[0] if others() else None


def late(trial: Trial) -> Outcomes:
    """An ACCEPT right after the robot's own deadline comes too late."""
    asked = trial.trigger()
    if asked is None:
        return no_trigger(trial)
    trigger, at_ns = asked
    gate, mark = trial.gate, len(trial.gate.heard)
    sent_ms = trial.robot_deadline_ms + LATE_MS
    gate.pump(sent_ms / 1e3 - (gate.clock.now_ns() - at_ns) / NS_PER_S)
    gate.say_bytes(accept(gate)(trigger))
    result, seen = trial.rejected(trigger, at_ns, mark)
    return result, f"sent {sent_ms:.0f} ms after the trigger: {seen}"


def silence_again(trial: Trial) -> Outcomes:
    """Several questions in a row without a verdict: each of them is rejected."""
    for _ in range(SILENCES):
        asked = trial.trigger()
        if asked is None:
            return no_trigger(trial)
        result = trial.rejected(*asked, len(trial.gate.heard))
        if result[0] != "pass":
            return result
    return passed(f"{SILENCES} times rejected")


def _unacknowledged(trial: Trial, wait_s: float) -> tuple[Trigger, int, int] | None:
    """A question that the gate does not acknowledge for so long, when it came, and where what followed begins; None: none came."""
    gate = trial.gate
    gate.acknowledging = False
    gate.forget()
    try:
        asked = trial.trigger()
        if asked is None:
            return None
        mark = len(gate.heard)
        gate.pump(wait_s)
    finally:
        gate.acknowledging = True
    return *asked, mark


def late_to_repetition(trial: Trial) -> Outcomes:
    """The deadline counts from the question, not from its repetition, and not from when the gate acknowledged it."""
    gate = trial.gate
    asked = _unacknowledged(trial, trial.robot_deadline_ms / 2e3)
    if asked is None:
        return no_trigger(trial)
    trigger, at_ns, mark = asked
    gate.say(TriggerAck(session=trigger.session, sequence=trigger.sequence))
    gate.pump((trial.robot_deadline_ms + LATE_MS) / 1e3 - (gate.clock.now_ns() - at_ns) / NS_PER_S)
    gate.say_bytes(accept(gate)(trigger))
    return trial.rejected(trigger, at_ns, mark)


def repeated(trial: Trial) -> Outcomes:
    """The same verdict again is confirmed again and decides nothing; under the next question it is a verdict of the past."""
    asked = trial.trigger()
    if asked is None:
        return no_trigger(trial)
    trigger, _ = asked
    gate, mark = trial.gate, len(trial.gate.heard)
    for _ in range(REPEATS):
        gate.say_bytes(accept(gate)(trigger))
        gate.pump(REPEAT_S)
    following = _following(trial, trigger, mark)
    acks = [h.message for h in gate.since(mark, Ack) if isinstance(h.message, Ack) and h.message.sequence == trigger.sequence]
    if following is None:
        return no_trigger(trial)
    if not acks or any((ack.outcome, ack.done) != (Outcome.ACCEPT, Done.ACCEPTED) for ack in acks):
        return failed(f"confirmed with {[ack.done.value for ack in acks]}")
    if len(acks) < 2:
        return failed(f"one confirmation of {REPEATS} verdicts: where it is lost, nobody hears what was done")
    if (following.session, following.sequence) != (trigger.session, trigger.sequence + 1):
        return failed(f"sequence {following.sequence} after {trigger.sequence}: the repetition counted, or began a new session")
    again = trial.trigger()
    if again is None:
        return no_trigger(trial)
    gate.say_bytes(accept(gate)(trigger))
    result = trial.rejected(*again, mark)
    return passed(f"{len(acks)} equal confirmations") if result[0] == "pass" else result


def first_counts(trial: Trial) -> Outcomes:
    """After a REJECT no ACCEPT of the same trigger counts."""
    gate = trial.gate
    return trial.rejects(reject(gate), accept(gate), confirms=Outcome.REJECT)


def unasked(trial: Trial) -> Outcomes:
    """An ACCEPT that came before its question is no answer to it."""
    asked = trial.trigger()
    if asked is None:
        return no_trigger(trial)
    trigger, _ = asked
    gate, mark = trial.gate, len(trial.gate.heard)
    ahead = Trigger(session=trigger.session, sequence=trigger.sequence + 1, part=trigger.part, weld=trigger.weld)
    gate.say_bytes(accept(gate)(ahead))
    gate.say_bytes(reject(gate)(trigger))
    following = trial.trigger()
    if following is None:
        return no_trigger(trial)
    again, at_ns = following
    return trial.rejected(again, at_ns, mark)


def refused(reason: Refusal, trial: Trial) -> Outcomes:
    """`N` for the open trigger rejects it; an ACCEPT after that does not count."""
    gate = trial.gate

    def nak(trigger: Trigger) -> bytes:
        return gate.guarded(f"GN,{trigger.session},{trigger.sequence},{reason.value}".encode())

    return trial.rejects(nak, accept(gate))


def trigger_form(trial: Trial) -> Outcomes:
    """Sequences rise by one; a trigger that is not acknowledged may be repeated, byte by byte the same."""
    gate = trial.gate
    asked = _unacknowledged(trial, min(trial.robot_deadline_ms / 2e3, 0.15))
    if asked is None:
        return no_trigger(trial)
    trigger, _, mark = asked
    again = [heard.message for heard in gate.since(mark, Trigger)]
    gate.say_bytes(reject(gate)(trigger))
    following = _following(trial, trigger, mark)
    if following is None:
        return no_trigger(trial)
    met = all(message == trigger for message in again) and following.sequence == trigger.sequence + 1
    return judged(met, f"repeated {len(again)} times, then sequence {following.sequence} after {trigger.sequence}")


def first_sequence(trial: Trial) -> Outcomes:
    """The first question of a session has sequence 1."""
    firsts: dict[str, int] = {}
    for heard in trial.gate.since(0, *QUESTIONS):
        if isinstance(heard.message, QUESTIONS):
            firsts.setdefault(heard.message.session, heard.message.sequence)
    others = {sequence for sequence in firsts.values() if sequence != 1}
    return judged(bool(firsts) and not others, f"{len(firsts)} sessions{f', begun with {sorted(others)}' if others else ''}")
