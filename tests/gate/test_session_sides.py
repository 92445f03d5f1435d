"""What the session makes of inspector, records and its own end: who is told, what is written, and in which order."""

from __future__ import annotations

import pytest
from gate_kit import BUNDLE, MS, Driven, a_report, a_state

from edge.contract import Expect, FrameEvent, Outcome, Reason, Settled, TriggerId
from edge.gate.case import Discard, Latch, Record, Send, Tell, Ticket
from edge.gate.casework import CaseWork
from edge.gate.messages import Done, Heartbeat, Hello, Nak, Refusal, State, Trigger, TriggerAck
from edge.gate.robot_session import RobotSession
from edge.gate.rows import Disposition, EventRow, VerdictRow
from edge.gate.session import GateSession
from edge.gate.verdict import Decision

S = 1_000 * MS
NOBODY = TriggerId("f" * 16, 1)


def last(driven: Driven) -> tuple[Outcome, Reason]:
    return driven.verdicts[-1].outcome, driven.verdicts[-1].reason


def an_event(driven: Driven, kind: str, reason: str, detail: str, *, camera: str = "", count: int = 1) -> EventRow:
    return EventRow(kind=kind, reason=reason, detail=detail, camera=camera, count=count, first_ns=driven.now, at_ns=driven.now)


def details(driven: Driven, kind: str) -> list[tuple[str, str, int]]:
    """Of the events of a kind after their second is over."""
    for _ in range(11):
        driven.now += 100 * MS
        driven.tell(a_state())
        driven.do(driven.session.tick)
    return [(row.reason, row.detail, row.count) for row in driven.events if row.kind == kind]


# the link


def test_the_link_says_when_it_opens_and_why_it_is_gone() -> None:
    driven = Driven()
    driven.do(driven.session.link_up)
    assert driven.rows == [an_event(driven, "link", "", "port open")]
    driven.do(driven.session.link_down, "end of file")
    assert driven.rows[1:] == [an_event(driven, "link", "SESSION_LOST", "end of file")]


@pytest.mark.parametrize("unplugged", [False, True])
def test_without_an_open_port_no_weld_is_judged(unplugged: bool) -> None:
    driven = Driven()
    if unplugged:
        driven.do(driven.session.link_up)
        driven.do(driven.session.link_down, "end of file")
    driven.do(driven.session.inspector_up)
    driven.tell(a_state())
    driven.hear(Hello(nonce="aaaaaaaa"))
    driven.trigger(1)
    assert last(driven) == (Outcome.NO_VERDICT, Reason.SESSION_LOST)


def test_noise_is_an_event_with_its_kind_and_count() -> None:
    driven = Driven()
    driven.do(driven.session.noise, "bad_crc", 3)
    assert driven.rows == [an_event(driven, "noise", "", "bad_crc", camera="bad_crc", count=3)]


def test_what_the_port_says_of_an_unknown_verdict_changes_nothing() -> None:
    driven = Driven().ready()
    rows = len(driven.rows)
    driven.do(driven.session.sent, NOBODY)
    driven.do(driven.session.dropped, NOBODY, "full")
    driven.do(driven.session.recorded, Ticket("verdict", NOBODY))
    assert len(driven.rows) == rows


def test_a_dropped_verdict_is_an_event_and_a_note() -> None:
    driven = Driven(durable=False).ready()
    driven.port_takes = False
    driven.report(driven.trigger(1))
    driven.pass_ms(95)
    driven.do(driven.session.dropped, TriggerId(driven.session.session, 1), "again")
    driven.pass_ms(60)
    withheld = "ACCEPT withheld: its record was not durable before the deadline"
    assert driven.dispositions[0].detail == f"{withheld}; verdict not handed to the port: full; the robot did not confirm"
    assert [row.detail for row in driven.events if (row.kind, row.reason) == ("link", "DEADLINE")] == ["verdict of 1 dropped: full"]


def test_push_closes_a_verdict_that_the_port_did_not_take() -> None:
    driven = Driven("push").ready()
    driven.port_takes = False
    driven.report(None)
    assert [(row.sent, row.done) for row in driven.dispositions] == [("", "UNCONFIRMED")]


