"""Every deadline of the session, to the nanosecond: what happens at it, and what does not happen just before."""

from __future__ import annotations

import pytest
from gate_kit import MS, Driven, a_report, a_state

from edge.contract import Outcome, Reason, TriggerId
from edge.gate.case import Send, Ticket
from edge.gate.messages import Done, Heartbeat, Hello, Nak, Refusal, State, Trigger, TriggerAck, Verdict

S = 1_000 * MS
LATER = 10 * S


def at(driven: Driven, now_ns: int) -> None:
    driven.now = now_ns
    driven.do(driven.session.tick)


def due(driven: Driven) -> int:
    """How long until the next tick, from now, in ns."""
    return driven.session.next_ns(driven.now) - driven.now


def sends(driven: Driven) -> list[Send]:
    return [action for action in driven.session.take() if isinstance(action, Send)]


def a_trigger(driven: Driven) -> Trigger:
    return Trigger(session=driven.session.session, sequence=1, part="P1", weld="W1", typology="T2")


# when to tick


def test_nothing_waits_longer_than_a_second() -> None:
    assert due(Driven("push")) == 1 * S
    driven = Driven("push").ready()
    driven.do(driven.session.inspector_down, "gone")
    at(driven, driven.now + 1 * S)
    assert due(driven) == 1 * S


def test_counted_events_are_due_a_second_after_the_first() -> None:
    driven = Driven("push")
    driven.do(driven.session.noise, "bad_crc", 1)
    driven.now += 300 * MS
    assert due(driven) == 700 * MS


def test_the_inspectors_silence_is_due_from_its_last_word() -> None:
    driven = Driven("push").ready()
    driven.now += 100 * MS
    assert due(driven) == 140 * MS
    driven.do(driven.session.told, a_state())
    assert due(driven) == 240 * MS
    driven.now += 240 * MS
    driven.do(driven.session.tick)
    assert due(driven) > 240 * MS


@pytest.mark.parametrize("reported", [False, True])
def test_a_trigger_that_waits_for_frame_or_record_is_due_at_its_cutoff(reported: bool) -> None:
    driven = Driven(durable=False, heartbeat_ns=S, silence_ns=3 * S).ready()
    key = driven.trigger(1)
    if reported:
        driven.report(key)
    assert due(driven) == 95 * MS


def test_a_heartbeat_and_the_robots_silence_are_due() -> None:
    driven = Driven(inspector_silence_ns=LATER).ready()
    assert due(driven) == 100 * MS
    driven = Driven(inspector_silence_ns=LATER, heartbeat_ns=500 * MS).ready()
    assert due(driven) == 300 * MS
    driven.now += 100 * MS
    driven.hear(Heartbeat(session=driven.session.session, state=State.READY, counter=1))
    assert due(driven) == 300 * MS


def test_resend_and_confirmation_are_due_after_the_verdict() -> None:
    driven = Driven(heartbeat_ns=S, silence_ns=3 * S).ready()
    driven.report(driven.trigger(1))
    assert due(driven) == 40 * MS
    at(driven, driven.now + 40 * MS)
    assert due(driven) == 10 * MS


def test_a_resend_that_could_only_come_too_late_is_not_due() -> None:
    driven = Driven(heartbeat_ns=S, silence_ns=3 * S, resend_ns=95 * MS, ack_timeout_ns=150 * MS).ready()
    driven.report(driven.trigger(1))
    assert due(driven) == 150 * MS


def test_a_verdict_the_port_did_not_take_is_closed_a_timeout_after_its_deadline() -> None:
    driven = Driven(heartbeat_ns=S, silence_ns=3 * S).ready()
    driven.port_takes = False
    driven.report(driven.trigger(1))
    assert due(driven) == 150 * MS
    start = driven.now
    at(driven, start + 150 * MS - 1)
    assert not driven.dispositions
    at(driven, start + 150 * MS)
    assert [(row.sent, row.done, row.closed_ns) for row in driven.dispositions] == [("", "TIMEOUT", start + 150 * MS)]


# what happens at a deadline


def test_without_a_frame_a_trigger_is_rejected_exactly_at_its_cutoff() -> None:
    driven = Driven().ready()
    start = driven.now
    driven.trigger(1)
    at(driven, start + 95 * MS - 1)
    assert not driven.verdicts
    at(driven, start + 95 * MS)
    (row,) = driven.verdict_rows
    assert (row.reason, row.opened_ns, row.decided_ns) == ("NO_FRAME", start, start + 95 * MS)


