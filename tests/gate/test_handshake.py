import random

import pytest
from gate_kit import BUNDLE, MS, Driven, a_recipe, a_state
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge.contract import FrameEvent, Outcome, Reason, TriggerId
from edge.gate.messages import Ack, Done, Heartbeat, Hello, Nak, Refusal, State, TriggerAck
from edge.gate.rows import TriggerRow


def last(driven: Driven) -> tuple[Outcome, Reason]:
    return driven.verdicts[-1].outcome, driven.verdicts[-1].reason


def acknowledge(driven: Driven, key: TriggerId, outcome: Outcome, done: Done) -> None:
    driven.hear(Ack(session=key.session, sequence=key.sequence, outcome=outcome, done=done))


def beat(driven: Driven, counter: int) -> None:
    driven.hear(Heartbeat(session=driven.session.session, state=State.READY, counter=counter))


def test_a_good_weld_is_accepted_recorded_and_confirmed() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    assert driven.told[-1].trigger == key
    assert driven.of(TriggerAck)
    driven.report(key)
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)
    acknowledge(driven, key, Outcome.ACCEPT, Done.ACCEPTED)
    (row,) = driven.verdict_rows
    assert (row.outcome, row.score, row.threshold, row.bundle, row.camera, row.counter) == ("ACCEPT", 0.1, 0.5, BUNDLE, "cam0", 1)
    assert [(d.sent, d.done) for d in driven.dispositions] == [("ACCEPT", "ACCEPTED")]
    driven.check_books()
    driven.check_order()


def test_accept_waits_for_its_record_and_reject_does_not() -> None:
    driven = Driven(durable=False).ready()
    key = driven.trigger(1)
    driven.report(key)
    assert not driven.verdicts
    driven.settle()
    driven.act()
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)
    other = driven.trigger(2)
    driven.report(other, score=0.9)
    assert last(driven) == (Outcome.REJECT, Reason.DEFECT)


def test_the_trigger_is_acknowledged_only_once_it_is_recorded() -> None:
    driven = Driven(durable=False).ready()
    driven.trigger(1)
    assert not driven.of(TriggerAck)
    driven.settle()
    driven.act()
    assert len(driven.of(TriggerAck)) == 1


def test_a_record_that_is_late_withholds_the_accept() -> None:
    driven = Driven(durable=False).ready()
    key = driven.trigger(1)
    driven.report(key)
    driven.pass_ms(95)
    assert last(driven) == (Outcome.REJECT, Reason.RECORD_LATE)
    driven.settle()
    driven.act()
    assert [v.outcome for v in driven.verdicts] == [Outcome.REJECT]
    driven.pass_ms(60)
    (disposition,) = driven.dispositions
    assert (disposition.sent, disposition.sent_reason) == ("REJECT", "RECORD_LATE")
    assert "ACCEPT withheld" in disposition.detail
    assert driven.verdict_rows[0].outcome == "ACCEPT"
    driven.check_books()


def test_a_record_that_becomes_durable_exactly_at_the_cutoff_is_late() -> None:
    driven = Driven(durable=False).ready()
    key = driven.trigger(1)
    driven.report(key)
    driven.now += 95 * MS
    driven.settle()
    driven.act()
    assert last(driven) == (Outcome.REJECT, Reason.RECORD_LATE)


def test_a_failed_write_latches_until_the_store_is_back() -> None:
    driven = Driven(durable=False).ready()
    key = driven.trigger(1)
    driven.report(key)
    ticket = next(ticket for ticket in driven.tickets if ticket.what == "verdict")
    driven.do(driven.session.record_failed, ticket, "disk full")
    assert last(driven) == (Outcome.REJECT, Reason.RECORD_FAULT)
    driven.trigger(2)
    assert last(driven) == (Outcome.REJECT, Reason.RECORD_FAULT)
    beat(driven, 1)
    driven.pass_ms(100)
    assert driven.of(Heartbeat)[-1].state is State.FAULT
    driven.durable = True
    driven.do(driven.session.store_back)
    driven.report(driven.trigger(3))
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)
    driven.check_order()


