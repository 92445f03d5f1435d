import pytest
from gate_kit import BUNDLE, MS, Driven, a_state

from edge.contract import Outcome, Reason, TriggerId
from edge.gate.latches import Latches
from edge.gate.messages import Done, Heartbeat, Hello, Nak, Refusal, State

S = 1_000 * MS


def last(driven: Driven) -> tuple[Outcome, Reason]:
    return driven.verdicts[-1].outcome, driven.verdicts[-1].reason


def latched_only_by_this(driven: Driven, text: str) -> None:
    """One reason that says so, one order to make it durable, one event; nothing is accepted, until somebody has looked."""
    (why,) = driven.session.latched
    assert text in why
    assert driven.latches == [why]
    assert [event.detail for event in driven.events if event.kind == "latch"] == [why]
    if driven.session.session is None:
        driven.hear(Hello(nonce="99999999"))
    driven.do(driven.session.inspector_up)
    driven.tell(a_state())
    driven.trigger(100)
    assert last(driven) == (Outcome.REJECT, Reason.LATCHED)
    assert text in driven.verdict_rows[-1].detail
    driven.do(driven.session.acknowledged)
    driven.report(driven.trigger(101))
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)
    driven.check_order()


def rejected(driven: Driven, sequence: int = 1) -> TriggerId:
    key = driven.trigger(sequence)
    driven.report(key, score=0.9)
    return key


def test_a_robot_that_lets_a_rejected_part_pass_latches() -> None:
    driven = Driven().ready()
    driven.confirm(rejected(driven), Outcome.REJECT, Done.ACCEPTED)
    assert driven.dispositions[-1].done == "MISMATCH"
    latched_only_by_this(driven, "possible escape in session aaaaaaaa00000001: P1 W1, trigger 1: sent REJECT")


def test_a_robot_that_read_accept_where_reject_was_sent_latches() -> None:
    driven = Driven().ready()
    driven.confirm(rejected(driven), Outcome.ACCEPT, Done.ACCEPTED)
    latched_only_by_this(driven, "possible escape")


def test_a_robot_that_lets_a_part_pass_late_which_was_rejected_latches() -> None:
    driven = Driven().ready()
    key = rejected(driven)
    driven.pass_ms(60)
    driven.confirm(key, Outcome.REJECT, Done.ACCEPTED)
    assert driven.dispositions[-1].done == "TIMEOUT"
    latched_only_by_this(driven, "possible escape")


@pytest.mark.parametrize("sequence", [1, 2, 9])
def test_a_robot_that_lets_a_part_pass_without_any_verdict_latches(sequence: int) -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.trigger(2)  # refused: busy
    driven.confirm(TriggerId(key.session, sequence), Outcome.ACCEPT, Done.ACCEPTED)
    if sequence == 1:
        assert last(driven) == (Outcome.REJECT, Reason.LATCHED)
    else:
        driven.confirm(TriggerId(key.session, sequence), Outcome.ACCEPT, Done.ACCEPTED)
        driven.pass_ms(200)
    latched_only_by_this(driven, "possible escape")


@pytest.mark.parametrize(("outcome", "done"), [(Outcome.REJECT, Done.REJECTED), (Outcome.ACCEPT, Done.REJECTED)])
def test_a_robot_that_rejects_never_latches(outcome: Outcome, done: Done) -> None:
    driven = Driven().ready()
    driven.confirm(rejected(driven), outcome, done)
    assert not driven.session.latched


def test_an_accept_confirmed_too_late_is_no_escape() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.report(key)
    driven.pass_ms(60)
    driven.confirm(key, Outcome.ACCEPT, Done.ACCEPTED)
    assert not driven.session.latched


def test_more_noise_than_configured_within_ten_seconds_latches() -> None:
    driven = Driven(latch_noise=20).ready()
    for _ in range(10):
        driven.do(driven.session.noise, "bad_crc", 2)
        driven.now += S // 2
    assert not driven.session.latched
    driven.do(driven.session.noise, "garbage", 1)
    latched_only_by_this(driven, "21 broken frames within 10 s")


def test_noise_that_is_spread_out_an_echo_and_noise_without_a_limit_do_not_latch() -> None:
    driven = Driven(latch_noise=20).ready()
    for _ in range(50):
        driven.do(driven.session.noise, "bad_crc", 2)
        driven.do(driven.session.noise, "echoed", 50)
        driven.now += S
    assert not driven.session.latched
    driven = Driven(latch_noise=0).ready()
    driven.do(driven.session.noise, "bad_crc", 1_000_000)
    assert not driven.session.latched


