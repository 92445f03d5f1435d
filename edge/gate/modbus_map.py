"""The register map of the Modbus profile as values: blocks of 16-bit registers in, messages out, and back; pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from edge.config import NAME
from edge.contract import Outcome, Reason
from edge.gate.messages import CODES, Ack, ChangeOver, Done, Heartbeat, Hello, Message, PartQuery, Refusal, State, Trigger

COMMAND_BASE, LIFE_BASE, ANSWER_BASE = 0x0000, 0x0080, 0x0100
"""Register addresses (counted from 0) of the two blocks the robot writes and the one it reads; each in one transaction."""
NAME_REGISTERS = 12
NO_SESSION = "0" * 16
REASONS: tuple[Reason, ...] = (
    Reason.OK,
    Reason.DEFECT,
    Reason.NO_FRAME,
    Reason.DEADLINE,
    Reason.FRAME_LATE,
    Reason.FRAME_HEADER,
    Reason.FRAME_PARTS,
    Reason.FRAME_SIZE,
    Reason.FRAME_SHAPE,
    Reason.FRAME_DTYPE,
    Reason.FRAME_KIND,
    Reason.FRAME_CRC,
    Reason.FRAME_NONFINITE,
    Reason.FRAME_EMPTY,
    Reason.FRAME_UNITS,
    Reason.FRAME_UNBOUND,
    Reason.FRAME_PART,
    Reason.FRAME_DUPLICATE,
    Reason.FRAME_FROZEN,
    Reason.FRAME_GAP,
    Reason.TYPOLOGY_UNKNOWN,
    Reason.TYPOLOGY_DIFFERS,
    Reason.ROUTER_UNSURE,
    Reason.CROSS_CHECK,
    Reason.ENGINE_FAILED,
    Reason.GPU_FAULT,
    Reason.SCORE_INVALID,
    Reason.INSPECTOR_DOWN,
    Reason.NOT_READY,
    Reason.BUNDLE_FAULT,
    Reason.BUNDLE_DIFFERS,
    Reason.RECORD_FAULT,
    Reason.RECORD_LATE,
    Reason.BUSY,
    Reason.SESSION_LOST,
    Reason.GATE_RESTARTED,
    Reason.INTERNAL,
    Reason.RECIPE,
    Reason.WELD_UNKNOWN,
    Reason.WELDS_MISSING,
    Reason.PARTS_OPEN,
    Reason.LATCHED,
    Reason.ARCHIVE,
    Reason.TOO_SLOW,
    Reason.CHALLENGE,
    Reason.CAMERA_OPEN,
    Reason.CAMERA_REFUSED,
)
"""A reason's number is its place here; robots are programmed with these numbers, so new ones go to the end."""
REFUSALS: tuple[Refusal, ...] = (
    Refusal.BUSY,
    Refusal.SESSION,
    Refusal.SEQUENCE,
    Refusal.VERSION,
    Refusal.PROFILE,
    Refusal.DEADLINE,
    Refusal.RECIPE,
    Refusal.PART,
)
"""As REASONS, but counted from 1: 0 means none."""
DONE_WORDS = {Done.ACCEPTED: 0x01DB, Done.REJECTED: 0xFE24}
"""Each the other's complement, and 8 bits away from every verdict's code."""
STATES: tuple[State, ...] = (State.READY, State.BUSY, State.WAIT, State.FAULT)


def type_word(letter: str) -> int:
    """A letter and its complement in one register: `T` is AB54h. Two letters differ in at least two bits, mostly in more."""
    return (ord(letter) ^ 0xFF) << 8 | ord(letter)


def _guarded(number: int) -> int:
    return (number ^ 0xFF) << 8 | number


NOTHING, WELD, PART, RECIPE = type_word("-"), type_word("V"), type_word("W"), type_word("C")
"""What the answer block's `kind` says its answer is."""
STATE_WORDS = {state: _guarded(number) for number, state in enumerate(STATES, 1)}


class Field(NamedTuple):
    """Some registers of a block; `unpack` gives None for what is not allowed there."""

    name: str
    size: int
    pack: Callable[[Any], list[int]]
    unpack: Callable[[Sequence[int]], Any]


def _word(name: str) -> Field:
    return Field(name, 1, lambda value: [value], _only)


