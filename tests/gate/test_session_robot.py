"""What a robot that speaks may say, when, and what it hears in answer: hello, heartbeat, trigger, query, change-over, confirmation."""

from __future__ import annotations

import pytest
from gate_kit import BUNDLE, MS, Driven, a_recipe, a_state

from edge.contract import Expect, FrameEvent, Outcome, Reason, TriggerId
from edge.gate.case import Send
from edge.gate.messages import FEATURE_PARTS, Ack, ChangeOver, Done, Heartbeat, Hello, Nak, Refusal, State, Trigger, TriggerAck
from edge.gate.rows import EventRow, TriggerRow

S = 1_000 * MS


def an_event(driven: Driven, kind: str, reason: str, detail: str, *, camera: str = "", count: int = 1) -> EventRow:
    return EventRow(kind=kind, reason=reason, detail=detail, camera=camera, count=count, first_ns=driven.now, at_ns=driven.now)


def up(**changes: object) -> Driven:
    driven = Driven(**changes)
    driven.do(driven.session.link_up)
    return driven


def parts(**changes: object) -> Driven:
    return Driven(recipes=(a_recipe("R1"), a_recipe("R2", W1="T3")), **{"recipe": "R1", **changes}).ready()


# hello and heartbeat


@pytest.mark.parametrize(("budget_ms", "said"), [(100, 100), (65_534, 65_534), (65_535, 65_535), (70_000, 65_535)])
def test_the_gates_hello_names_both_nonces_and_its_budget(budget_ms: int, said: int) -> None:
    driven = up(budget_ns=budget_ms * MS)
    driven.hear(Hello(nonce="aaaaaaaa"))
    assert driven.frames[0] == Hello(nonce="00000001", peer="aaaaaaaa", must=0, deadline_ms=said)
    assert driven.session.session == "aaaaaaaa00000001"
    assert driven.events[-1] == an_event(driven, "session", "", "session aaaaaaaa00000001, robot protocol 1.1")


def test_heartbeats_are_counted_from_1_and_begin_again_after_65535() -> None:
    driven = up()
    driven.hear(Hello(nonce="aaaaaaaa"))
    driven.hear(Hello(nonce="aaaaaaaa"))
    driven.session._beats = 65_534
    driven.hear(Hello(nonce="aaaaaaaa"))
    driven.hear(Hello(nonce="aaaaaaaa"))
    driven.hear(Hello(nonce="aaaaaaaa"))
    assert [beat.counter for beat in driven.of(Heartbeat)] == [1, 2, 65_535, 0, 1]


def test_heartbeats_say_busy_while_a_trigger_waits_and_name_the_bundle() -> None:
    driven = Driven(inspector_silence_ns=10 * S, budget_ns=S).ready()
    driven.trigger(1)
    driven.pass_ms(100)
    assert driven.frames[-1] == Heartbeat(session=driven.session.session, state=State.BUSY, counter=2, bundle=BUNDLE[:8])


def test_a_robot_told_busy_hears_at_once_when_the_gate_cannot_judge_any_more() -> None:
    driven = Driven(budget_ns=S).ready()
    driven.trigger(1)
    driven.pass_ms(100)
    beats = len(driven.of(Heartbeat))
    driven.do(driven.session.inspector_down, "killed")
    driven.do(driven.session.tick)
    assert [beat.state for beat in driven.of(Heartbeat)[beats:]] == [State.FAULT]


def test_a_session_beats_only_while_it_is_open() -> None:
    driven = up()
    with pytest.raises(AssertionError):
        driven.session._heartbeat(0)
    with pytest.raises(AssertionError):
        driven.session._own_state(0)
    driven.pass_ms(500, step_ms=10)
    assert not driven.frames
    assert driven.session.next_ns(driven.now) > driven.now
    driven.hear(Hello(nonce="aaaaaaaa"))
    assert [beat.counter for beat in driven.of(Heartbeat)] == [1]


def test_a_hello_that_is_refused_is_an_event() -> None:
    driven = up()
    hello = Hello(nonce="dddddddd", profile="P")
    driven.hear(hello)
    assert driven.events[-1] == an_event(driven, "session", "SESSION_LOST", f"hello refused (PROFILE): {hello}")


def test_a_robot_that_needs_part_verdicts_is_refused_without_recipes_and_served_with_them() -> None:
    driven = up()
    driven.hear(Hello(nonce="dddddddd", must=FEATURE_PARTS))
    assert driven.frames == [Nak(session="dddddddd00000000", sequence=0, reason=Refusal.RECIPE)]
    driven = parts()
    driven.hear(Hello(nonce="dddddddd", must=FEATURE_PARTS))
    assert driven.session.session is not None
    assert driven.session.session.startswith("dddddddd")


