"""docs/robot-link.md shows bytes that the code really produces: the example is run through a gate and a robot."""

import re
import zlib
from pathlib import Path

import pytest
from gate_kit import CONFIG, MS, Driven, a_state
from longest import longest_messages

from edge.config import GateConfig
from edge.contract import Outcome, Reason
from edge.gate.codec import MAX_FRAME_BYTES, MAX_TWICE_BYTES, SEED, Decoder, encode_frame
from edge.gate.fields import FORMS
from edge.gate.handshake import HandshakeSession
from edge.gate.messages import CODES, FEATURE_PARTS, FEATURE_TWICE, MAJOR, MINOR, WORDS, Direction, Done, Framing, Hello, Refusal, State
from sim.robot_protocol import RobotProtocol

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "robot-link.md").read_text(encoding="utf-8")
EVERY = re.findall(r"^\$[RG][A-Z],.*$", TEXT, re.MULTILINE)
LINES = [line for line in EVERY if "=" not in line]
TWICE = [line for line in EVERY if "=" in line]


def _section(title: str) -> str:
    """From one heading to the next."""
    found = re.search(rf"^#+ {re.escape(title)}[^\n]*\n(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found.group(1)


def _exchange() -> list[str]:
    """Robot and gate of the example, talking to each other without a wire."""
    gate = Driven(budget_ns=200 * MS)
    gate.session = HandshakeSession(gate.session.settings, lambda: "7be4a03c")
    gate.session.configs = (CONFIG,)
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
    assert "\n".join(["```", *_exchange(), "```"]) in _section("A good weld, a bad one, and a trigger too many")


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
    for word in (*State, *Done):
        assert f"`{word.value}`" in TEXT
    assert f"at most {MAX_FRAME_BYTES} bytes" in TEXT
    assert f"At most {MAX_TWICE_BYTES} bytes" in TEXT
    assert f"Protocol version {MAJOR}.{MINOR}." in TEXT
    for bit in (FEATURE_PARTS, FEATURE_TWICE):
        assert f"| `{bit:04X}` | gate |" in TEXT


def _first_column(header: str) -> list[str]:
    table = TEXT[TEXT.index(header) :].split("\n\n")[0]
    return re.findall(r"^\s*\| `([^`]+)` \|", table, re.MULTILINE)


def test_the_tables_list_exactly_the_reasons_refusals_and_states_of_the_code() -> None:
    assert _first_column("| reason | why |") == [reason.value for reason in Reason]
    assert sorted(_first_column("| `N` reason |")) == sorted(refusal.value for refusal in Refusal)
    assert sorted(_first_column("| state in `B` |")) == sorted(state.value for state in State)


def test_every_type_of_frame_is_listed_with_its_direction_and_number_of_fields() -> None:
    rows = {row[0]: row[1:] for row in re.findall(r"^\| `([A-Z])` \| (R|G|both) \| ([^|]*) \|", TEXT, re.MULTILINE)}
    assert set(rows) == {form.prefix[1] for forms in FORMS.values() for form in forms}
    for letter, (sender, fields) in rows.items():
        senders = [direction for direction, forms in FORMS.items() if any(form.prefix[1] == letter for form in forms)]
        assert sender == ("both" if len(senders) == 2 else senders[0])
        written = {len(line.split("*")[0].split(",")) - 1 for line in LINES if line[2] == letter}
        assert written == {len(fields.split(","))}


def _times(size: int) -> str:
    return " | ".join(f"{size * 10 / baud * 1000:.1f}" for baud in (9600, 38400, 115200))


def test_the_longest_frames_and_their_times_on_the_wire_are_right() -> None:
    for direction, message in longest_messages():
        crc, twice = (len(encode_frame(message, direction, framing)) for framing in ("crc", "twice"))
        letter = encode_frame(message, direction)[2:3].decode("ascii")
        assert f"| `{letter}` | {crc} | {_times(crc)} | {twice} | {_times(twice)} |" in TEXT


def test_the_worked_deadline_is_its_formula() -> None:
    size = {letter: int(count) for letter, count in re.findall(r"^\| `([A-Z])` \| (\d+) \|", TEXT, re.MULTILINE)}
    trigger, verdict, beats = (size[letter] * 10_000 / 38_400 for letter in "TVB")
    total = 200 + trigger + verdict + 2 * beats + 2 * 1 + 12 + 10
    assert f"200 + {trigger:.1f} + {verdict:.1f} + {2 * beats:.1f} + 2 + 12 + 10 = {total:.0f} ms" in TEXT


def test_the_heartbeat_is_the_default_of_the_configuration() -> None:
    gate = GateConfig(port="p", records=Path("r"), socket=Path("s"))
    assert f"every `gate.heartbeat_ms` ({gate.heartbeat_ms:.0f} ms)" in TEXT
    assert f"({gate.heartbeat_ms * gate.missed_heartbeats:.0f} ms)" in TEXT


@pytest.mark.parametrize(("lines", "framing"), [(LINES, "crc"), (TWICE, "twice")])
def test_every_line_of_the_examples_is_read_by_the_other_side(lines: list[str], framing: Framing) -> None:
    assert len(lines) >= 5
    for line in lines:
        direction: Direction = "R" if line[1] == "R" else "G"
        (message,) = Decoder(direction, framing).feed(line.encode("ascii") + b"\r")
        assert encode_frame(message, direction, framing).decode("ascii").rstrip("\r") == line


def test_the_hellos_of_parts_and_of_the_degraded_framing_carry_their_must_bits() -> None:
    for lines, framing, bit in ((_section("A change-over and a part"), "crc", FEATURE_PARTS), ("\n".join(TWICE), "twice", FEATURE_TWICE)):
        found = Decoder("G", framing).feed(lines.replace("\n", "\r").encode("ascii", "replace") + b"\r")
        assert [message.must for message in found if isinstance(message, Hello)] == [bit]


def test_everything_the_document_points_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