def test_a_verdict_that_was_dropped_may_still_leave_when_the_robot_asks_again() -> None:
    driven = Driven().ready()
    driven.port_takes = False
    key = driven.trigger(1)
    driven.report(key)
    driven.port_takes = True
    driven.now += 7 * MS
    driven.trigger(1)
    assert [verdict.outcome for verdict in driven.verdicts] == [Outcome.ACCEPT]
    driven.confirm(key, Outcome.ACCEPT, Done.ACCEPTED)
    (row,) = driven.dispositions
    assert (row.sent, row.done, row.sent_ns) == ("ACCEPT", "ACCEPTED", driven.now)


# the inspector


def test_a_session_without_any_inspector_lives_and_says_fault() -> None:
    driven = Driven()
    driven.do(driven.session.tick)
    assert driven.session.next_ns(0) == 1 * S
    driven.do(driven.session.link_up)
    driven.hear(Hello(nonce="aaaaaaaa"))
    assert driven.of(Heartbeat)[-1].state is State.FAULT
    assert driven.of(Heartbeat)[-1].bundle == "0" * 8
    driven.trigger(1)
    assert last(driven) == (Outcome.REJECT, Reason.INSPECTOR_DOWN)
    driven.pass_ms(250, step_ms=10)
    assert not [row for row in driven.events if row.kind == "inspector"]


@pytest.mark.parametrize("gone", [False, True])
def test_what_an_inspector_said_that_is_not_connected_counts_for_nothing(gone: bool) -> None:
    driven = Driven()
    driven.do(driven.session.link_up)
    driven.hear(Hello(nonce="aaaaaaaa"))
    if gone:
        driven.do(driven.session.inspector_up)
        driven.do(driven.session.inspector_down, "closed")
    driven.tell(a_state())
    driven.trigger(1)
    assert last(driven) == (Outcome.REJECT, Reason.INSPECTOR_DOWN)


def test_a_new_inspector_is_not_ready_before_it_says_so() -> None:
    driven = Driven().ready()
    driven.do(driven.session.inspector_up)
    driven.trigger(1)
    assert last(driven) == (Outcome.REJECT, Reason.INSPECTOR_DOWN)
    driven.tell(a_state())
    driven.report(driven.trigger(2))
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)


def test_an_inspector_that_went_is_an_event_and_never_counts_as_silent() -> None:
    driven = Driven("push").ready()
    driven.do(driven.session.inspector_down, "closed")
    assert driven.rows[-1] == an_event(driven, "inspector", "INSPECTOR_DOWN", "closed")
    driven.pass_ms(2_000, step_ms=50)
    assert sum(row.count for row in driven.events if row.reason == "INSPECTOR_DOWN") == 1


def test_a_state_is_an_event_only_when_it_changes() -> None:
    driven = Driven("push")
    driven.do(driven.session.inspector_up)
    ready = f"pid 1 ready, openvino, bundle {BUNDLE[:12]} "
    driven.tell(a_state())
    assert driven.rows == [an_event(driven, "inspector", "", ready)]
    driven.tell(a_state(frames=7))
    driven.tell(a_state(ready=False, fault="cold"))
    driven.tell(a_state(ready=False, fault_reason=Reason.BUNDLE_FAULT, fault="forged"))
    assert [(row.reason, row.detail) for row in driven.events[1:]] == [
        ("NOT_READY", f"pid 1 not ready, openvino, bundle {BUNDLE[:12]} cold"),
        ("BUNDLE_FAULT", f"pid 1 not ready, openvino, bundle {BUNDLE[:12]} forged"),
    ]
    other = f"pid 1 ready, openvino, bundle {'c' * 12} "
    driven.tell(a_state(bundle="c" * 64))
    driven.tell(a_state(bundle="c" * 64, frames=9))
    driven.do(driven.session.close)
    assert [(row.detail, row.count) for row in driven.events if row.kind == "inspector"][3:] == [(other, 1)]