@pytest.mark.parametrize("opened", [False, True])
def test_what_names_no_open_session_is_refused_with_its_number_and_noted(opened: bool) -> None:
    driven = up()
    if opened:
        driven.hear(Hello(nonce="aaaaaaaa"))
    session, other = driven.session.session, "f" * 16
    driven.hear(Ack(session=other, sequence=7, outcome=Outcome.ACCEPT, done=Done.ACCEPTED))
    assert driven.frames[-1] == Nak(session=other, sequence=7, reason=Refusal.SESSION)
    assert driven.events[-1] == an_event(driven, "session", "SESSION_LOST", f"Ack for session {other}, open is {session}")
    driven.hear(Heartbeat(session=other, state=State.READY, counter=1))
    assert driven.frames[-1] == Nak(session=other, sequence=0, reason=Refusal.SESSION)


def test_a_session_that_ends_says_why_once_and_forgets_its_early_frame() -> None:
    driven = Driven().ready()
    driven.report(TriggerId(driven.session.session, 1))
    driven.hear(Hello(nonce="bbbbbbbb"))
    assert [row.detail for row in driven.events if (row.kind, row.reason) == ("session", "SESSION_LOST")] == [
        "the robot opened a new session"
    ]
    driven.trigger(1)
    assert not driven.verdicts


# triggers


def test_sequences_are_checked_one_by_one() -> None:
    driven = Driven().ready()
    for sequence in (1, 2, 3):
        driven.weld(sequence)
    assert not [row for row in driven.events if row.kind == "trigger"]
    driven.weld(6)
    assert driven.events[-1] == an_event(driven, "trigger", "NO_FRAME", "2 triggers before 6 never arrived", count=2)
    driven.trigger(6, part="P2")
    assert driven.frames[-1] == Nak(session=driven.session.session, sequence=6, reason=Refusal.SEQUENCE)
    assert driven.events[-1] == an_event(driven, "trigger", "FRAME_UNBOUND", "sequence 6 was used before, last is 6")


def test_a_trigger_refused_as_busy_leaves_an_early_frame_to_the_next() -> None:
    driven = Driven().ready()
    first = driven.trigger(1)
    driven.report(TriggerId(first.session, 3))
    driven.trigger(2)
    driven.report(first)
    driven.confirm(first, Outcome.ACCEPT, Done.ACCEPTED)
    driven.trigger(3)
    assert [(verdict.sequence, verdict.outcome) for verdict in driven.verdicts] == [(1, Outcome.ACCEPT), (3, Outcome.ACCEPT)]
    assert [row.detail for row in driven.verdict_rows if row.reason == "BUSY"] == ["another trigger is open"]


def test_a_trigger_refused_as_busy_is_neither_announced_nor_recorded_twice() -> None:
    driven = Driven().ready()
    driven.trigger(1)
    driven.trigger(2)
    assert [told.trigger.sequence for told in driven.told] == [1]
    assert [row.sequence for row in driven.table(TriggerRow)] == [1, 2]
    assert len(driven.of(TriggerAck)) == 1


def test_a_trigger_that_is_rejected_early_is_not_announced() -> None:
    driven = Driven().ready()
    driven.tell(a_state(camera_alive=False))
    driven.trigger(1)
    driven.report(TriggerId(driven.session.session, 3))
    driven.tell(a_state())
    driven.confirm(TriggerId(driven.session.session, 1), Outcome.REJECT, Done.REJECTED)
    driven.trigger(2)
    assert [told.trigger.sequence for told in driven.told] == [2]


def test_a_repetition_while_the_verdict_is_still_going_out_is_not_answered() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    trigger = Trigger(session=key.session, sequence=1, part="P1", weld="W1", typology="T2")
    driven.tell(a_state())
    driven.session.inspector_down("gone", driven.now)
    first = [action for action in driven.session.take() if isinstance(action, Send)]
    driven.session.received(trigger, driven.now)
    assert driven.session.take() == []
    assert len(first) == 1


# frames


def test_only_the_last_early_frame_is_kept_and_the_one_before_is_noted() -> None:
    driven = Driven().ready()
    session = driven.session.session
    driven.report(TriggerId(session, 1), counter=5)
    assert not [row for row in driven.events if row.kind == "frame"]
    driven.report(TriggerId(session, 2), counter=6)
    assert driven.events[-1] == an_event(driven, "frame", "FRAME_UNBOUND", f"frame 5 names {TriggerId(session, 1)}: ", camera="cam0")
    driven.trigger(2)
    assert [verdict.outcome for verdict in driven.verdicts] == [Outcome.ACCEPT]