def test_no_frame_is_rejected_at_the_cutoff_and_names_the_last_refused_one() -> None:
    driven = Driven().ready()
    driven.trigger(1)
    driven.tell(FrameEvent(camera="cam0", counter=None, reason=Reason.FRAME_HEADER, detail="not JSON"))
    driven.pass_ms(94)
    assert not driven.verdicts
    driven.pass_ms(1)
    assert last(driven) == (Outcome.REJECT, Reason.NO_FRAME)
    assert "FRAME_HEADER not JSON" in driven.verdict_rows[0].detail


def test_a_refused_frame_of_this_trigger_rejects_at_once() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.report(key, reason=Reason.FRAME_CRC)
    assert last(driven) == (Outcome.REJECT, Reason.FRAME_CRC)


def test_a_frame_of_another_trigger_never_decides_this_one() -> None:
    driven = Driven().ready()
    first = driven.trigger(1)
    driven.report(first)
    second = driven.trigger(2)
    driven.report(first)
    driven.report(None)
    driven.report(TriggerId("f" * 16, 2))
    assert len(driven.verdicts) == 1
    assert "FRAME_LATE" in [event.reason for event in driven.events]
    assert "FRAME_UNBOUND" in [event.reason for event in driven.events]
    driven.report(second, score=0.9)
    assert last(driven) == (Outcome.REJECT, Reason.DEFECT)


def test_a_frame_that_overtakes_its_trigger_is_kept_for_it() -> None:
    driven = Driven().ready()
    driven.report(TriggerId(driven.session.session, 1))
    driven.trigger(1)
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)


def test_a_frame_kept_longer_than_the_budget_is_not_used() -> None:
    driven = Driven().ready()
    driven.report(TriggerId(driven.session.session, 1))
    driven.now += 100 * MS
    driven.trigger(1)
    assert not driven.verdicts


def test_the_first_decision_is_final() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.report(key, score=0.9)
    driven.report(key, score=0.0)
    assert [v.outcome for v in driven.verdicts] == [Outcome.REJECT]
    assert len(driven.verdict_rows) == 1


@pytest.mark.parametrize(
    ("part", "reason"),
    [({"part": "P2"}, Reason.FRAME_PART), ({"weld": "W9"}, Reason.FRAME_PART), ({"typology": "T3"}, Reason.TYPOLOGY_DIFFERS)],
)
def test_a_frame_of_another_part_weld_or_typology_is_rejected(part: dict[str, str], reason: Reason) -> None:
    driven = Driven().ready()
    driven.report(driven.trigger(1), **part)
    assert last(driven) == (Outcome.REJECT, reason)


def test_an_inspector_that_dies_rejects_the_open_trigger_at_once() -> None:
    driven = Driven().ready()
    driven.trigger(1)
    driven.do(driven.session.inspector_down, "connection closed")
    assert last(driven) == (Outcome.REJECT, Reason.INSPECTOR_DOWN)


def test_an_inspector_that_is_silent_for_three_heartbeats_counts_as_down() -> None:
    driven = Driven(budget_ns=1_000 * MS).ready()
    driven.trigger(1)
    for counter in range(23):
        driven.pass_ms(10)
        beat(driven, counter)
    assert not driven.verdicts
    driven.pass_ms(10)
    assert last(driven) == (Outcome.REJECT, Reason.INSPECTOR_DOWN)
    driven.tell(a_state())
    driven.report(driven.trigger(2))
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)


def test_an_inspector_that_is_not_ready_rejects_at_once_with_its_fault() -> None:
    driven = Driven().ready()
    driven.tell(a_state(ready=False, fault_reason=Reason.BUNDLE_FAULT, fault="signature of line.cordon is wrong"))
    driven.trigger(1)
    assert last(driven) == (Outcome.REJECT, Reason.BUNDLE_FAULT)
    assert "signature of line.cordon is wrong" in driven.verdict_rows[0].detail