@pytest.mark.parametrize("reason", [Reason.ENGINE_FAILED, Reason.GPU_FAULT])
def test_three_failed_frames_within_a_minute_latch(reason: Reason) -> None:
    driven = Driven().ready()
    for sequence in (1, 2, 3):
        assert not driven.session.latched
        driven.tell(a_state())
        driven.report(driven.trigger(sequence), reason=reason, detail="cuda says no")
        driven.now += 1 * S
        driven.hear(Heartbeat(session=driven.session.session, state=State.READY, counter=sequence))
    latched_only_by_this(driven, f"3 engine or GPU failures within 60 s, the last one: {reason.value} cuda says no")


def test_three_inspectors_that_fail_at_start_latch_and_each_counts_once() -> None:
    driven = Driven().ready()
    broken = a_state(ready=False, fault_reason=Reason.GPU_FAULT, fault="no device")
    for number in range(1, 4):
        assert not driven.session.latched
        driven.do(driven.session.inspector_up)
        driven.tell(broken)
        driven.tell(broken)
        driven.do(driven.session.inspector_down, f"gone {number}")
    latched_only_by_this(driven, "3 engine or GPU failures")


def test_a_failed_frame_and_the_state_after_it_count_once() -> None:
    driven = Driven().ready()
    for number in range(2):
        driven.do(driven.session.inspector_up)
        driven.report(None, reason=Reason.GPU_FAULT)
        driven.tell(a_state(ready=False, fault_reason=Reason.GPU_FAULT, fault=f"{number}"))
    assert not driven.session.latched


def test_failures_more_than_a_minute_apart_and_other_rejects_do_not_latch() -> None:
    driven = Driven().ready()
    for _ in range(5):
        driven.report(None, reason=Reason.ENGINE_FAILED)
        driven.report(None, reason=Reason.FRAME_CRC)
        driven.report(None, reason=Reason.FRAME_CRC)
        driven.now += 30 * S
        driven.do(driven.session.tick)
    assert not driven.session.latched


def test_what_the_records_say_latches_without_being_ordered_again() -> None:
    driven = Driven().ready()
    driven.do(driven.session.latched_for, ("records: damaged",))
    driven.do(driven.session.latched_for, ("records: damaged",))
    assert driven.session.latched == ("records: damaged",)
    assert not driven.latches


def test_an_accept_that_waits_for_its_record_is_withheld_when_something_latches() -> None:
    driven = Driven(durable=False).ready()
    driven.report(driven.trigger(1))
    driven.do(driven.session.latched_for, ("look",))
    assert last(driven) == (Outcome.REJECT, Reason.LATCHED)
    driven.settle()
    driven.act()
    assert len(driven.verdicts) == 1
    driven.pass_ms(60)
    assert "ACCEPT withheld: look" in driven.dispositions[-1].detail
    driven.check_books()


@pytest.mark.parametrize("asked_again", [True, False])
def test_an_accept_is_not_sent_again_while_something_is_latched(asked_again: bool) -> None:
    driven = Driven().ready()
    driven.report(driven.trigger(1))
    driven.do(driven.session.latched_for, ("look",))
    if asked_again:
        driven.trigger(1)
        assert driven.of(Nak)[-1].reason is Refusal.DEADLINE
    driven.pass_ms(90)
    assert [verdict.outcome for verdict in driven.verdicts] == [Outcome.ACCEPT]


@pytest.mark.parametrize("durable", [True, False])
def test_an_accept_that_waits_for_the_line_is_withdrawn_when_something_latches(durable: bool) -> None:
    driven = Driven(durable=durable).ready()
    driven.stuck = True
    key = driven.trigger(1)
    driven.report(key)
    driven.settle()
    driven.act()
    assert [send.message.outcome for send in driven.waiting if send.key == key] == [Outcome.ACCEPT]
    driven.do(driven.session.latched_for, ["look"])
    assert [send.message.outcome for send in driven.waiting if send.key == key] == [Outcome.REJECT]
    driven.do(driven.session.sent, key)
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    assert (driven.dispositions[-1].sent, driven.dispositions[-1].sent_reason) == ("REJECT", "LATCHED")
    assert "withheld" in driven.dispositions[-1].detail


def test_an_accept_asked_for_in_the_step_that_latches_never_leaves() -> None:
    driven = Driven(durable=False).ready()
    key = driven.trigger(1)
    driven.report(key)
    (ticket,) = [ticket for ticket in driven.tickets if ticket.what == "verdict"]
    driven.session.recorded(ticket, driven.now)
    driven.session.latched_for(["look"], driven.now)
    driven.act()
    assert [verdict.outcome for verdict in driven.verdicts] == [Outcome.REJECT]