def test_every_frame_event_is_counted_at_least_once_and_a_gap_is_no_refused_frame() -> None:
    driven = Driven().ready()
    for count, kept in ((0, 1), (5, 5)):
        driven.tell(FrameEvent(camera=f"cam{count}", counter=None, reason=Reason.FRAME_HEADER, detail="not JSON", count=count))
        assert driven.events[-1] == an_event(driven, "frame", "FRAME_HEADER", "not JSON", camera=f"cam{count}", count=kept)
    driven.trigger(1)
    driven.tell(FrameEvent(camera="cam0", counter=None, reason=Reason.FRAME_GAP, detail="2 skipped"))
    driven.pass_ms(95)
    assert driven.verdict_rows[-1].detail == "frame judged: no frame for this trigger"


def test_the_refused_frame_a_verdict_names_is_the_last_one_since_its_trigger() -> None:
    driven = Driven().ready()
    driven.tell(FrameEvent(camera="cam0", counter=None, reason=Reason.FRAME_HEADER, detail="before"))
    driven.trigger(1)
    driven.pass_ms(95)
    assert "before" not in driven.verdict_rows[-1].detail
    driven.trigger(2)
    driven.report(None, counter=9, detail="whose?")
    driven.trigger(3)  # refused, and no reason to forget the frame
    driven.pass_ms(95)
    assert driven.verdict_rows[-1].detail == "frame judged: no frame for this trigger; last refused: FRAME_UNBOUND frame 9 of cam0 whose?"
    refused = [row for row in driven.events if row.reason == "FRAME_UNBOUND"]
    assert [(row.kind, row.camera, row.count) for row in refused] == [("frame", "cam0", 1)]


def test_an_unbound_frame_keeps_its_own_reason() -> None:
    driven = Driven().ready()
    driven.report(None, reason=Reason.FRAME_CRC)
    assert driven.events[-1].reason == "FRAME_CRC"


# the records


def test_an_accept_is_recorded_then_sent_and_a_reject_sent_then_recorded() -> None:
    driven = Driven().ready()
    session = driven.session
    key = driven.trigger(1)
    session.told(a_report(key, received_ns=driven.now), driven.now)
    (record,) = session.take()
    assert isinstance(record, Record)
    assert record.ticket == Ticket("verdict", key)
    session.recorded(record.ticket, driven.now)
    (send,) = session.take()
    assert isinstance(send, Send)
    session.sent(key, driven.now)
    driven.confirm(key, Outcome.ACCEPT, Done.ACCEPTED)
    key = driven.trigger(2)
    session.told(a_report(key, received_ns=driven.now, score=0.9), driven.now)
    send, record = session.take()
    assert isinstance(send, Send)
    assert isinstance(record, Record)
    assert record.ticket is None
    assert [type(row) for row in record.rows] == [VerdictRow]


def test_a_trigger_is_recorded_before_the_inspector_hears_of_it() -> None:
    driven = Driven().ready()
    driven.durable = False
    before = len(driven.log)
    key = driven.trigger(1)
    (what, record), *_ = driven.log[before:]
    assert what == "record"
    assert isinstance(record, Record)
    assert record.ticket == Ticket("trigger", key)
    assert driven.told == [Expect(key, "P1", "W1", "T2")]


def test_a_repeated_trigger_is_acknowledged_again_only_once_it_is_recorded() -> None:
    driven = Driven(durable=False).ready()
    driven.trigger(1)
    driven.trigger(1)
    assert not driven.of(TriggerAck)
    driven.settle()
    driven.act()
    driven.trigger(1)
    assert len(driven.of(TriggerAck)) == 2
    driven.report(TriggerId(driven.session.session, 1))
    driven.trigger(1)
    assert len(driven.of(TriggerAck)) == 3
    assert not driven.verdicts


def test_a_trigger_recorded_only_after_its_verdict_is_not_acknowledged() -> None:
    driven = Driven(durable=False).ready()
    driven.report(driven.trigger(1), score=0.9)
    driven.settle()
    driven.act()
    assert not driven.of(TriggerAck)


