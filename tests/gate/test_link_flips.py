"""Every 1-, 2- and 3-bit flip of every type of frame: with a CRC none becomes a message, in the degraded framing none an ACCEPT."""

import itertools
import json
import zlib
from math import comb
from pathlib import Path

import msgspec
import pytest
from longest import SESSION, longest_messages

from bench.flips import Survey, check_by_hand, flipped, heard, main, measured_messages, survey
from edge.contract import Outcome, Reason
from edge.gate.codec import encode_frame
from edge.gate.messages import Direction, Framing, Heartbeat, Hello, Message, Nak, PartVerdict, Refusal, State, TriggerAck, Verdict
from sim.robot_protocol import RobotProtocol

AWKWARD: list[tuple[Direction, Message]] = [
    ("G", Verdict(session=SESSION, sequence=4, part="dGV", weld="4.4GW", outcome=Outcome.REJECT, reason=Reason.DEFECT)),
    ("G", PartVerdict(session=SESSION, sequence=4, part="j-GK", missing=9, first="dGN", outcome=Outcome.ACCEPT, reason=Reason.OK)),
]
"""Names that nearly contain the beginning or the end of a frame."""
ALL = [*longest_messages(), *measured_messages(), *AWKWARD]
FREE = {"session", "nonce", "peer", "sequence", "counter", "part", "weld", "typology", "recipe", "first", "missing", "bundle", "must"} | {
    "major",
    "minor",
    "lowest",
    "deadline_ms",
}
"""Fields that are not one of a few words."""


@pytest.mark.parametrize(("direction", "message"), [*longest_messages(), *AWKWARD])
def test_no_flip_of_three_bits_makes_another_message_of_a_frame_with_a_crc(direction: Direction, message: Message) -> None:
    found = survey(message, direction, "crc")
    assert found.changed == {}
    size = len(found.frame)
    assert list(found.passed) == [tuple((size - 1) * 8 + bit for bit in (0, 1, 2))]
    assert flipped(found.frame, next(iter(found.passed)))[-1:] == b"\n"


@pytest.mark.parametrize("framing", ["crc", "twice"])
def test_the_decoder_itself_agrees_on_every_double_flip_of_a_short_frame(framing: Framing) -> None:
    message = TriggerAck(session=SESSION, sequence=9)
    found = survey(message, "G", framing)
    assert check_by_hand(found, "G", framing, triples=5_000, seed=1) > 35_000