def test_an_inspector_that_stops_being_ready_rejects_the_open_trigger() -> None:
    driven = Driven().ready()
    driven.trigger(1)
    driven.tell(a_state(camera_alive=False))
    assert last(driven) == (Outcome.REJECT, Reason.NOT_READY)


def test_a_verdict_without_confirmation_is_resent_identically_inside_the_budget_only() -> None:
    driven = Driven().ready()
    driven.report(driven.trigger(1))
    driven.pass_ms(200)
    frames = [raw for raw in driven.raw if raw.startswith(b"$GV")]
    assert len(frames) == 1 + 1
    assert len(set(frames)) == 1
    assert [d.done for d in driven.dispositions] == ["TIMEOUT"]


def test_a_confirmation_stops_the_resends() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.report(key)
    acknowledge(driven, key, Outcome.ACCEPT, Done.REJECTED)
    driven.pass_ms(90)
    assert len(driven.verdicts) == 1
    assert [d.done for d in driven.dispositions] == ["REJECTED"]


@pytest.mark.parametrize(
    ("score", "outcome", "done"),
    [(0.1, Outcome.REJECT, Done.REJECTED), (0.9, Outcome.REJECT, Done.ACCEPTED), (0.9, Outcome.ACCEPT, Done.ACCEPTED)],
)
def test_a_confirmation_that_contradicts_the_verdict_voids_the_session(score: float, outcome: Outcome, done: Done) -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.report(key, score=score)
    acknowledge(driven, key, outcome, done)
    assert [d.done for d in driven.dispositions] == ["MISMATCH"]
    assert driven.session.session is None


def test_a_second_identical_confirmation_is_harmless_and_a_stray_one_an_event() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.report(key)
    acknowledge(driven, key, Outcome.ACCEPT, Done.ACCEPTED)
    before = len(driven.rows)
    acknowledge(driven, key, Outcome.ACCEPT, Done.ACCEPTED)
    assert len(driven.rows) == before
    acknowledge(driven, TriggerId(key.session, 9), Outcome.REJECT, Done.REJECTED)
    assert driven.events[-1].kind == "ack"
    assert not driven.session.latched


def test_a_trigger_while_another_is_open_is_refused_and_recorded() -> None:
    driven = Driven().ready()
    first = driven.trigger(1)
    second = driven.trigger(2)
    assert driven.of(Nak) == [Nak(session=second.session, sequence=2, reason=Refusal.BUSY)]
    driven.report(second)
    assert not driven.verdicts
    driven.report(first)
    assert driven.verdicts[-1].sequence == 1
    driven.trigger(2)
    assert driven.of(Nak)[-1].reason is Refusal.BUSY
    driven.pass_ms(60)
    driven.check_books()
    assert [(d.sequence, d.done) for d in driven.dispositions] == [(2, "REFUSED"), (1, "TIMEOUT")]


def test_a_repeated_trigger_gets_the_same_verdict_while_it_is_in_time() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.trigger(1)
    assert len(driven.table(TriggerRow)) == 1
    driven.report(key)
    driven.trigger(1)
    frames = [raw for raw in driven.raw if raw.startswith(b"$GV")]
    assert len(frames) == 2
    assert len(set(frames)) == 1
    driven.pass_ms(95)
    driven.trigger(1)
    assert len([raw for raw in driven.raw if raw.startswith(b"$GV,") and b"ACCEPT" in raw]) <= 4
    assert driven.of(Nak)[-1].reason is Refusal.DEADLINE
    driven.check_order()


def test_a_sequence_used_for_another_part_is_refused() -> None:
    driven = Driven().ready()
    driven.report(driven.trigger(5))
    driven.trigger(5, part="P2")
    driven.trigger(4)
    assert [nak.reason for nak in driven.of(Nak)] == [Refusal.SEQUENCE, Refusal.SEQUENCE]
    assert len(driven.verdicts) == 1