def test_an_early_frame_of_another_trigger_is_noted_and_the_trigger_waits() -> None:
    driven = Driven().ready()
    session = driven.session.session
    driven.report(TriggerId(session, 2), counter=6)
    driven.trigger(1)
    assert not driven.verdicts
    assert [row.detail for row in driven.events if row.kind == "frame"] == [f"frame 6 names {TriggerId(session, 2)}: "]
    assert driven.told == [Expect(TriggerId(session, 1), "P1", "W1", "T2")]
    driven.pass_ms(95)
    assert "last refused: FRAME_UNBOUND frame 6 of cam0" in driven.verdict_rows[0].detail


def test_a_trigger_decided_by_an_early_frame_is_not_announced() -> None:
    driven = Driven().ready()
    driven.report(TriggerId(driven.session.session, 1))
    driven.trigger(1)
    assert driven.told == []


def test_an_early_frame_of_an_inspector_that_has_not_said_its_state_is_not_used_afterwards() -> None:
    driven = Driven().ready()
    driven.do(driven.session.inspector_up)
    driven.report(TriggerId(driven.session.session, 1))
    driven.tell(a_state())
    driven.trigger(1)
    assert not driven.verdicts


def test_a_second_frame_for_a_decided_trigger_is_late_even_if_it_is_the_last_one() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.report(key)
    driven.report(key, counter=9)
    assert driven.events[-1] == an_event(driven, "frame", "FRAME_LATE", "frame 9 for trigger 1, which is closed", camera="cam0")


# parts and change-over


def test_a_query_without_recipes_is_refused_and_noted_and_uses_its_number() -> None:
    driven = Driven().ready()
    driven.query(1)
    assert driven.frames[-1] == Nak(session=driven.session.session, sequence=1, reason=Refusal.RECIPE)
    assert driven.events[-1] == an_event(driven, "part", "RECIPE", "a query for part P1, but no recipes are configured")
    driven.trigger(1)
    assert driven.of(Nak)[-1].reason is Refusal.SEQUENCE


def test_every_change_over_is_a_row_of_its_own() -> None:
    driven = parts()
    assert isinstance(driven.change_over(1, "R2"), ChangeOver)
    assert driven.rows[-1] == an_event(driven, "recipe", "", "change-over to R2")
    driven.change_over(2, "R9")
    assert driven.rows[-1] == an_event(driven, "recipe", "RECIPE", "change-over to R9 refused: RECIPE, open parts: ")
    driven.change_over(2, "R9")
    assert len([row for row in driven.events if row.kind == "recipe"]) == 2


def test_missing_welds_that_are_not_the_reason_are_noted_beside_it() -> None:
    driven = parts()
    driven.do(driven.session.latched_for, ("look",))
    driven.query(1)
    assert driven.part_verdicts[-1].missing == 2
    (row,) = [row for row in driven.events if row.kind == "part"]
    assert row == an_event(driven, "part", "WELDS_MISSING", "part P1, query 1: 2 missing: W1 was not shown, W2 was not shown")


def test_without_an_open_port_no_part_is_judged() -> None:
    driven = Driven(recipes=(a_recipe(),), recipe="R1")
    driven.hear(Hello(nonce="aaaaaaaa"))
    driven.query(1)
    assert (driven.part_verdicts[-1].outcome, driven.part_verdicts[-1].reason) == (Outcome.NO_VERDICT, Reason.SESSION_LOST)


# confirmations


def test_what_only_the_gate_says_changes_nothing_when_it_comes_back() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    rows, frames = len(driven.rows), len(driven.frames)
    driven.hear(TriggerAck(session=key.session, sequence=1))
    assert (len(driven.rows), len(driven.frames)) == (rows, frames)


def test_a_confirmation_under_a_number_that_was_no_trigger_is_noted_and_latches_nothing() -> None:
    driven = parts()
    driven.change_over(1, "R2")
    driven.confirm(TriggerId(driven.session.session, 1), Outcome.ACCEPT, Done.ACCEPTED)
    assert driven.events[-1] == an_event(driven, "ack", "DEADLINE", "confirmation of trigger 1 (ACCEPTED) is late or unasked")
    assert not driven.session.latched


def test_a_confirmation_before_the_last_byte_is_handed_over_counts() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.session.inspector_down("gone", driven.now)
    driven.session.take()
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    assert [(row.sent, row.done) for row in driven.dispositions] == [("", "REJECTED")]


def test_the_last_refused_frame_is_named_only_where_there_is_one() -> None:
    driven = Driven().ready()
    driven.trigger(1)
    driven.pass_ms(95)
    driven.tell(a_state())
    driven.trigger(2)
    driven.tell(FrameEvent(camera="cam0", counter=None, reason=Reason.FRAME_SIZE, detail="cut"))
    driven.pass_ms(95)
    assert [row.detail for row in driven.verdict_rows] == [
        "frame judged: no frame for this trigger",
        "frame judged: no frame for this trigger; last refused: FRAME_SIZE cut",
    ]
