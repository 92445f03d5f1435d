"""docs/robot-link.md shows bytes that the code really produces: the example is run through a gate and a robot."""

import re
import zlib
from pathlib import Path

import pytest
from gate_kit import MS, Driven, a_state

from edge.contract import Outcome
from edge.gate.codec import MAX_FRAME_BYTES, SEED, Decoder, encode_frame
from edge.gate.handshake import HandshakeSession
from edge.gate.messages import CODES, WORDS, Done, Refusal, State
from sim.robot_protocol import RobotProtocol

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "robot-link.md").read_text(encoding="utf-8")
LINES = re.findall(r"^\$[RG][A-Z],.*$", TEXT, re.MULTILINE)


def _exchange() -> list[str]:
    """Robot and gate of the example, talking to each other without a wire."""
    gate = Driven(budget_ns=200 * MS)
    gate.session = HandshakeSession(gate.session.settings, lambda: "7be4a03c")
    gate.do(gate.session.link_up)
    gate.do(gate.session.inspector_up)
    gate.tell(a_state(bundle="9d41c07a" + "0" * 56, typologies=("T5",)))
    robot = RobotProtocol(nonce=lambda: "5f0c91d2", budget_ns=250 * MS, heartbeat_ns=100 * MS, silence_ns=300 * MS, repeat_ns=60 * MS)
    said: list[str] = []
    hears, heard = Decoder("R"), Decoder("G")

    def deliver(frames: list[bytes]) -> None:
        for frame in frames:
            said.append(frame.decode("ascii").rstrip("\r"))
            for message in hears.feed(frame):
                gate.hear(message)
        answers, gate.raw = gate.raw, []
        for answer in answers:
            said.append(answer.decode("ascii").rstrip("\r"))
            for message in heard.feed(answer):
                robot.received(message, gate.now)

    def tick() -> None:
        robot.tick(gate.now)
        frames, robot.out = robot.out, []
        deliver(frames)

    def ask(weld: str) -> None:
        frame = robot.trigger("P0417", weld, "T5", gate.now)
        assert frame is not None
        deliver([frame])

    def judge(sequence: int, weld: str, score: float) -> None:
        key = next(expect.trigger for expect in gate.told if expect.trigger.sequence == sequence)
        gate.report(key, part="P0417", weld=weld, typology="T5", typology_named="T5", score=score, bundle="9d41c07a" + "0" * 56)
        deliver([])
        frames, robot.out = robot.out, []
        deliver(frames)

    tick()
    tick()
    ask("W03")
    judge(1, "W03", 0.1)
    ask("W04")
    waiting, robot.open = robot.open, None
    ask("W05")
    robot.open = waiting
    judge(2, "W04", 0.9)
    assert [(r.accepted, r.outcome) for r in robot.results if r.outcome] == [(True, Outcome.ACCEPT), (False, Outcome.REJECT)]
    return said


def test_the_example_is_what_gate_and_robot_say_to_each_other() -> None:
    assert _exchange() == LINES


def test_the_crc_of_the_document_is_the_crc_of_the_code() -> None:
    assert f"crc32(body, 0x{SEED:08X})" in TEXT
    assert f"crc = {SEED ^ 0xFFFFFFFF:08X}h" in TEXT
    assert f"at `{SEED ^ 0xFFFFFFFF:08X}` instead" in TEXT


@pytest.mark.parametrize("line", LINES)
def test_the_pseudo_code_of_the_crc_gives_the_crc_of_every_line(line: str) -> None:
    register = SEED ^ 0xFFFFFFFF
    for byte in line[1:-9].encode("ascii"):
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ 0xEDB88320 if register & 1 else register >> 1
    assert f"{register ^ 0xFFFFFFFF:08X}" == line[-8:]
    assert zlib.crc32(line[1:-9].encode("ascii"), SEED) == int(line[-8:], 16)


def test_every_word_of_the_protocol_is_explained() -> None:
    for outcome, code in CODES.items():
        assert f"| `{WORDS[outcome]}` | `{code:04X}` | `{code ^ 0xFFFF:04X}` |" in TEXT
    for word in (*Refusal, *State, *Done):
        assert f"`{word.value}`" in TEXT
    assert f"at most {MAX_FRAME_BYTES} bytes" in TEXT


def test_every_line_of_the_example_is_read_by_the_other_side() -> None:
    for line in LINES:
        direction = "R" if line[1] == "R" else "G"
        (message,) = Decoder(direction).feed(line.encode("ascii") + b"\r")
        assert encode_frame(message, direction).decode("ascii").rstrip("\r") == line