def test_skipped_sequences_are_recorded() -> None:
    driven = Driven().ready()
    driven.trigger(4)
    assert any("3 triggers before 4 never arrived" in event.detail for event in driven.events)


def test_the_last_sequence_needs_a_new_session_afterwards() -> None:
    driven = Driven().ready()
    driven.report(driven.trigger(65_535))
    driven.trigger(1)
    assert driven.of(Nak)[-1].reason is Refusal.SEQUENCE
    driven.hear(Hello(nonce="bbbbbbbb"))
    driven.report(driven.trigger(1))
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)


def test_a_trigger_without_a_session_is_refused() -> None:
    driven = Driven().ready()
    driven.trigger(1, session="f" * 16)
    assert driven.of(Nak)[-1].reason is Refusal.SESSION
    assert not driven.table(TriggerRow)


def test_the_next_trigger_closes_an_unconfirmed_one() -> None:
    driven = Driven().ready()
    driven.report(driven.trigger(1))
    driven.trigger(2)
    assert [(d.sequence, d.done) for d in driven.dispositions] == [(1, "SUPERSEDED")]


def test_a_robot_silent_for_three_heartbeats_loses_its_session_and_its_open_trigger() -> None:
    driven = Driven(budget_ns=1_000 * MS).ready()
    driven.trigger(1)
    for _ in range(30):
        driven.tell(a_state())
        driven.pass_ms(10)
        beat(driven, 7)
    assert driven.session.session is not None
    for _ in range(30):
        driven.tell(a_state())
        driven.pass_ms(10)
        if driven.session.session is not None:
            beat(driven, 7)
    assert driven.session.session is None
    assert not driven.verdicts
    assert [(row.outcome, row.reason) for row in driven.verdict_rows] == [("NO_VERDICT", "SESSION_LOST")]
    assert [d.done for d in driven.dispositions] == ["SESSION_LOST"]
    driven.check_books()


def test_a_new_hello_voids_the_old_session_and_its_open_trigger() -> None:
    driven = Driven().ready()
    old = driven.trigger(1)
    driven.hear(Hello(nonce="cccccccc"))
    assert driven.session.session is not None
    assert driven.session.session.startswith("cccccccc")
    driven.report(old)
    assert not driven.verdicts
    driven.check_books()


def test_a_repeated_hello_keeps_the_session() -> None:
    driven = Driven().ready()
    session = driven.session.session
    driven.hear(Hello(nonce="aaaaaaaa"))
    assert driven.session.session == session
    assert len({hello.nonce for hello in driven.of(Hello)}) == 1


@pytest.mark.parametrize(
    ("hello", "refusal"),
    [
        (Hello(nonce="dddddddd", major=2, lowest=2), Refusal.VERSION),
        (Hello(nonce="dddddddd", must=0x8000), Refusal.VERSION),
        (Hello(nonce="dddddddd", profile="P"), Refusal.PROFILE),
        (Hello(nonce="dddddddd", deadline_ms=99), Refusal.DEADLINE),
    ],
)
def test_a_hello_that_does_not_fit_is_refused_with_its_reason(hello: Hello, refusal: Refusal) -> None:
    driven = Driven()
    driven.do(driven.session.link_up)
    driven.hear(hello)
    assert driven.session.session is None
    assert driven.of(Nak) == [Nak(session="dddddddd00000000", sequence=0, reason=refusal)]


def test_an_unplugged_cable_ends_the_session_and_withholds_an_accept_in_flight() -> None:
    driven = Driven(durable=False).ready()
    driven.report(driven.trigger(1))
    driven.do(driven.session.link_down, "end of file")
    driven.settle()
    driven.act()
    assert not driven.verdicts
    (disposition,) = driven.dispositions
    assert (disposition.sent, disposition.done) == ("", "SESSION_LOST")
    assert "ACCEPT withheld" in disposition.detail
    driven.check_books()


