import msgspec
import pytest

from edge.contract import Outcome, Reason
from edge.gate.codec import Decoder
from edge.gate.messages import Ack, Done, Heartbeat, Hello, Message, Nak, Refusal, State, Trigger, TriggerAck, Verdict
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
