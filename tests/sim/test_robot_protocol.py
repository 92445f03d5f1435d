import msgspec
import pytest

from edge.contract import Outcome, Reason
from edge.gate.codec import Decoder
from edge.gate.messages import (
    Ack,
    ChangeOver,
    Done,
    Heartbeat,
    Hello,
    Message,
    Nak,
    PartQuery,
    PartVerdict,
    Refusal,
    State,
    Trigger,
    TriggerAck,
    Verdict,
)
from sim.robot_protocol import RobotProtocol

MS = 1_000_000


class Robot:
    """The pure protocol with a session open and one trigger sent at t = 0."""

    def __init__(self, *, profile: str = "handshake", triggered: bool = True) -> None:
        nonces = iter(f"{number:08x}" for number in range(1, 100))
        self.protocol = RobotProtocol(
            nonce=lambda: next(nonces),
            profile=profile,
            budget_ns=100 * MS,
            heartbeat_ns=100 * MS,
            silence_ns=300 * MS,
            repeat_ns=60 * MS,
        )
        self.protocol.received(Hello(nonce="cafe0000", peer="00000001", deadline_ms=90), 0)
        if triggered:
            self.protocol.trigger("P1", "W1", "T2", 0)

    @property
    def said(self) -> list[Message]:
        frames, self.protocol.out = self.protocol.out, []
        return [message for frame in frames for message in Decoder("R").feed(frame)]

    def verdict(self, **changes: object) -> Verdict:
        good = Verdict(session="00000001cafe0000", sequence=1, part="P1", weld="W1", outcome=Outcome.ACCEPT, reason=Reason.OK)
        return msgspec.structs.replace(good, **changes)


def test_a_proved_verdict_is_accepted_and_confirmed() -> None:
    robot = Robot()
    robot.protocol.received(robot.verdict(), 20 * MS)
    (result,) = robot.protocol.results
    assert (result.accepted, result.latency_ms) == (True, 20.0)
    assert robot.said == [Ack(session="00000001cafe0000", sequence=1, outcome=Outcome.ACCEPT, done=Done.ACCEPTED)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"session": "f" * 16}, "WRONG_SESSION"),
        ({"sequence": 2}, "WRONG_SEQUENCE"),
        ({"part": "P2"}, "WRONG_PART"),
        ({"weld": "W2"}, "WRONG_WELD"),
        ({"reason": Reason.DEFECT}, "DEFECT"),
        ({"outcome": Outcome.REJECT}, "OK"),
        ({"outcome": Outcome.NO_VERDICT, "reason": Reason.SESSION_LOST}, "SESSION_LOST"),
    ],
)
def test_a_verdict_that_differs_in_anything_is_rejected(changes: dict[str, object], reason: str) -> None:
    robot = Robot()
    robot.protocol.received(robot.verdict(**changes), 20 * MS)
    robot.protocol.received(robot.verdict(), 21 * MS)
    (result,) = robot.protocol.results
    assert (result.accepted, result.reason) == (False, reason)
    assert not any(isinstance(message, Ack) and message.done is Done.ACCEPTED for message in robot.said)


def test_a_verdict_after_the_robots_own_deadline_is_rejected() -> None:
    robot = Robot()
    robot.protocol.received(robot.verdict(), 101 * MS)
    (result,) = robot.protocol.results
    assert (result.accepted, result.reason) == (False, "LATE")


def test_silence_is_rejected_and_a_verdict_afterwards_changes_nothing() -> None:
    robot = Robot()
    robot.protocol.tick(101 * MS)
    robot.protocol.received(robot.verdict(), 102 * MS)
    (result,) = robot.protocol.results
    assert (result.accepted, result.reason, result.outcome) == (False, "NO_ANSWER", None)
    assert [m.done for m in robot.said if isinstance(m, Ack)] == [Done.REJECTED]


def test_a_whole_frame_that_breaks_the_protocol_is_rejected() -> None:
    robot = Robot()
    robot.protocol.malformed(1)
    assert robot.protocol.results[0].reason == "MALFORMED"


def test_a_resent_verdict_is_confirmed_again_but_a_different_one_ends_the_session() -> None:
    robot = Robot()
    robot.protocol.received(robot.verdict(), 20 * MS)
    robot.protocol.received(robot.verdict(), 60 * MS)
    assert len([m for m in robot.said if isinstance(m, Ack)]) == 2
    robot.protocol.received(robot.verdict(outcome=Outcome.REJECT, reason=Reason.DEFECT), 61 * MS)
    assert robot.protocol.session is None
    assert robot.protocol.anomalies == 1
    assert len(robot.protocol.results) == 1


def test_an_unasked_verdict_ends_the_session() -> None:
    robot = Robot(triggered=False)
    robot.protocol.received(robot.verdict(sequence=3), 1)
    assert robot.protocol.session is None
    assert not robot.protocol.results


def test_a_gate_whose_heartbeat_stops_or_stands_still_is_lost() -> None:
    robot = Robot(triggered=False)
    for milliseconds in range(0, 600, 10):
        robot.protocol.received(Heartbeat(session="00000001cafe0000", state=State.READY, counter=7), milliseconds * MS)
        robot.protocol.tick(milliseconds * MS)
    assert robot.protocol.session is None


