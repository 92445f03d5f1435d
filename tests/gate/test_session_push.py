"""The push profile to the letter: numbers, times, memory and what a robot that talks is told."""

from __future__ import annotations

import pytest
from gate_kit import MS, Driven, a_report, a_state

from edge.contract import Outcome, Reason
from edge.gate.case import Record, Send
from edge.gate.messages import Done, Heartbeat, Hello, Nak, Refusal, State
from edge.gate.rows import EventRow, TriggerRow


def reasons(driven: Driven) -> list[Reason]:
    return [verdict.reason for verdict in driven.verdicts]


def an_event(driven: Driven, kind: str, reason: str, detail: str, camera: str = "") -> EventRow:
    return EventRow(kind=kind, reason=reason, detail=detail, camera=camera, count=1, first_ns=driven.now, at_ns=driven.now)


def test_a_session_begins_with_the_port_under_two_nonces() -> None:
    driven = Driven("push")
    driven.do(driven.session.link_up)
    assert driven.session.session == "0000000100000002"
    assert driven.rows[-1] == an_event(driven, "session", "", "session 0000000100000002 (push)")


@pytest.mark.parametrize(
    ("received_ns", "opened_ns"),
    [(-1, 1_000 * MS), (0, 1_000 * MS), (1, 1), (999 * MS, 999 * MS), (1_000 * MS, 1_000 * MS), (1_000 * MS + 1, 1_000 * MS)],
)
def test_a_case_opens_when_its_frame_came_if_that_can_be(received_ns: int, opened_ns: int) -> None:
    driven = Driven("push").ready()
    driven.session.told(a_report(None, received_ns=received_ns), driven.now)
    (record,) = (action for action in driven.session.take() if isinstance(action, Record))
    assert [row.opened_ns for row in record.rows] == [opened_ns, opened_ns]


def test_the_budget_ends_a_deadline_after_the_frames_arrival() -> None:
    driven = Driven("push").ready()
    driven.session.told(a_report(None, received_ns=driven.now - 10 * MS, score=0.9), driven.now)
    sends = [action for action in driven.session.take() if isinstance(action, Send)]
    assert [send.not_after_ns for send in sends] == [driven.now + 190 * MS]


@pytest.mark.parametrize(("late", "reason"), [(-1, Reason.OK), (0, Reason.DEADLINE)])
def test_a_frame_is_judged_only_before_the_cutoff_of_its_arrival(late: int, reason: Reason) -> None:
    driven = Driven("push").ready()
    driven.report(None, received_ns=driven.now - 95 * MS - late)
    assert reasons(driven) == [reason]


@pytest.mark.parametrize(("others", "reason"), [(63, Reason.FRAME_DUPLICATE), (64, Reason.OK)])
def test_the_last_64_frames_are_remembered(others: int, reason: Reason) -> None:
    driven = Driven("push").ready()
    for counter in (*range(others + 1), 0):
        driven.report(None, counter=counter)
    assert reasons(driven) == [Reason.OK] * (others + 1) + [reason]


def test_frames_are_told_apart_by_camera_counter_and_payload() -> None:
    driven = Driven("push").ready()
    for changes in ({}, {"camera": "cam1"}, {"payload_hash": "1" * 32}, {"counter": 2}):
        driven.report(None, **changes)
    assert reasons(driven) == [Reason.OK] * 4


def test_a_repeated_frame_that_was_no_use_keeps_its_own_reason() -> None:
    driven = Driven("push").ready()
    driven.report(None, reason=Reason.FRAME_CRC)
    driven.report(None, reason=Reason.FRAME_CRC)
    driven.report(None)
    assert reasons(driven) == [Reason.FRAME_CRC, Reason.FRAME_CRC, Reason.FRAME_DUPLICATE]


def test_exactly_32_verdicts_may_wait_for_their_record() -> None:
    driven = Driven("push", durable=False).ready()
    for counter in range(32):
        driven.report(None, counter=counter)
    assert reasons(driven) == []
    driven.report(None, counter=32)
    assert reasons(driven) == [Reason.BUSY]
    assert driven.verdict_rows[-1].detail == "32 verdicts wait for their record"
    assert driven.verdicts[-1].outcome is Outcome.REJECT


def test_used_up_sequences_end_the_session_and_what_waits_in_it() -> None:
    driven = Driven("push", durable=False).ready()
    driven.session._sequence = 65_533
    for counter in (1, 2, 3):
        driven.report(None, counter=counter)
    assert [row.sequence for row in driven.table(TriggerRow)] == [65_534, 65_535, 1]
    assert [(row.sequence, row.done) for row in driven.dispositions] == [(65_534, "SESSION_LOST"), (65_535, "SESSION_LOST")]
    driven.settle()
    driven.act()
    assert [(verdict.session, verdict.sequence) for verdict in driven.verdicts] == [(driven.session.session, 1)]


def test_names_that_do_not_fit_the_line_are_replaced_one_by_one() -> None:
    driven = Driven("push").ready()
    driven.report(None, part="no,such", weld="W7")
    driven.report(None, part="P7", weld="", counter=2)
    assert [(row.part, row.weld, row.typology, row.opened_by) for row in driven.table(TriggerRow)] == [
        ("UNKNOWN", "W7", None, "frame"),
        ("P7", "UNKNOWN", None, "frame"),
    ]


def test_a_robot_that_talks_is_an_event_and_only_its_hello_is_answered() -> None:
    driven = Driven("push").ready()
    driven.pass_ms(1_000, step_ms=100)
    driven.hear(Heartbeat(session="0" * 16, state=State.READY, counter=1))
    assert driven.rows[-1] == an_event(driven, "link", "", "the robot sent Heartbeat although the profile is push")
    assert driven.frames == []
    driven.hear(Hello(nonce="aaaaaaaa"))
    assert driven.frames == [Nak(session="aaaaaaaa00000000", sequence=0, reason=Refusal.PROFILE)]


@pytest.mark.parametrize("how", ["down", "closed", "not yet"])
def test_a_frame_outside_a_session_is_an_event_and_nothing_else(how: str) -> None:
    driven = Driven("push")
    if how != "not yet":
        driven.ready()
    if how == "down":
        driven.do(driven.session.link_down, "end of file")
    if how == "closed":
        driven.do(driven.session.close)
    driven.report(None, camera="cam7")
    assert driven.rows[-1] == an_event(driven, "frame", "SESSION_LOST", "P1 W1: the port is down", camera="cam7")
    assert not driven.verdicts


def test_nobody_confirms_in_push_and_a_verdict_is_closed_with_its_last_byte() -> None:
    driven = Driven("push").ready()
    driven.tell(a_state())
    driven.report(None)
    (row,) = driven.dispositions
    assert (row.sent, row.done, row.sent_ns, row.closed_ns) == ("ACCEPT", "UNCONFIRMED", driven.now, driven.now)
    assert Done.ACCEPTED.value != row.done