def test_a_failed_write_of_another_row_spoils_every_accept_that_is_recorded_afterwards() -> None:
    driven = Driven("push", durable=False).ready()
    driven.report(None)
    driven.do(driven.session.record_failed, Ticket("verdict", NOBODY), "disk full")
    assert not driven.verdicts
    driven.settle()
    driven.act()
    assert last(driven) == (Outcome.REJECT, Reason.RECORD_FAULT)
    assert next(row.detail for row in driven.events if row.kind == "records") == "disk full"
    assert "ACCEPT withheld: its record could not be written" in driven.dispositions[0].detail


def test_a_failed_write_withholds_the_accept_it_was_for_and_no_other() -> None:
    driven = Driven("push", durable=False).ready()
    driven.report(None, counter=1)
    driven.report(None, counter=2)
    driven.do(driven.session.record_failed, driven.tickets[0], "disk full")
    assert [verdict.sequence for verdict in driven.verdicts] == [1]
    driven.do(driven.session.record_failed, None, "disk full")
    assert [verdict.sequence for verdict in driven.verdicts] == [1, 2]
    assert {verdict.reason for verdict in driven.verdicts} == {Reason.RECORD_FAULT}


def test_a_failed_write_rejects_a_waiting_trigger_at_once() -> None:
    driven = Driven().ready()
    driven.trigger(1)
    driven.do(driven.session.record_failed, None, "disk full")
    assert last(driven) == (Outcome.REJECT, Reason.RECORD_FAULT)
    assert len(driven.verdicts) == 1
    driven.do(driven.session.store_back)
    assert driven.events[-1] == an_event(driven, "records", "", "store checked and writing again")


def test_a_withheld_accept_is_an_event() -> None:
    driven = Driven(durable=False).ready()
    driven.report(driven.trigger(1))
    driven.pass_ms(95)
    assert driven.events[-1] == an_event(
        driven, "records", "RECORD_LATE", "trigger 1: ACCEPT withheld: its record was not durable before the deadline"
    )


def test_accepts_that_came_first_may_be_due_last() -> None:
    driven = Driven("push", durable=False).ready()
    start = driven.now
    driven.report(None, counter=1)
    driven.report(None, counter=2, received_ns=start - 10 * MS)
    driven.now = start + 85 * MS
    driven.do(driven.session.tick)
    assert [(verdict.sequence, verdict.reason) for verdict in driven.verdicts] == [(2, Reason.RECORD_LATE)]


def test_a_latch_is_an_event_once_and_so_is_its_end() -> None:
    driven = Driven("push")
    driven.do(driven.session.latched_for, ("damaged", "look"))
    assert [(row.reason, row.detail) for row in driven.events] == [("LATCHED", "damaged")]
    driven.do(driven.session.latched_for, ("damaged",))
    driven.do(driven.session.acknowledged)
    assert driven.events[-1] == an_event(driven, "latch", "", "acknowledged, accepting again")
    assert details(driven, "latch")[-1] == ("LATCHED", "look", 1)


def test_what_the_session_latches_itself_is_ordered_recorded_and_obeyed_once() -> None:
    driven = Driven("push", latch_noise=2)
    for asked in ([Record, Latch, Record], []):
        driven.session.noise("bad_crc", 3, driven.now)
        assert [type(action) for action in driven.session.take()] == asked


# the end of a case


def test_the_inspector_hears_what_became_of_the_frame_it_judged() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.report(key, counter=41)
    assert not driven.settled
    driven.confirm(key, Outcome.ACCEPT, Done.ACCEPTED)
    assert driven.settled == [Settled(trigger=key, camera="cam0", counter=41, outcome=Outcome.ACCEPT, reason=Reason.OK)]
    driven.trigger(2)
    driven.pass_ms(95)
    driven.pass_ms(60)
    assert len(driven.settled) == 1


def test_a_case_is_decided_once_and_closed_once_whoever_asks() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    case = driven.session._find(key)
    assert case is not None
    driven.report(key, score=0.9)
    driven.do(lambda now: driven.session._conclude(case, Decision(Outcome.ACCEPT, Reason.OK, ""), None, now))
    assert len(driven.verdict_rows) == 1
    for done in (Disposition.REJECTED, Disposition.ACCEPTED):
        driven.do(lambda now, done=done: driven.session._close(case, done, "", now))
    assert [row.done for row in driven.dispositions] == ["REJECTED"]