def test_a_resend_that_waits_for_the_line_is_withdrawn_when_something_latches() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.report(key)
    driven.stuck = True
    driven.pass_ms(45)
    assert [send.message.outcome for send in driven.waiting if send.key == key] == [Outcome.ACCEPT]
    driven.do(driven.session.latched_for, ["look"])
    assert [send for send in driven.waiting if send.key == key] == []


def test_a_reject_is_sent_again_while_something_is_latched() -> None:
    driven = Driven().ready()
    rejected(driven)
    driven.do(driven.session.latched_for, ("look",))
    driven.trigger(1)
    driven.pass_ms(90)
    assert len(driven.verdicts) > 2


def test_a_waiting_trigger_is_rejected_at_once_when_something_latches() -> None:
    driven = Driven().ready()
    driven.trigger(1)
    driven.do(driven.session.latched_for, ("look",))
    assert last(driven) == (Outcome.REJECT, Reason.LATCHED)


def test_a_latched_gate_says_fault_and_ready_again_once_somebody_looked() -> None:
    driven = Driven().ready()
    driven.do(driven.session.latched_for, ("look",))
    for call, state in ((None, State.FAULT), (driven.session.acknowledged, State.READY)):
        if call is not None:
            driven.do(call)
        driven.tell(a_state())
        driven.hear(Heartbeat(session=driven.session.session, state=State.READY, counter=len(driven.frames)))
        driven.pass_ms(100)
        beat = driven.of(Heartbeat)[-1]
        assert (beat.state, beat.bundle) == (state, BUNDLE[:8])


def test_a_new_session_does_not_end_a_latch() -> None:
    driven = Driven().ready()
    driven.do(driven.session.latched_for, ("look",))
    driven.do(driven.session.link_down, "unplugged")
    driven.do(driven.session.link_up)
    driven.do(driven.session.store_back)
    driven.hear(Hello(nonce="bbbbbbbb"))
    driven.trigger(1)
    assert last(driven) == (Outcome.REJECT, Reason.LATCHED)


def test_the_push_profile_obeys_latches_too() -> None:
    driven = Driven("push", latch_noise=5).ready()
    driven.do(driven.session.noise, "garbage", 6)
    driven.report(None)
    assert last(driven) == (Outcome.REJECT, Reason.LATCHED)
    driven.do(driven.session.acknowledged)
    driven.report(None, counter=2)
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)


def test_reasons_are_bounded_and_each_is_told_once() -> None:
    latches = Latches(10)
    assert [latches.add(f"reason {number % 40}") for number in range(100)].count(True) == 32
    assert latches.reasons == tuple(f"reason {number}" for number in range(32))
    latches.clear()
    assert latches.reasons == ()


def test_counting_begins_again_after_an_acknowledgement() -> None:
    latches = Latches(10)
    latches.noise(10, 0)
    latches.failure(Reason.GPU_FAULT, "", 0)
    latches.failure(Reason.GPU_FAULT, "", 0)
    latches.clear()
    assert latches.noise(10, 1) is None
    assert latches.failure(Reason.GPU_FAULT, "", 1) is None


def test_a_window_forgets_exactly_at_its_end() -> None:
    latches = Latches(1)
    assert latches.noise(1, 0) is None
    assert latches.noise(1, 10 * S) is None
    assert latches.noise(1, 20 * S - 1) is not None


@pytest.mark.parametrize(("third_ns", "latched"), [(60 * S - 1, True), (60 * S, False)])
def test_three_failures_count_within_less_than_a_minute(third_ns: int, latched: bool) -> None:
    latches = Latches(1)
    assert latches.failure(Reason.GPU_FAULT, "", 0) is None
    assert latches.failure(Reason.GPU_FAULT, "", 0) is None
    assert (latches.failure(Reason.GPU_FAULT, "", third_ns) is not None) == latched


def test_what_has_latched_is_not_counted_again() -> None:
    latches = Latches(2)
    assert latches.noise(3, 0) is not None
    assert [latches.noise(1, 0) for _ in range(2)] == [None, None]
    assert latches.noise(1, 0) == "noise on the robot's line: 3 broken frames within 10 s"
    assert latches.noise(1, 0) is None
    found = [latches.failure(Reason.ENGINE_FAILED, str(number), 0) for number in range(6)]
    assert [why is not None for why in found] == [False, False, True] * 2
    assert str(found[5]) == "3 engine or GPU failures within 60 s, the last one: ENGINE_FAILED 5"


def test_without_a_limit_no_noise_ever_latches() -> None:
    latches = Latches(0)
    assert [latches.noise(1_000_000, 0) for _ in range(3)] == [None] * 3