def test_an_unacknowledged_trigger_is_repeated_identically() -> None:
    robot = Robot()
    robot.protocol.tick(1)
    robot.protocol.tick(61 * MS)
    first = [m for m in robot.said if isinstance(m, Trigger)]
    robot.protocol.received(TriggerAck(session="00000001cafe0000", sequence=1), 62 * MS)
    robot.protocol.tick(99 * MS)
    assert [m.sequence for m in first] == [1]
    assert not [m for m in robot.said if isinstance(m, Trigger)]


@pytest.mark.parametrize(("reason", "session"), [(Refusal.BUSY, True), (Refusal.SEQUENCE, True), (Refusal.SESSION, False)])
def test_a_refused_trigger_is_rejected(reason: Refusal, session: bool) -> None:
    robot = Robot()
    robot.protocol.received(Nak(session="00000001cafe0000", sequence=1, reason=reason), 1)
    assert robot.protocol.results[0].accepted is False
    assert (robot.protocol.session is not None) is session


def test_a_hello_for_somebody_else_opens_no_session() -> None:
    robot = Robot(triggered=False)
    robot.protocol.line_lost(1)
    robot.protocol.received(Hello(nonce="cafe0001", peer="00000001"), 2)
    assert robot.protocol.session is None
    assert robot.protocol.trigger("P1", "W1", None, 3) is None


def test_the_last_sequence_forces_a_new_session() -> None:
    robot = Robot(triggered=False)
    robot.protocol.sequence = 65_535
    assert robot.protocol.trigger("P1", "W1", None, 3) is None
    assert robot.protocol.session is None


def test_in_the_push_profile_a_repeated_number_is_rejected() -> None:
    robot = Robot(profile="push", triggered=False)
    for sequence in (1, 2, 2, 1, 3):
        robot.protocol.received(robot.verdict(sequence=sequence), 5)
    assert [r.accepted for r in robot.protocol.results] == [True, True, False, False, True]


def part_verdict(**changes: object) -> PartVerdict:
    good = PartVerdict(session="00000001cafe0000", sequence=1, part="P1", missing=0, first=None, outcome=Outcome.ACCEPT, reason=Reason.OK)
    return msgspec.structs.replace(good, **changes)


def test_a_robot_that_knows_no_recipe_does_not_ask_for_a_part() -> None:
    robot = Robot(triggered=False)
    assert robot.protocol.finish_part("P1", 0) is None
    assert robot.protocol.sequence == 0


def test_an_unanswered_change_over_ends_the_session_because_nobody_knows_which_recipe_is_active() -> None:
    robot = Robot(triggered=False)
    assert robot.protocol.change_over("R2", 0) is not None
    robot.protocol.tick(robot.protocol.budget_ns + 1)
    assert (robot.protocol.session, robot.protocol.no_change, robot.protocol.recipe) == (None, "NO_ANSWER", "")


def test_a_proved_part_verdict_is_accepted_and_confirmed() -> None:
    robot = Robot(triggered=False)
    data = robot.protocol.finish_part("P1", 0, "R1")
    assert data is not None
    assert Decoder("R").feed(data) == [PartQuery(session="00000001cafe0000", sequence=1, part="P1", recipe="R1")]
    robot.protocol.received(part_verdict(), 20 * MS)
    robot.protocol.received(part_verdict(), 30 * MS)
    (result,) = robot.protocol.results
    assert (result.part, result.weld, result.accepted) == ("P1", "", True)
    assert [(ack.sequence, ack.done) for ack in robot.said] == [(1, Done.ACCEPTED)] * 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (part_verdict(session="f" * 16), "WRONG_SESSION"),
        (part_verdict(sequence=2), "WRONG_SEQUENCE"),
        (part_verdict(part="P2"), "WRONG_PART"),
        (part_verdict(missing=1), "STILL_MISSING"),
        (part_verdict(first="W2"), "STILL_MISSING"),
        (part_verdict(reason=Reason.WELDS_MISSING), "WELDS_MISSING"),
        (part_verdict(outcome=Outcome.REJECT, missing=1, first="W2", reason=Reason.WELDS_MISSING), "WELDS_MISSING"),
        (Robot().verdict(), "WRONG_TYPE"),
    ],
)
def test_a_part_verdict_that_differs_in_anything_is_rejected(answer: Message, reason: str) -> None:
    robot = Robot(triggered=False)
    robot.protocol.finish_part("P1", 0, "R1")
    robot.protocol.received(answer, 20 * MS)
    robot.protocol.received(part_verdict(), 21 * MS)
    assert [(result.accepted, result.reason) for result in robot.protocol.results] == [(False, reason)]
    assert not any(isinstance(message, Ack) and message.done is Done.ACCEPTED for message in robot.said)


def test_a_part_verdict_is_no_answer_to_a_trigger_and_none_after_the_deadline() -> None:
    robot = Robot()
    robot.protocol.received(part_verdict(), 20 * MS)
    assert robot.protocol.results[0].reason == "WRONG_TYPE"
    robot.protocol.finish_part("P1", 30 * MS, "R1")
    robot.protocol.received(part_verdict(sequence=2), 131 * MS)
    assert (robot.protocol.results[1].accepted, robot.protocol.results[1].reason) == (False, "LATE")