def _only(words: Sequence[int]) -> int:
    (word,) = words
    return word


def _hexadecimal(name: str, size: int) -> Field:
    return Field(
        name,
        size,
        lambda text: [int(text[4 * i : 4 * i + 4], 16) for i in range(size)],
        lambda words: "".join(f"{word:04x}" for word in words),
    )


def _pack_name(text: str | None) -> list[int]:
    data = (text or "").encode("ascii").ljust(2 * NAME_REGISTERS, b"\0")
    return [data[i] << 8 | data[i + 1] for i in range(0, len(data), 2)]


def _unpack_name(words: Sequence[int]) -> str | None:
    data = b"".join(word.to_bytes(2, "big") for word in words)
    text = data.rstrip(b"\0").decode("latin-1")
    return text if text == "" or NAME.match(text) else None


def _name(name: str) -> Field:
    return Field(name, NAME_REGISTERS, _pack_name, _unpack_name)


class Block:
    """Fields one after another and a CRC-32 in the last two registers, over all before it, seeded with the map's schema."""

    def __init__(self, name: str, base: int, *fields: Field) -> None:
        self.name, self.base, self.fields = name, base, fields
        self.size = sum(field.size for field in fields) + 2
        schema = f"cordon-modbus 1;{name};" + " ".join(f"{field.name}:{field.size}" for field in fields)
        self.seed = zlib.crc32(schema.encode("ascii"))

    def offsets(self) -> dict[str, int]:
        """Where each field begins, counted from the block's base; `crc` is the last."""
        found, at = {}, 0
        for field in self.fields:
            found[field.name] = at
            at += field.size
        return {**found, "crc": at}

    def pack(self, values: dict[str, Any]) -> list[int]:
        """All registers of the block."""
        words = [word for field in self.fields for word in field.pack(values[field.name])]
        crc = self._crc(words)
        return [*words, crc >> 16, crc & 0xFFFF]

    def unpack(self, words: Sequence[int]) -> dict[str, Any] | None:
        """The fields by name, or None when length, CRC or a name is wrong."""
        if len(words) != self.size or self._crc(words[:-2]) != words[-2] << 16 | words[-1]:
            return None
        values: dict[str, Any] = {}
        at = 0
        for field in self.fields:
            values[field.name] = field.unpack(words[at : at + field.size])
            at += field.size
        return None if any(value is None for value in values.values()) else values

    def _crc(self, words: Sequence[int]) -> int:
        return zlib.crc32(b"".join(word.to_bytes(2, "big") for word in words), self.seed)


COMMAND = Block(
    "command",
    COMMAND_BASE,
    _word("type"),
    _hexadecimal("session", 4),
    _word("sequence"),
    _name("part"),
    _name("weld"),
    _name("typology"),
    _word("outcome"),
    _word("done"),
    _word("major"),
    _word("minor"),
    _word("lowest"),
    _word("must"),
    _word("deadline_ms"),
)
"""Written by the robot: hello (H), trigger (T), confirmation (A), change-over (C), part query (P). What a type does not use is 0."""
LIFE = Block("life", LIFE_BASE, _word("type"), _hexadecimal("session", 4), _word("state"), _word("counter"))
"""Written by the robot every heartbeat interval (B)."""
ANSWER = Block(
    "answer",
    ANSWER_BASE,
    _word("counter"),
    _word("state"),
    _hexadecimal("session", 4),
    _hexadecimal("bundle", 2),
    _word("major"),
    _word("minor"),
    _word("lowest"),
    _word("must"),
    _word("budget_ms"),
    _word("acknowledged"),
    _hexadecimal("refused_session", 4),
    _word("refused_sequence"),
    _word("refusal"),
    _word("kind"),
    _word("sequence"),
    _name("part"),
    _name("weld"),
    _word("code"),
    _word("complement"),
    _word("reason"),
    _word("missing"),
)
"""Read by the robot, whole and in one transaction."""

_UNUSED = {"part": "", "weld": "", "typology": "", "outcome": 0, "done": 0, "sequence": 0}
_UNUSED |= {"major": 0, "minor": 0, "lowest": 0, "must": 0, "deadline_ms": 0}
_OUTCOMES = {code: outcome for outcome, code in CODES.items()}
_DONE = {word: done for done, word in DONE_WORDS.items()}
_STATES = {word: state for state, word in STATE_WORDS.items()}