def test_a_verdict_the_port_does_not_take_is_recorded_as_not_sent() -> None:
    driven = Driven().ready()
    key = driven.trigger(1)
    driven.port_takes = False
    driven.report(key)
    driven.pass_ms(200)
    (disposition,) = driven.dispositions
    assert (disposition.sent, disposition.done) == ("", "TIMEOUT")
    assert "not handed to the port" in disposition.detail


def test_stopping_rejects_the_open_trigger_and_closes_the_books() -> None:
    driven = Driven(durable=False).ready()
    driven.trigger(1)
    driven.do(driven.session.stop)
    assert last(driven) == (Outcome.REJECT, Reason.GATE_RESTARTED)
    driven.do(driven.session.close)
    driven.check_books()
    assert driven.dispositions[0].done == "GATE_RESTARTED"


def test_heartbeats_carry_the_state() -> None:
    driven = Driven().ready()
    assert driven.of(Heartbeat)[-1].state is State.READY
    assert driven.of(Heartbeat)[-1].bundle == BUNDLE[:8]
    driven.tell(a_state(ready=False))
    beat(driven, 1)
    driven.pass_ms(100)
    assert driven.of(Heartbeat)[-1].state is State.WAIT
    driven.do(driven.session.inspector_down, "gone")
    beat(driven, 2)
    driven.pass_ms(100)
    assert driven.of(Heartbeat)[-1].state is State.FAULT


def test_nothing_is_ever_sent_late_or_twice_differently_in_a_long_random_run() -> None:
    rng = random.Random(7)
    driven = Driven(durable=False).ready()
    sequence = 0
    for counter in range(4_000):
        choice = rng.random()
        session = driven.session.session
        if session is None:
            driven.hear(Hello(nonce=f"{rng.getrandbits(32):08x}"))
            sequence = 0
        elif choice < 0.25:
            sequence += rng.choice((0, 1, 1, 1, 2))
            driven.trigger(max(1, sequence))
        elif choice < 0.5:
            driven.report(TriggerId(session, max(1, sequence - rng.choice((0, 0, 0, 1)))), score=rng.choice((0.1, 0.9)))
        elif choice < 0.7:
            driven.settle()
            driven.act()
        elif choice < 0.8:
            acknowledge(driven, TriggerId(session, max(1, sequence)), rng.choice(list(Outcome)), rng.choice(list(Done)))
        else:
            driven.pass_ms(rng.choice((1, 10, 60)), step_ms=5)
        driven.tell(a_state())
        if driven.session.latched:
            driven.do(driven.session.acknowledged)
        if driven.session.session is not None:
            beat(driven, counter & 0xFFFF)
    driven.do(driven.session.close)
    driven.check_books()
    driven.check_order()
    accepted = [v for v in driven.verdicts if v.outcome is Outcome.ACCEPT]
    assert len(accepted) > 50


PART = st.sampled_from(["P1", "P2"])
WELD = st.sampled_from(["W1", "W2"])
DONE = st.sampled_from([Done.ACCEPTED, Done.ACCEPTED, Done.REJECTED])
GOOD = st.permutations([("W1", 0.1, Done.ACCEPTED), ("W2", 0.1, Done.ACCEPTED)])
WELDS = st.tuples(st.lists(st.tuples(WELD, st.sampled_from([0.1, 0.1, 0.9]), DONE), max_size=3), GOOD, st.integers(0, 3)).map(
    lambda drawn: (drawn[0] + drawn[1])[drawn[2] :] if drawn[2] < 2 else drawn[1] + drawn[0]
)
"""Welds of a part: some in any state, and both good ones before or after."""
RECIPES = [a_recipe("R1"), a_recipe("R2", W1="T2")]


