"""The example programs carry the code's constants, and the pseudo-code is a robot that the gate understands and cannot deceive."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gate_kit import MS, Driven

from edge.config import GateConfig
from edge.contract import Outcome, Reason
from edge.gate import messages
from edge.gate.codec import MAX_FRAME_BYTES, SCHEMA, SEED, Decoder, encode_frame
from edge.gate.fields import outcome_fields
from edge.gate.messages import FEATURE_TWICE, KNOWN_FEATURES, Ack, Done, Hello, Nak, PartVerdict, Refusal, Verdict

PROGRAMS = Path(__file__).resolve().parents[2] / "docs" / "robot-programs"
START, POLYNOMIAL = SEED ^ 0xFFFFFFFF, 0xEDB88320
GOOD = f"{outcome_fields(Outcome.ACCEPT)},{Reason.OK.value}"
TEXT = {path.suffix[1:]: path.read_text(encoding="utf-8") for path in PROGRAMS.iterdir()}
CODE = re.search(r"```python\n(.*?)```", TEXT["md"], re.DOTALL).group(1)  # type: ignore[union-attr]


def _number(program: str, name: str) -> float:
    found = re.search(rf"\b{name}\s*(?::=|=)\s*([0-9.]+)", TEXT[program])
    assert found is not None, (program, name)
    return float(found.group(1))


@pytest.mark.parametrize(
    ("program", "prefix", "unit"),
    [("src", "CR_", "MS"), ("kl", "", "MS"), ("mod", "", "S")],
)
def test_the_programs_have_the_numbers_of_the_code(program: str, prefix: str, unit: str) -> None:
    scale = 1 if unit == "MS" else 1000
    assert _number(program, f"{prefix}MAX_LENGTH") == MAX_FRAME_BYTES
    assert _number(program, f"{prefix}HEARTBEAT_{unit}") * scale == GateConfig.__struct_defaults__[_default("heartbeat_ms")]
    beats = GateConfig.__struct_defaults__[_default("missed_heartbeats")]
    assert _number(program, f"{prefix}SILENCE_{unit}") == pytest.approx(beats * _number(program, f"{prefix}HEARTBEAT_{unit}"))
    assert _number(program, f"{prefix}DEADLINE_{unit}") * scale > GateConfig.__struct_defaults__[_default("budget_ms")]
    assert set(re.findall(r"ACCEPT,[0-9A-F]{4},[0-9A-F]{4},\w+", TEXT[program])) == {GOOD}
    assert f",00000000,{messages.MAJOR},{messages.MINOR},{messages.LOWEST_MAJOR},0000,H," in TEXT[program]
    known = {int(bits, 16) for bits in re.findall(r"[\"']([0-9A-F]{4})[\"']", TEXT[program])}
    assert known == {0, KNOWN_FEATURES & ~FEATURE_TWICE}


def _default(name: str) -> int:
    fields = GateConfig.__struct_fields__
    return fields.index(name) - (len(fields) - len(GateConfig.__struct_defaults__))


@pytest.mark.parametrize(("program", "prefix"), [("src", "CR_"), ("kl", "")])
def test_the_crc_in_two_halves_is_the_crc_of_the_code(program: str, prefix: str) -> None:
    start_hi, start_lo, poly_hi, poly_lo = (
        int(_number(program, f"{prefix}{name}")) for name in ("START_HI", "START_LO", "POLY_HI", "POLY_LO")
    )
    table = []
    for nibble in range(16):
        high, low = 0, nibble
        for _ in range(4):
            odd = low & 1
            low, high = low // 2 + (high & 1) * 32768, high // 2
            low, high = (low ^ poly_lo, high ^ poly_hi) if odd else (low, high)
        table.append((high, low))
    high, low = start_hi, start_lo
    for byte in SCHEMA.encode("ascii"):
        low ^= byte
        for _ in range(2):
            add_high, add_low = table[low & 15]
            low, high = low // 16 + (high & 15) * 4096, high // 16
            low, high = low ^ add_low, high ^ add_high
    assert (high ^ 65535) << 16 | (low ^ 65535) == zlib.crc32(SCHEMA.encode("ascii"), SEED)


def test_the_crc_in_one_register_starts_where_the_code_starts() -> None:
    assert _number("mod", "START") == START
    assert _number("mod", "POLYNOMIAL") == POLYNOMIAL
    assert f"START = 0x{START:08X}\nPOLYNOMIAL = 0x{POLYNOMIAL:08X}\nMAX_LENGTH = {MAX_FRAME_BYTES}\n" in CODE


@pytest.mark.parametrize(
    ("program", "accepts", "compares"),
    [
        ("src", "CR_RESULT=1", r"StrComp(CR_BODY[],CR_EXPECT[],#CASE_SENS) AND ($TIMER[63]<=CR_DEADLINE_MS)"),
        ("kl", "finish(1)", "(body = expected) AND (msec - sent_ms <= DEADLINE_MS)"),
        ("mod", "cr_result := 1;", "Same(body, body_n, expected, expected_n) AND ClkRead(clk) - sent <= DEADLINE_S"),
        ("md", 'finish("ACCEPT")', "body == expected and clock_ms() - sent_ms <= DEADLINE_MS"),
    ],
)
def test_each_program_accepts_in_one_place_and_only_after_comparing_the_whole_frame(program: str, accepts: str, compares: str) -> None:
    assert TEXT[program].count(accepts) == 1
    lines = TEXT[program][: TEXT[program].index(accepts)].splitlines()
    assert any(compares in line for line in lines[-4:])


def test_frames_in_the_programs_fit_the_strings_that_hold_them() -> None:
    assert all(int(size) >= MAX_FRAME_BYTES for size in re.findall(r"line, body.*STRING\[(\d+)\]", TEXT["kl"]))
    assert all(len(name) <= 12 for name in re.findall(r"^ROUTINE (\w+)", TEXT["kl"], re.MULTILINE))
    assert all(len(name) <= 24 for name in re.findall(r"^DEF(?:FCT BOOL)? (\w+)", TEXT["src"], re.MULTILINE))
    for opening, closing in (("DEF ", "END"), ("DEFFCT ", "ENDFCT"), ("IF ", "ENDIF"), ("FOR ", "ENDFOR")):
        lines = [line.strip() for line in TEXT["src"].splitlines()]
        assert sum(line.startswith(opening) for line in lines) == sum(line == closing for line in lines), opening
    for opening, closing in (("PROC ", "ENDPROC"), ("FUNC ", "ENDFUNC"), ("FOR ", "ENDFOR"), ("WHILE ", "ENDWHILE"), ("TEST ", "ENDTEST")):
        lines = [line.strip() for line in TEXT["mod"].splitlines()]
        assert sum(line.startswith(opening) for line in lines) == sum(line == closing for line in lines), opening
    names = [name.lower() for name in re.findall(r"^  (?:PERS|VAR|CONST|PROC|FUNC) (?:\w+ )?(\w+)(?=[ ({])", TEXT["mod"], re.MULTILINE)]
    assert len(names) == len(set(names))


class Pseudo:
    """The pseudo-code as it stands in the document, with a clock, a line, and a gate at its other end."""

    def __init__(self, gate: Driven | None = None) -> None:
        self.gate, self.sent, self.arrived, self.now_ms = gate, "", "", 1000
        nonces = iter(f"{number:08x}" for number in range(1, 100))
        self.names: dict[str, Any] = {
            "clock_ms": lambda: self.now_ms if gate is None else gate.now // MS,
            "send": self._send,
            "receive": self._receive,
            "fresh_nonce": lambda: next(nonces),
        }
        exec(compile(CODE, "pseudo-code.md", "exec"), self.names)  # noqa: S102 - the document's own text
        self.hears = Decoder("R")

    def _send(self, text: str) -> None:
        self.sent += text
        if self.gate is not None:
            for message in self.hears.feed(text.encode("ascii")):
                self.gate.hear(message)

    def _receive(self) -> str:
        if self.gate is not None:
            raw, self.gate.raw = self.gate.raw, []
            self.arrived += b"".join(raw).decode("ascii")
        text, self.arrived = self.arrived, ""
        return text

    def said(self, message: messages.Message) -> None:
        """The gate says this."""
        self.arrived += encode_frame(message, "G").decode("ascii")
        self.call("cycle")

    def heard(self) -> list[messages.Message]:
        """What the robot sent since the last call."""
        text, self.sent = self.sent, ""
        return Decoder("R").feed(text.encode("ascii"))

    def call(self, name: str, *arguments: str) -> Any:
        return self.names[name](*arguments)

    def run_ms(self, milliseconds: int) -> None:
        for _ in range(milliseconds // 4):
            self.call("cycle")
            if self.gate is not None:
                self.gate.pass_ms(4, step_ms=4)
            self.now_ms += 4
        self.call("cycle")


@pytest.fixture
def robot() -> Iterator[Pseudo]:
    """In a session with a gate that only says what the test makes it say."""
    made = Pseudo()
    made.call("cycle")
    (hello,) = made.heard()
    assert isinstance(hello, Hello)
    made.said(Hello(nonce="cafe0001", peer=hello.nonce, deadline_ms=200))
    assert made.names["state"] == "IDLE"
    yield made
    assert made.hears.counters.total() == 0


def test_the_pseudo_code_opens_a_session_with_the_gate_and_gets_verdicts() -> None:
    gate = Driven(budget_ns=200 * MS).ready()
    gate.raw.clear()
    robot = Pseudo(gate)
    robot.run_ms(200)
    assert robot.names["state"] == "IDLE"
    for weld, score, result in (("W1", 0.1, "ACCEPT"), ("W2", 0.9, "REJECT"), ("W3", 0.1, "ACCEPT")):
        assert robot.call("ask_weld", "P1", weld, "T2")
        robot.run_ms(20)
        gate.report(gate.told[-1].trigger, weld=weld, score=score)
        robot.run_ms(20)
        assert robot.names["result"] == result
    assert [row.done for row in gate.dispositions] == ["ACCEPTED", "REJECTED", "ACCEPTED"]
    gate.check_books()
    gate.check_order()


def test_the_pseudo_code_rejects_on_silence_and_says_hello_with_a_fresh_nonce(robot: Pseudo) -> None:
    session = robot.names["session"]
    assert robot.call("ask_weld", "P1", "W1", "")
    robot.run_ms(260)
    assert robot.names["result"] == "REJECT"
    assert robot.names["state"] == "NO SESSION"
    robot.run_ms(100)
    hellos = [message for message in robot.heard() if isinstance(message, Hello)]
    assert hellos
    assert all(hello.nonce != session[:8] for hello in hellos)


def _verdict(robot: Pseudo, **changes: object) -> Verdict:
    fields = {"part": "P1", "weld": "W1", "outcome": Outcome.ACCEPT, "reason": Reason.OK, "sequence": 1, "session": robot.names["session"]}
    return Verdict(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"part": "P2"},
        {"weld": "W11"},
        {"sequence": 2},
        {"session": "00000001cafe0002"},
        {"outcome": Outcome.REJECT, "reason": Reason.DEFECT},
        {"outcome": Outcome.NO_VERDICT, "reason": Reason.SESSION_LOST},
        {"reason": Reason.LATCHED},
    ],
)
def test_the_pseudo_code_accepts_no_verdict_that_differs_in_a_field(robot: Pseudo, changes: dict[str, object]) -> None:
    robot.call("ask_weld", "P1", "W1", "T2")
    robot.said(_verdict(robot, **changes))
    assert robot.names["result"] != "ACCEPT"
    assert not any(isinstance(message, Ack) and message.done is Done.ACCEPTED for message in robot.heard())


def test_the_pseudo_code_accepts_the_verdict_that_is_equal_in_every_field_once(robot: Pseudo) -> None:
    robot.call("ask_weld", "P1", "W1", "T2")
    robot.said(_verdict(robot))
    assert robot.names["result"] == "ACCEPT"
    robot.said(_verdict(robot))
    acks = [message for message in robot.heard() if isinstance(message, Ack)]
    assert [ack.done for ack in acks] == [Done.ACCEPTED] * 2
    robot.call("ask_weld", "P1", "W1", "T2")
    robot.said(_verdict(robot))
    assert robot.names["result"] == ""


def test_the_pseudo_code_rejects_a_verdict_after_its_own_deadline(robot: Pseudo) -> None:
    robot.call("ask_weld", "P1", "W1", "T2")
    counter = iter(range(1, 100))
    for _ in range(6):
        beat = messages.Heartbeat(session=robot.names["session"], state=messages.State.READY, counter=next(counter))
        robot.said(beat)
        robot.run_ms(60)
    assert robot.names["result"] == "REJECT"
    robot.heard()
    robot.said(_verdict(robot))
    assert robot.names["result"] == "REJECT"
    assert [message.done for message in robot.heard() if isinstance(message, Ack)] == [Done.REJECTED]


@pytest.mark.parametrize(("missing", "first", "reason", "result"), [(0, None, Reason.OK, "ACCEPT"), (1, "W2", Reason.OK, "REJECT")])
def test_the_pseudo_code_accepts_a_part_only_when_nothing_is_missing(
    robot: Pseudo, missing: int, first: str | None, reason: Reason, result: str
) -> None:
    robot.call("ask_part", "P1", "R1")
    session = robot.names["session"]
    answer = PartVerdict(session=session, sequence=1, part="P1", missing=missing, first=first, outcome=Outcome.ACCEPT, reason=reason)
    robot.said(answer)
    assert robot.names["result"] == result


@pytest.mark.parametrize("hello", [{"must": 0x0004}, {"must": 0x0002}, {"major": 2}, {"profile": "P"}])
def test_the_pseudo_code_opens_no_session_with_a_gate_it_does_not_understand(hello: dict[str, object]) -> None:
    robot = Pseudo()
    robot.call("cycle")
    robot.said(Hello(nonce="cafe0001", peer="00000001", **hello))  # type: ignore[arg-type]
    assert robot.names["state"] == "NO SESSION"


def test_the_pseudo_code_rejects_what_the_gate_refuses(robot: Pseudo) -> None:
    robot.call("ask_weld", "P1", "W1", "T2")
    robot.said(Nak(session=robot.names["session"], sequence=1, reason=Refusal.BUSY))
    assert (robot.names["result"], robot.names["state"]) == ("REJECT", "IDLE")


@pytest.mark.parametrize("position", range(7))
def test_the_pseudo_code_hears_no_broken_frame(robot: Pseudo, position: int) -> None:
    robot.call("ask_weld", "P1", "W1", "T2")
    frame = bytearray(encode_frame(_verdict(robot), "G"))
    frame[1 + position * 9] ^= 1
    robot.arrived += frame.decode("latin-1")
    robot.call("cycle")
    assert robot.names["result"] == ""