def command_registers(message: Message) -> tuple[Block, list[int]]:
    """What a robot writes to say this. Raises TypeError for a message that only the gate sends."""
    if isinstance(message, Heartbeat):
        values = {"type": type_word("B"), "session": message.session, "state": STATE_WORDS[message.state], "counter": message.counter}
        return LIFE, LIFE.pack(values)
    fields: dict[str, Any]
    if isinstance(message, Hello):
        fields = {"type": type_word("H"), "session": f"{message.nonce}00000000", "must": message.must, "deadline_ms": message.deadline_ms}
        fields |= {"major": message.major, "minor": message.minor, "lowest": message.lowest}
    elif isinstance(message, Trigger):
        fields = {"type": type_word("T"), "part": message.part, "weld": message.weld, "typology": message.typology or ""}
    elif isinstance(message, Ack):
        fields = {"type": type_word("A"), "outcome": CODES[message.outcome], "done": DONE_WORDS[message.done]}
    elif isinstance(message, ChangeOver):
        fields = {"type": type_word("C"), "part": message.recipe}
    elif isinstance(message, PartQuery):
        fields = {"type": type_word("P"), "part": message.part, "typology": message.recipe}
    else:
        raise TypeError(f"{type(message).__name__} is not written by a robot")
    if not isinstance(message, Hello):
        fields |= {"session": message.session, "sequence": message.sequence}
    return COMMAND, COMMAND.pack({**_UNUSED, **fields})


def read_command(block: Block, words: Sequence[int]) -> Message | None:
    """The robot's message, or None when the block breaks the map: CRC, type, a name, a word, or something in an unused register."""
    values = block.unpack(words)
    if values is None:
        return None
    try:
        message = _message(block, values)
        # Written back, it must give the same registers: nothing may hide where this type has no field.
        return message if message is not None and command_registers(message)[1] == list(words) else None
    except KeyError:  # a word that is none of its kind
        return None


def _message(block: Block, values: dict[str, Any]) -> Message | None:
    kind, session = values["type"], values["session"]
    if block is LIFE:
        if kind != type_word("B"):
            return None
        return Heartbeat(session=session, state=_STATES[values["state"]], counter=values["counter"])
    if kind == type_word("H"):
        names = ("major", "minor", "lowest", "must", "deadline_ms")
        return Hello(nonce=session[:8], **{name: values[name] for name in names})
    sequence, part = values["sequence"], values["part"]
    if sequence == 0:
        return None
    if kind == type_word("A"):
        return Ack(session=session, sequence=sequence, outcome=_OUTCOMES[values["outcome"]], done=_DONE[values["done"]])
    if not part:
        return None
    if kind == type_word("T") and values["weld"]:
        return Trigger(session=session, sequence=sequence, part=part, weld=values["weld"], typology=values["typology"] or None)
    if kind == type_word("C"):
        return ChangeOver(session=session, sequence=sequence, recipe=part)
    if kind == type_word("P") and values["typology"]:
        return PartQuery(session=session, sequence=sequence, part=part, recipe=values["typology"])
    return None


def empty_answer() -> dict[str, Any]:
    """The answer block of a gate without a session."""
    return {
        "counter": 0,
        "state": STATE_WORDS[State.WAIT],
        "session": NO_SESSION,
        "bundle": "0" * 8,
        "major": 0,
        "minor": 0,
        "lowest": 0,
        "must": 0,
        "budget_ms": 0,
        "acknowledged": 0,
        "refused_session": NO_SESSION,
        "refused_sequence": 0,
        "refusal": 0,
        **NO_ANSWER,
    }


NO_ANSWER = {"kind": NOTHING, "sequence": 0, "part": "", "weld": "", "code": 0, "complement": 0, "reason": 0, "missing": 0}
"""The part of the answer block that holds a verdict, without one: no robot may let a part pass by it."""


def code_words(outcome: Outcome) -> tuple[int, int]:
    """A verdict's code word and its complement."""
    return CODES[outcome], CODES[outcome] ^ 0xFFFF