def test_a_robot_that_was_told_ready_hears_at_once_that_it_may_not_trigger() -> None:
    driven = Driven().ready()
    driven.pass_ms(100)
    beats = len(driven.of(Heartbeat))
    driven.do(driven.session.inspector_down, "killed")
    driven.do(driven.session.tick)
    driven.do(driven.session.tick)
    assert [found.state for found in driven.of(Heartbeat)[beats:]] == [State.FAULT]


def test_a_verdict_asked_for_in_the_step_that_ends_its_session_does_not_leave() -> None:
    driven = Driven(durable=False).ready()
    driven.report(driven.trigger(1))
    driven.now += 400 * MS
    driven.do(driven.session.tick)
    assert not driven.verdicts
    (row,) = driven.dispositions
    assert (row.sent, row.done) == ("", "SESSION_LOST")


class HandshakeMachine(RuleBasedStateMachine):
    """Anything in any order: I1 to I5 must hold after every step; with recipes or without."""

    def __init__(self) -> None:
        super().__init__()
        self.good: set[tuple[str, int]] = set()
        self.counter = 0

    @initialize(recipe=st.sampled_from([None, "", "R1", "R2"]))
    def begin(self, recipe: str | None) -> None:
        given = {} if recipe is None else {"recipes": RECIPES, "recipe": recipe}
        self.driven = Driven(durable=False, latch_noise=20, **given).ready()

    def key(self, sequence: int) -> TriggerId:
        return TriggerId(self.driven.session.session or "0" * 16, sequence)

    @property
    def next(self) -> int:
        return self.driven.session._last + 1  # type: ignore[attr-defined]

    @rule(nonce=st.sampled_from(["aaaaaaaa", "bbbbbbbb"]))
    def hello(self, nonce: str) -> None:
        self.driven.hear(Hello(nonce=nonce))

    @rule(sequence=st.integers(0, 6), part=PART, weld=WELD)
    def trigger(self, sequence: int, part: str, weld: str) -> None:
        if self.driven.session.session is not None:
            self.driven.trigger(sequence or self.next, part=part, weld=weld)

    @rule(somebody_looked=st.booleans())
    def heal(self, somebody_looked: bool) -> None:
        """Everything works again, so that the way to an ACCEPT is not always blocked by something else."""
        self.driven.settle()
        self.driven.do(self.driven.session.store_back)
        if somebody_looked:
            self.driven.do(self.driven.session.acknowledged)
        self.driven.do(self.driven.session.inspector_up)
        self.driven.tell(a_state())
        self.driven.do(self.driven.session.link_up)
        if self.driven.session.session is None:
            self.driven.hear(Hello(nonce="cccccccc"))
        self.signs_of_life()

    def show(self, part: str, weld: str, score: float, done: Done) -> None:
        """What a robot usually does with a weld."""
        if self.driven.session.session is None:
            return
        self.driven.durable = True
        key = self.driven.trigger(self.next, part=part, weld=weld)
        if score == 0.1:
            self.good.add((key.session, key.sequence))
        self.driven.report(key, part=part, weld=weld, score=score)
        self.driven.confirm(key, Outcome.ACCEPT if score == 0.1 else Outcome.REJECT, done if score == 0.1 else Done.REJECTED)
        self.driven.durable = False

    @rule(part=PART, weld=WELD, score=st.sampled_from([0.1, 0.1, 0.9]), done=DONE)
    def whole_weld(self, part: str, weld: str, score: float, done: Done) -> None:
        self.show(part, weld, score, done)

    @rule(part=PART, welds=WELDS, looked=st.sampled_from([True, True, True, False]), recipe=st.sampled_from(["", "R1", "R1", "R2"]))
    def whole_part(self, part: str, welds: list[tuple[str, float, Done]], looked: bool, recipe: str) -> None:
        """What a robot usually does with a part, and then it asks."""
        self.heal(looked)
        if recipe:
            self.driven.change_over(self.next, recipe)
        for weld, score, done in welds:
            self.show(part, weld, score, done)
        if self.driven.session.session is not None:
            self.driven.query(self.next, part)
            self.driven.settle()
            self.driven.act()

    @rule(sequence=st.integers(0, 6), part=PART)
    def query(self, sequence: int, part: str) -> None:
        if self.driven.session.session is not None:
            self.driven.query(sequence or self.next, part)

    @rule(sequence=st.integers(0, 6), recipe=st.sampled_from(["R1", "R2", "R3"]))
    def change_over(self, sequence: int, recipe: str) -> None:
        if self.driven.session.session is not None:
            self.driven.change_over(sequence or self.next, recipe)

    @rule(
        sequence=st.integers(0, 6),
        score=st.sampled_from([0.1, 0.9, float("nan")]),
        part=PART,
        weld=WELD,
        reason=st.sampled_from([Reason.OK, Reason.OK, Reason.ENGINE_FAILED]),
    )
    def report(self, sequence: int, score: float, part: str, weld: str, reason: Reason) -> None:
        key = self.key(sequence or self.next - 1)
        if score == 0.1 and reason is Reason.OK:
            self.good.add((key.session, key.sequence))
        self.driven.report(key, score=score, part=part, weld=weld, reason=reason)

    @rule()
    def settle(self) -> None:
        self.driven.settle()
        self.driven.act()

    @rule()
    def fail(self) -> None:
        tickets, self.driven.tickets = self.driven.tickets, []
        for ticket in tickets:
            self.driven.do(self.driven.session.record_failed, ticket, "disk full")

    @rule()
    def store_back(self) -> None:
        self.driven.do(self.driven.session.store_back)

    @rule(sequence=st.integers(0, 6), outcome=st.sampled_from(list(Outcome)), done=st.sampled_from(list(Done)))
    def acknowledge(self, sequence: int, outcome: Outcome, done: Done) -> None:
        self.driven.confirm(self.key(sequence or self.next - 1), outcome, done)

    @rule(count=st.sampled_from([1, 15, 30]))
    def noise(self, count: int) -> None:
        self.driven.do(self.driven.session.noise, "bad_crc", count)

    @rule()
    def latched_by_the_records(self) -> None:
        self.driven.do(self.driven.session.latched_for, ("damaged",))

    @rule()
    def somebody_looked(self) -> None:
        self.driven.do(self.driven.session.acknowledged)

    @rule(milliseconds=st.sampled_from([1, 20, 60, 95]))
    def wait(self, milliseconds: int) -> None:
        self.driven.pass_ms(milliseconds, step_ms=5)

    @rule()
    def signs_of_life(self) -> None:
        self.counter += 1
        self.driven.tell(a_state())
        if self.driven.session.session is not None:
            beat(self.driven, self.counter)

    @rule(up=st.booleans())
    def inspector(self, up: bool) -> None:
        if up:
            self.driven.do(self.driven.session.inspector_up)
            self.driven.tell(a_state())
        else:
            self.driven.do(self.driven.session.inspector_down, "gone")

    @rule()
    def replug(self) -> None:
        self.driven.do(self.driven.session.link_down, "end of file")
        self.driven.do(self.driven.session.link_up)

    @invariant()
    def accepts_are_proved(self) -> None:
        self.driven.check_order()
        self.driven.check_parts(RECIPES)
        for verdict in self.driven.verdicts:
            if verdict.outcome is Outcome.ACCEPT:
                assert (verdict.session, verdict.sequence) in self.good

    @invariant()
    def the_next_tick_is_never_overdue(self) -> None:
        self.driven.do(self.driven.session.tick)
        assert self.driven.session.next_ns(self.driven.now) > self.driven.now

    def teardown(self) -> None:
        if hasattr(self, "driven"):
            self.driven.do(self.driven.session.stop)
            self.driven.do(self.driven.session.close)
            self.driven.check_books()


TestHandshakeMachine = HandshakeMachine.TestCase
TestHandshakeMachine.settings = hypothesis_settings(max_examples=80, stateful_step_count=40, deadline=None)
