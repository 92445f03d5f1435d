from gate_kit import MS, Driven, a_state

from edge.contract import FrameEvent, Outcome, Reason, TriggerId
from edge.gate.messages import Hello, Nak, Refusal, Verdict


def test_each_frame_gets_exactly_one_verdict_line_numbered_by_the_gate() -> None:
    driven = Driven("push").ready()
    for counter in (1, 2, 3):
        driven.report(None, counter=counter, score=0.9 if counter == 2 else 0.1)
    assert [(v.sequence, v.outcome) for v in driven.verdicts] == [(1, Outcome.ACCEPT), (2, Outcome.REJECT), (3, Outcome.ACCEPT)]
    assert len({v.session for v in driven.verdicts}) == 1
    assert all(d.done == "UNCONFIRMED" and d.sent for d in driven.dispositions)
    driven.check_books()
    driven.check_order()


def test_the_robot_is_sent_nothing_but_verdicts() -> None:
    driven = Driven("push").ready()
    driven.pass_ms(500)
    driven.report(None)
    assert [type(frame) for frame in driven.frames] == [Verdict]


def test_an_accept_waits_for_its_record_while_later_frames_are_judged() -> None:
    driven = Driven("push", durable=False).ready()
    driven.report(None, counter=1)
    driven.report(None, counter=2)
    assert not driven.verdicts
    driven.settle()
    driven.act()
    assert [v.outcome for v in driven.verdicts] == [Outcome.ACCEPT, Outcome.ACCEPT]


def test_trigger_and_verdict_are_one_transaction() -> None:
    driven = Driven("push", durable=False).ready()
    before = len(driven.log)
    driven.report(None)
    assert len([what for what, _ in driven.log[before:] if what == "record"]) == 1


def test_the_budget_counts_from_the_arrival_of_the_frame() -> None:
    driven = Driven("push").ready()
    driven.report(None, received_ns=driven.now - 95 * MS)
    assert (driven.verdicts[-1].outcome, driven.verdicts[-1].reason) == (Outcome.REJECT, Reason.DEADLINE)
    driven.report(None, received_ns=driven.now + 1, counter=2)
    assert driven.verdicts[-1].reason is Reason.DEADLINE


def test_a_frame_that_names_a_trigger_does_not_belong_here() -> None:
    driven = Driven("push").ready()
    driven.report(TriggerId("0" * 16, 1))
    assert driven.verdicts[-1].reason is Reason.FRAME_UNBOUND


def test_the_same_frame_is_never_accepted_twice() -> None:
    driven = Driven("push").ready()
    driven.report(None)
    driven.report(None)
    assert [(v.outcome, v.reason) for v in driven.verdicts] == [(Outcome.ACCEPT, Reason.OK), (Outcome.REJECT, Reason.FRAME_DUPLICATE)]


def test_a_part_that_does_not_fit_the_line_is_rejected_as_unknown() -> None:
    driven = Driven("push").ready()
    driven.report(None, part="no,such\rpart")
    assert (driven.verdicts[-1].part, driven.verdicts[-1].reason) == ("UNKNOWN", Reason.FRAME_PART)
    driven.report(None, part="", weld="", reason=Reason.FRAME_CRC, counter=2)
    assert driven.verdicts[-1].outcome is Outcome.REJECT


def test_a_late_record_withholds_the_accept() -> None:
    driven = Driven("push", durable=False).ready()
    driven.report(None)
    driven.pass_ms(95)
    assert (driven.verdicts[-1].outcome, driven.verdicts[-1].reason) == (Outcome.REJECT, Reason.RECORD_LATE)
    assert "ACCEPT withheld" in driven.dispositions[0].detail
    driven.check_books()


def test_more_pending_verdicts_than_the_limit_are_rejected_as_busy() -> None:
    driven = Driven("push", durable=False).ready()
    for counter in range(40):
        driven.report(None, counter=counter)
    assert {v.reason for v in driven.verdicts} == {Reason.BUSY}
    assert len(driven.verdicts) == 40 - 32


def test_the_last_sequence_is_followed_by_a_new_session() -> None:
    driven = Driven("push").ready()
    driven.session._sequence = 65_534
    for counter in (1, 2):
        driven.report(None, counter=counter)
    first, second = driven.verdicts
    assert (first.sequence, second.sequence) == (65_535, 1)
    assert first.session != second.session


def test_a_robot_that_says_hello_is_told_the_profile() -> None:
    driven = Driven("push").ready()
    driven.hear(Hello(nonce="aaaaaaaa"))
    assert driven.of(Nak)[-1].reason is Refusal.PROFILE


def test_frames_while_the_port_is_down_are_events_and_replugging_begins_a_session() -> None:
    driven = Driven("push").ready()
    first = driven.session.session
    driven.do(driven.session.link_down, "end of file")
    driven.report(None)
    assert not driven.verdicts
    assert driven.events[-1].reason == "SESSION_LOST"
    driven.do(driven.session.link_up)
    assert driven.session.session != first
    driven.report(None)
    assert driven.verdicts[-1].sequence == 1


def test_a_flood_of_equal_events_is_two_rows_a_second() -> None:
    driven = Driven("push").ready()
    before = len(driven.events)
    for _ in range(2_000):
        driven.tell(FrameEvent(camera="cam0", counter=None, reason=Reason.FRAME_HEADER, detail="x"))
        driven.pass_ms(1)
        driven.tell(a_state())
    driven.do(driven.session.close)
    found = [event for event in driven.events[before:] if event.reason == "FRAME_HEADER"]
    assert len(found) <= 4
    assert sum(event.count for event in found) == 2_000


def test_a_flood_of_different_events_is_bounded_too() -> None:
    driven = Driven("push").ready()
    before = len(driven.events)
    for number in range(1_000):
        driven.tell(FrameEvent(camera=f"cam{number}", counter=None, reason=Reason.FRAME_HEADER, detail="x"))
    driven.pass_ms(1_000, step_ms=100)
    assert len(driven.events) - before < 80
    assert sum(event.count for event in driven.events[before:] if event.kind in ("frame", "more")) >= 1_000