def test_the_survey_finds_what_a_weak_check_lets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    real = zlib.crc32
    monkeypatch.setattr(zlib, "crc32", lambda data, seed=0: real(data, seed) & 0x0000000F)
    message = Nak(session=SESSION, sequence=9, reason=Refusal.BUSY)
    found = survey(message, "G", "crc")
    assert len(found.changed) > 100
    assert {len(flips) for flips in found.changed} == {1, 2, 3}
    check_by_hand(found, "G", "crc", triples=3_000, seed=1)
    some = [bit for bit in range(len(found.frame) * 8) if bit // 8 in (4, 5, 6, 20, 21, len(found.frame) - 2, len(found.frame) - 3)]
    for flips in itertools.combinations(some, 3):
        assert heard(found.frame, flips, "G", "crc") == found.passed.get(flips, [])


@pytest.mark.parametrize(("direction", "message"), ALL)
def test_what_passes_in_the_degraded_framing_is_one_bit_turned_in_both_copies(direction: Direction, message: Message) -> None:
    found = survey(message, direction, "twice")
    half = len(found.frame) // 2 * 8
    assert all(len(flips) == 2 and flips[1] - flips[0] == half for flips in found.changed)
    assert found.unchanged == 1
    assert {name for other in _others(found) for name in _differences(message, other)} <= FREE


def _others(found: Survey) -> list[Message]:
    return [message for messages in found.changed.values() for message in messages]


def _differences(message: Message, other: Message) -> list[str]:
    assert type(message) is type(other)
    return [name for name in message.__struct_fields__ if getattr(message, name) != getattr(other, name)]


def _waiting(part: str, weld: str | None) -> RobotProtocol:
    """A robot in the session of the messages, waiting for the answer with sequence 65535."""
    ms = 1_000_000
    times = {"budget_ns": 250 * ms, "heartbeat_ns": 100 * ms, "silence_ns": 300 * ms, "repeat_ns": 60 * ms}
    robot = RobotProtocol(nonce=lambda: SESSION[:8], framing="twice", **times)
    robot.received(Hello(nonce=SESSION[8:], peer=SESSION[:8]), 0)
    robot.sequence = 65534
    assert (robot.finish_part(part, 0, "R1") if weld is None else robot.trigger(part, weld, None, 0)) is not None
    return robot


def _verdict(outcome: Outcome, reason: Reason) -> Verdict:
    return Verdict(session=SESSION, sequence=65535, part="P-0417.a", weld="W03", outcome=outcome, reason=reason)


def _part_verdict(outcome: Outcome, reason: Reason, missing: int, first: str | None) -> PartVerdict:
    return PartVerdict(session=SESSION, sequence=65535, part="P-0417.a", missing=missing, first=first, outcome=outcome, reason=reason)


VERDICTS: list[tuple[Verdict | PartVerdict, bool]] = [
    (_verdict(Outcome.ACCEPT, Reason.OK), True),
    *[(_verdict(Outcome.REJECT, reason), False) for reason in Reason if reason is not Reason.OK],
    (_verdict(Outcome.NO_VERDICT, Reason.SESSION_LOST), False),
    (_part_verdict(Outcome.ACCEPT, Reason.OK, 0, None), True),
    (_part_verdict(Outcome.REJECT, Reason.WELDS_MISSING, 1, "W04"), False),
    (_part_verdict(Outcome.NO_VERDICT, Reason.SESSION_LOST, 0, None), False),
]


@pytest.mark.parametrize(("verdict", "good"), VERDICTS)
def test_no_flip_that_passes_in_the_degraded_framing_makes_a_robot_accept(verdict: Verdict | PartVerdict, good: bool) -> None:
    weld = verdict.weld if isinstance(verdict, Verdict) else None
    robot = _waiting(verdict.part, weld)
    robot.received(verdict, 1)
    assert robot.results[-1].accepted is good
    others = _others(survey(verdict, "G", "twice"))
    assert len(others) > 50
    for other in others:
        robot = _waiting(verdict.part, weld)
        robot.received(other, 1)
        assert not any(result.accepted for result in robot.results)


def test_no_flip_of_anything_else_the_gate_says_makes_a_robot_accept() -> None:
    said: list[Message] = [
        TriggerAck(session=SESSION, sequence=65535),
        Nak(session=SESSION, sequence=65535, reason=Refusal.BUSY),
        Heartbeat(session=SESSION, state=State.READY, counter=7),
    ]
    for message in said:
        for other in _others(survey(message, "G", "twice")):
            robot = _waiting("P1", "W1")
            robot.received(other, 1)
            assert not any(result.accepted for result in robot.results)


def test_the_command_ends_with_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    short = [("G", TriggerAck(session=SESSION, sequence=9))]
    monkeypatch.setattr("bench.flips.measured_messages", lambda: short)
    assert main(["--triples", "10"]) == 0
    totals = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert totals["crc_passed"] == 0
    assert totals["twice_passed"] > 0


def test_the_document_tells_the_counts() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "robot-link.md").read_text(encoding="utf-8")
    tried = dict.fromkeys(("crc", "twice"), 0)
    for (direction, message), framing in itertools.product(measured_messages(), tried):
        tried[framing] += sum(comb(len(encode_frame(message, direction, framing)) * 8, count) for count in (1, 2, 3))
    passed = sum(len(survey(message, direction, "twice").changed) for direction, message in measured_messages())
    assert f"{tried['crc']:,} flips of 1 to 3 bits: 0 become another message" in text
    assert f"{tried['twice']:,} flips of 1 to 3 bits: {passed} become another message" in text


def test_the_fields_that_may_differ_are_fields_of_the_protocol() -> None:
    fields = {name for _, message in ALL for name in msgspec.structs.asdict(message)}
    assert fields >= FREE