@pytest.mark.parametrize(("early", "outcome"), [(1, Outcome.ACCEPT), (0, Outcome.REJECT)])
def test_a_record_counts_only_if_durable_before_the_cutoff(early: int, outcome: Outcome) -> None:
    driven = Driven(durable=False).ready()
    driven.report(driven.trigger(1))
    driven.now += 95 * MS - early
    driven.settle()
    driven.act()
    assert [verdict.outcome for verdict in driven.verdicts] == [outcome]


def test_an_accept_without_its_record_is_withheld_exactly_at_the_cutoff() -> None:
    driven = Driven(durable=False).ready()
    start = driven.now
    driven.report(driven.trigger(1))
    at(driven, start + 95 * MS - 1)
    assert not driven.verdicts
    at(driven, start + 95 * MS)
    assert [verdict.reason for verdict in driven.verdicts] == [Reason.RECORD_LATE]


def test_a_silent_inspector_counts_as_down_exactly_after_its_silence() -> None:
    driven = Driven(budget_ns=S, silence_ns=LATER).ready()
    start = driven.now
    driven.trigger(1)
    at(driven, start + 240 * MS - 1)
    assert not driven.verdicts
    at(driven, start + 240 * MS)
    assert [verdict.reason for verdict in driven.verdicts] == [Reason.INSPECTOR_DOWN]
    assert [row.detail for row in driven.events if row.kind == "inspector" and row.reason == "INSPECTOR_DOWN"] == ["silent"]
    at(driven, start + 3 * S)
    assert sum(row.count for row in driven.events if row.reason == "INSPECTOR_DOWN") == 1


def test_a_new_inspector_is_given_its_silence_from_connecting_on() -> None:
    driven = Driven("push").ready()
    driven.now += 200 * MS
    driven.do(driven.session.inspector_up)
    assert due(driven) == 240 * MS


@pytest.mark.parametrize(("late", "done"), [(-1, []), (0, ["TIMEOUT"])])
def test_a_confirmation_is_late_exactly_after_its_timeout(late: int, done: list[str]) -> None:
    driven = Driven(ack_timeout_ns=30 * MS).ready()
    driven.report(driven.trigger(1))
    at(driven, driven.now + 30 * MS + late)
    assert [row.done for row in driven.dispositions] == done
    assert [row.detail for row in driven.events if row.kind == "ack"] == ["trigger 1: the robot did not confirm"] * len(done)


def test_resends_come_at_their_interval_and_end_before_the_cutoff() -> None:
    driven = Driven(resend_ns=20 * MS, ack_timeout_ns=S).ready()
    start = driven.now
    driven.report(driven.trigger(1))
    at(driven, start + 20 * MS - 1)
    assert len(driven.verdicts) == 1
    at(driven, start + 20 * MS)
    at(driven, start + 20 * MS)
    assert len(driven.verdicts) == 2
    at(driven, start + 95 * MS - 1)
    assert len(driven.verdicts) == 3
    at(driven, start + 95 * MS)
    assert len(driven.verdicts) == 3


def test_a_resend_of_an_accept_is_dropped_at_the_deadline_and_one_of_a_reject_too() -> None:
    for score in (0.1, 0.9):
        driven = Driven(ack_timeout_ns=S).ready()
        start = driven.now
        driven.report(driven.trigger(1), score=score)
        driven.session.tick(start + 40 * MS)
        (send,) = sends(driven)
        assert (send.message, send.not_after_ns, send.key) == (driven.verdicts[0], start + 100 * MS, TriggerId(driven.session.session, 1))


def test_a_tick_at_the_cutoff_sends_nothing_again_even_if_a_resend_was_due() -> None:
    driven = Driven(ack_timeout_ns=S).ready()
    start = driven.now
    driven.report(driven.trigger(1))
    at(driven, start + 95 * MS)
    assert len(driven.verdicts) == 1


def test_the_resend_counts_from_the_moment_the_last_byte_was_handed_over() -> None:
    driven = Driven(ack_timeout_ns=S).ready()
    start = driven.now
    key = driven.trigger(1)
    driven.session.told(a_report(key, received_ns=start), start)
    driven.session.recorded(Ticket("verdict", key), start)
    driven.session.take()
    driven.session.sent(key, start + 30 * MS)
    driven.session.sent(key, start + 50 * MS)
    driven.session.dropped(key, "too late to say so", start + 50 * MS)
    at(driven, start + 70 * MS - 1)
    assert not driven.verdicts
    at(driven, start + 70 * MS)
    assert len(driven.verdicts) == 1
    driven.confirm(key, Outcome.ACCEPT, Done.ACCEPTED)
    assert [(row.sent_ns, row.detail) for row in driven.dispositions] == [(start + 30 * MS, "")]