def test_an_accept_is_not_repeated_once_its_case_is_closed() -> None:
    driven = Driven().ready()
    driven.weld(1)
    driven.trigger(1)
    assert len(driven.verdicts) == 1
    assert driven.of(Nak)[-1] == Nak(session=driven.session.session, sequence=1, reason=Refusal.DEADLINE)


def test_the_last_64_closed_triggers_are_remembered() -> None:
    driven = Driven().ready()
    for sequence in range(1, 66):
        driven.weld(sequence)
    for sequence, refusal in ((2, Refusal.DEADLINE), (1, Refusal.SEQUENCE), (65, Refusal.DEADLINE)):
        driven.trigger(sequence)
        assert driven.of(Nak)[-1].reason is refusal
    assert len(driven.verdicts) == 65


def test_a_confirmation_from_the_session_before_is_not_taken_for_one_of_this() -> None:
    driven = Driven().ready()
    driven.weld(1)
    driven.hear(Hello(nonce="bbbbbbbb"))
    driven.confirm(TriggerId(driven.session.session, 1), Outcome.ACCEPT, Done.ACCEPTED)
    assert len(driven.session.latched) == 1


# the end of the gate


@pytest.mark.parametrize("reported", [False, True])
def test_stopping_rejects_what_waits_and_withholds_what_is_not_durable(reported: bool) -> None:
    driven = Driven(durable=False).ready()
    key = driven.trigger(1)
    if reported:
        driven.report(key)
    driven.do(driven.session.stop)
    driven.do(driven.session.stop)
    assert [(verdict.outcome, verdict.reason) for verdict in driven.verdicts] == [(Outcome.REJECT, Reason.GATE_RESTARTED)]
    driven.do(driven.session.close)
    (row,) = driven.dispositions
    note = "ACCEPT withheld: the gate was stopped; " if reported else ""
    assert (row.sent, row.done, row.detail) == ("REJECT", "GATE_RESTARTED", f"{note}the gate was stopped")


@pytest.mark.parametrize(("how", "reason"), [("close", "GATE_RESTARTED"), ("hello", "SESSION_LOST")])
def test_a_trigger_still_waiting_at_the_end_has_no_verdict_and_the_reason_says_whose_end(how: str, reason: str) -> None:
    driven = Driven().ready()
    driven.trigger(1)
    driven.hear(Hello(nonce="bbbbbbbb")) if how == "hello" else driven.do(driven.session.close)
    assert [(row.outcome, row.reason) for row in driven.verdict_rows] == [("NO_VERDICT", reason)]
    assert [row.done for row in driven.dispositions] == [reason]


def test_closing_writes_every_count_and_says_so() -> None:
    driven = Driven("push")
    for _ in range(3):
        driven.do(driven.session.noise, "garbage", 1)
    driven.do(driven.session.close)
    assert [(row.kind, row.count) for row in driven.events] == [("noise", 1), ("gate", 1), ("noise", 2)]
    assert driven.events[1] == an_event(driven, "gate", "", "stopped")


def test_a_session_that_ends_discards_what_waits_for_the_port() -> None:
    driven = Driven().ready()
    driven.session.tick(driven.now + 300 * MS)
    assert [type(action) for action in driven.session.take()][-1] is Discard


def test_a_session_needs_a_profile() -> None:
    assert CaseWork.__abstractmethods__ == {"_after_sending"}
    assert GateSession.__abstractmethods__ == {"_after_sending", "received", "_reported"}
    assert RobotSession.__abstractmethods__ == {"_after_sending", "_asked", "_reported"}


def test_tell_is_all_that_the_inspector_gets() -> None:
    driven = Driven().ready()
    trigger = Trigger(session=driven.session.session, sequence=1, part="P1", weld="W1", typology="T2")
    driven.session.received(trigger, driven.now)
    record, tell = driven.session.take()
    assert isinstance(record, Record)
    assert tell == Tell(Expect(TriggerId(driven.session.session, 1), "P1", "W1", "T2"))