def test_a_robot_that_rejected_a_weld_does_not_believe_that_its_part_is_good() -> None:
    robot = Robot()
    robot.protocol.tick(101 * MS)
    robot.protocol.finish_part("P1", 110 * MS, "R1")
    robot.protocol.received(part_verdict(sequence=2), 120 * MS)
    assert [(r.accepted, r.reason) for r in robot.protocol.results] == [(False, "NO_ANSWER"), (False, "WELD_REJECTED")]
    assert robot.protocol.anomalies == 1


def test_a_weld_that_was_accepted_in_the_end_does_not_count_against_its_part() -> None:
    robot = Robot()
    robot.protocol.tick(101 * MS)
    robot.protocol.trigger("P1", "W1", "T2", 110 * MS)
    robot.protocol.received(robot.verdict(sequence=2), 120 * MS)
    robot.protocol.finish_part("P1", 130 * MS, "R1")
    robot.protocol.received(part_verdict(sequence=3), 140 * MS)
    assert [r.accepted for r in robot.protocol.results] == [False, True, True]


def test_an_unanswered_change_over_is_repeated_and_then_unknown() -> None:
    robot = Robot(triggered=False)
    robot.protocol.recipe = "R1"
    data = robot.protocol.change_over("R2", 0)
    assert robot.protocol.trigger("P1", "W1", None, 1) is None
    robot.protocol.tick(61 * MS)
    assert data is not None
    assert Decoder("R").feed(data)[0] in robot.said
    robot.protocol.tick(101 * MS)
    assert (robot.protocol.change, robot.protocol.recipe, robot.protocol.no_change) == (None, "", "NO_ANSWER")


@pytest.mark.parametrize("reason", [Refusal.PART, Refusal.RECIPE])
def test_a_refused_change_over_says_why(reason: Refusal) -> None:
    robot = Robot(triggered=False)
    robot.protocol.change_over("R2", 0)
    robot.protocol.received(Nak(session="00000001cafe0000", sequence=1, reason=reason), 1)
    assert robot.protocol.no_change == f"NAK_{reason.value}"


def test_only_the_very_answer_makes_a_recipe_active_and_a_lost_session_forgets_it() -> None:
    robot = Robot(triggered=False)
    robot.protocol.change_over("R2", 0)
    for changes in ({"sequence": 2}, {"recipe": "R3"}, {"session": "f" * 16}):
        answer = ChangeOver(session="00000001cafe0000", sequence=1, recipe="R2")
        robot.protocol.received(msgspec.structs.replace(answer, **changes), 1)
        assert robot.protocol.recipe == ""
    robot.protocol.received(ChangeOver(session="00000001cafe0000", sequence=1, recipe="R2"), 2)
    assert robot.protocol.recipe == "R2"
    robot.protocol.line_lost(3)
    assert robot.protocol.recipe == ""


@pytest.mark.parametrize(
    ("must", "knows", "demands", "goes_on"),
    [
        (0x0001, 0x0003, 0, True),
        (0x0001, 0x0002, 0, False),
        (0x8000, 0x0003, 0, False),
        (0x0000, 0x0003, 0x0001, False),
        (0x0001, 0x0003, 0x0001, True),
    ],
)
def test_a_robot_does_not_go_on_with_a_gate_that_demands_or_lacks_what_it_must(must: int, knows: int, demands: int, goes_on: bool) -> None:
    robot = Robot(triggered=False)
    robot.protocol.line_lost(0)
    robot.protocol.knows, robot.protocol.must = knows, demands
    robot.protocol.received(Hello(nonce="cafe0000", peer=robot.protocol._own, must=must), 1)
    assert (robot.protocol.session is not None) is goes_on
    assert robot.protocol.refused is (None if goes_on else Refusal.VERSION)


def test_a_robot_with_degraded_framing_speaks_and_reads_it_only() -> None:
    robot = Robot(triggered=False)
    robot.protocol.framing = "twice"
    data = robot.protocol.trigger("P1", "W1", None, 0)
    assert data is not None
    assert len(Decoder("R", "twice").feed(data)) == 1
    assert not Decoder("R").feed(data)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"major": 2}, Refusal.VERSION),
        ({"profile": "P"}, Refusal.PROFILE),
        ({"deadline_ms": 101}, Refusal.DEADLINE),
        ({"deadline_ms": 100, "minor": 7}, None),
    ],
)
def test_a_robot_works_with_no_gate_of_another_version_or_profile_or_with_a_budget_beyond_its_deadline(
    changes: dict[str, object], refused: Refusal | None
) -> None:
    robot = Robot(triggered=False)
    robot.protocol._lose("the test begins anew", 0)
    robot.protocol.received(Hello(nonce="cafe0001", peer=robot.protocol._own, **changes), 1)  # type: ignore[arg-type]
    assert robot.protocol.refused is refused
    assert (robot.protocol.session is None) is (refused is not None)