@pytest.mark.parametrize(("before", "answer"), [(1, Verdict), (0, Nak)])
def test_an_accept_is_repeated_on_request_only_before_the_cutoff(before: int, answer: type) -> None:
    driven = Driven(ack_timeout_ns=S, resend_ns=S).ready()
    start = driven.now
    driven.report(driven.trigger(1))
    driven.now = start + 95 * MS - before
    driven.trigger(1)
    assert isinstance(driven.frames[-1], answer)


def test_a_reject_is_repeated_on_request_for_a_heartbeat_and_an_accept_until_its_deadline() -> None:
    for score, not_after_ns in ((0.1, 100 * MS), (0.9, 160 * MS)):
        driven = Driven(ack_timeout_ns=S, resend_ns=S).ready()
        start = driven.now
        driven.report(driven.trigger(1), score=score)
        driven.now = start + 60 * MS
        driven.session.received(a_trigger(driven), driven.now)
        (send,) = sends(driven)
        assert (send.message, send.not_after_ns - start) == (driven.verdicts[0], not_after_ns)


def test_everything_but_a_verdict_is_worth_a_heartbeat() -> None:
    driven = Driven().ready()
    driven.session.received(a_trigger(driven), driven.now)
    driven.session.take()
    driven.session.recorded(Ticket("trigger", TriggerId(driven.session.session, 1)), driven.now)
    (send,) = sends(driven)
    assert isinstance(send.message, TriggerAck)
    assert (send.not_after_ns - driven.now, send.key) == (100 * MS, None)


@pytest.mark.parametrize(("waited", "outcomes"), [(100 * MS - 1, [Outcome.ACCEPT]), (100 * MS, [])])
def test_a_frame_that_overtook_its_trigger_is_kept_for_less_than_a_budget(waited: int, outcomes: list[Outcome]) -> None:
    driven = Driven().ready()
    driven.report(TriggerId(driven.session.session, 1))
    driven.now += waited
    driven.trigger(1)
    assert [verdict.outcome for verdict in driven.verdicts] == outcomes
    unused = [row.detail for row in driven.events if row.reason == "FRAME_UNBOUND"]
    assert len(unused) == 1 - len(outcomes)


# the robot


def test_a_robot_is_gone_exactly_after_its_silence() -> None:
    driven = Driven(inspector_silence_ns=LATER).ready()
    start = driven.now
    at(driven, start + 300 * MS - 1)
    assert driven.session.session is not None
    at(driven, start + 300 * MS)
    assert driven.session.session is None
    assert driven.events[-1].detail == "the robot's heartbeat stopped"


def test_any_message_of_the_session_and_every_new_heartbeat_shows_that_the_robot_lives() -> None:
    driven = Driven(inspector_silence_ns=LATER, budget_ns=LATER).ready()
    driven.now += 200 * MS
    driven.trigger(1)
    at(driven, driven.now + 299 * MS)
    assert driven.session.session is not None
    session = driven.session.session
    for counter, alive in ((5, True), (5, False)):
        driven.hear(Heartbeat(session=session, state=State.READY, counter=counter))
        at(driven, driven.now + 299 * MS)
        assert (driven.session.session is not None) is alive


def test_the_gate_beats_at_its_interval() -> None:
    driven = Driven(inspector_silence_ns=LATER).ready()
    start, beats = driven.now, len(driven.of(Heartbeat))
    at(driven, start + 100 * MS - 1)
    assert len(driven.of(Heartbeat)) == beats
    at(driven, start + 100 * MS)
    at(driven, start + 200 * MS - 1)
    assert len(driven.of(Heartbeat)) == beats + 1


def test_a_hello_whose_deadline_is_exactly_the_budget_fits() -> None:
    driven = Driven()
    driven.do(driven.session.link_up)
    for nonce, deadline_ms in (("dddddddd", 100), ("eeeeeeee", 0), ("ffffffff", 65_535)):
        driven.hear(Hello(nonce=nonce, deadline_ms=deadline_ms))
        assert driven.session.session is not None
        assert driven.session.session.startswith(nonce)
    driven.hear(Hello(nonce="99999999", deadline_ms=1))
    assert driven.of(Nak)[-1].reason is Refusal.DEADLINE
