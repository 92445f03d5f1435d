"""The serial line's frames as values: bytes in, messages out, and back; pure, bounded, trusting nothing but a whole frame."""

from __future__ import annotations

import enum
import re
import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from edge.contract import Outcome, Reason
from edge.gate.messages import (
    CODES,
    WORDS,
    Ack,
    ChangeOver,
    Direction,
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

MAX_FRAME_BYTES = 124
"""From `$` to the terminating CR, both counted."""
SCHEMA = (
    "cordon-serial 1.1;H nonce peer major minor lowest must profile deadline_ms;T session sequence part weld typology;K session sequence;"
    "N session sequence reason;V session sequence part weld word code complement reason;A session sequence word disposition;"
    "B session state counter bundle;C session sequence recipe;P session sequence part;"
    "W session sequence part missing first word code complement reason;ACCEPT=F85A REJECT=C5B0 VOID=1C87"
)
SEED = zlib.crc32(SCHEMA.encode("ascii"))
"""Start value of every frame's CRC-32: two releases that disagree on the fields cannot read each other."""

_Kind: TypeAlias = tuple[str, Callable[[str], Any], Callable[[Any], str]]

_OUTCOMES = {word: outcome for outcome, word in WORDS.items()}
_HEX8: _Kind = (r"[0-9a-f]{8}", str, str)
_SESSION: _Kind = (r"[0-9a-f]{16}", str, str)
_NUMBER: _Kind = (r"0|[1-9][0-9]{0,4}", int, str)
_COUNT: _Kind = (r"0|[1-9][0-9]{0,2}", int, str)
_MUST: _Kind = (r"[0-9A-F]{4}", lambda text: int(text, 16), lambda value: f"{value:04X}")
_NAME: _Kind = (r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}", str, str)
_OPTIONAL: _Kind = (rf"(?:{_NAME[0]})?", lambda text: text or None, lambda value: value or "")
_PROFILE: _Kind = ("[HP]", str, str)
_WORD: _Kind = ("|".join(_OUTCOMES), _OUTCOMES.__getitem__, WORDS.__getitem__)


def _enumeration(kind: type[enum.Enum]) -> _Kind:
    return "|".join(str(member.value) for member in kind), kind, lambda value: str(value.value)


_FIELDS: dict[str, tuple[type[Any], dict[str, _Kind]]] = {
    "H": (
        Hello,
        {
            "nonce": _HEX8,
            "peer": _HEX8,
            "major": _NUMBER,
            "minor": _NUMBER,
            "lowest": _NUMBER,
            "must": _MUST,
            "profile": _PROFILE,
            "deadline_ms": _NUMBER,
        },
    ),
    "T": (Trigger, {"session": _SESSION, "sequence": _NUMBER, "part": _NAME, "weld": _NAME, "typology": _OPTIONAL}),
    "K": (TriggerAck, {"session": _SESSION, "sequence": _NUMBER}),
    "N": (Nak, {"session": _SESSION, "sequence": _NUMBER, "reason": _enumeration(Refusal)}),
    "V": (
        Verdict,
        {"session": _SESSION, "sequence": _NUMBER, "part": _NAME, "weld": _NAME, "outcome": _WORD, "reason": _enumeration(Reason)},
    ),
    "A": (Ack, {"session": _SESSION, "sequence": _NUMBER, "outcome": _WORD, "done": _enumeration(Done)}),
    "B": (Heartbeat, {"session": _SESSION, "state": _enumeration(State), "counter": _NUMBER, "bundle": _HEX8}),
    "C": (ChangeOver, {"session": _SESSION, "sequence": _NUMBER, "recipe": _NAME}),
    "P": (PartQuery, {"session": _SESSION, "sequence": _NUMBER, "part": _NAME}),
    "W": (
        PartVerdict,
        {
            "session": _SESSION,
            "sequence": _NUMBER,
            "part": _NAME,
            "missing": _COUNT,
            "first": _OPTIONAL,
            "outcome": _WORD,
            "reason": _enumeration(Reason),
        },
    ),
}
_LETTERS = {kind: letter for letter, (kind, _) in _FIELDS.items()}
_PATTERNS = {letter: [re.compile(field[0]) for field in fields.values()] for letter, (_, fields) in _FIELDS.items()}
_BOTH_WAYS, _FROM_ROBOT, _FROM_GATE = "HBC", "TAP", "KNVW"
_CODES_AT = {"V": 5, "W": 6}
"""Position of the code words among the fields of a verdict."""
_FRAME = re.compile(rb"\$([RG])([A-Z]),([ -#%-)+-~]*)\*([0-9A-F]{8})")


def encode_frame(message: Message, direction: Direction) -> bytes:
    """One message as one frame including its CR. Raises ValueError when a field does not fit the protocol."""
    letter = _LETTERS[type(message)]
    _, fields = _FIELDS[letter]
    if letter not in _BOTH_WAYS + (_FROM_ROBOT if direction == "R" else _FROM_GATE):
        raise ValueError(f"{type(message).__name__} is not sent in direction {direction}")
    texts = [to_text(getattr(message, name)) for name, (_, _, to_text) in fields.items()]
    for name, text, pattern in zip(fields, texts, _PATTERNS[letter], strict=True):
        if pattern.fullmatch(text) is None or (fields[name] is _NUMBER and int(text) > 0xFFFF):
            raise ValueError(f"{type(message).__name__}.{name} does not fit the serial line: {text!r}")
    if letter in _CODES_AT:
        at = _CODES_AT[letter]
        texts[at:at] = _code_words(message.outcome)  # type: ignore[union-attr]
    body = f"{direction}{letter},{','.join(texts)}".encode("ascii")
    return b"$%b*%08X\r" % (body, zlib.crc32(body, SEED))


def _code_words(outcome: Outcome) -> tuple[str, str]:
    return f"{CODES[outcome]:04X}", f"{CODES[outcome] ^ 0xFFFF:04X}"


class Counters(msgspec.Struct, kw_only=True):
    """What was thrown away since the decoder was made; only ever counted up."""

    bad_crc: int = 0
    too_long: int = 0
    garbage: int = 0
    """Runs of bytes that are no frame: noise, or a frame cut short."""
    echoed: int = 0
    """Whole frames that carry our own direction."""
    malformed: int = 0
    """Whole frames with a good CRC whose fields break the protocol: a wrong release or a wrong program."""

    def total(self) -> int:
        """Everything thrown away."""
        return self.bad_crc + self.too_long + self.garbage + self.echoed + self.malformed


class Decoder:
    """Takes bytes in any portions, gives whole messages of one direction; holds at most one frame.

    A frame begins at `$` and ends at CR or LF; only these delimiters resynchronise, never a matching CRC.
    """

    def __init__(self, accepts: Direction) -> None:
        self.counters = Counters()
        self._accepts = accepts.encode("ascii")
        self._buffer = bytearray()
        self._skipping = False

    def reset(self) -> None:
        """Forget a half frame (after the port was opened again)."""
        self._buffer.clear()
        self._skipping = False

    def feed(self, data: bytes) -> list[Message]:
        """Every message that `data` completes, in order."""
        messages = []
        for byte in data:
            if byte in b"\r\n":
                message = self._end()
                if message is not None:
                    messages.append(message)
            elif byte == 0x24:
                self._begin()
            else:
                self._append(byte)
        return messages

    def _begin(self) -> None:
        if self._buffer:
            self.counters.garbage += 1
        self._skipping = False
        self._buffer[:] = b"$"

    def _append(self, byte: int) -> None:
        if self._skipping:
            return
        self._buffer.append(byte)
        if self._buffer[0] != 0x24:
            self.counters.garbage += 1
        elif len(self._buffer) >= MAX_FRAME_BYTES:
            self.counters.too_long += 1
        else:
            return
        self._buffer.clear()
        self._skipping = True

    def _end(self) -> Message | None:
        frame = bytes(self._buffer)
        self.reset()
        return self._read(frame) if frame else None

    def _read(self, frame: bytes) -> Message | None:
        found = _FRAME.fullmatch(frame)
        if found is None:
            self.counters.garbage += 1
            return None
        direction, letter, fields, crc = found.groups()
        if zlib.crc32(frame[1:-9], SEED) != int(crc, 16):
            self.counters.bad_crc += 1
            return None
        if direction != self._accepts:
            self.counters.echoed += 1
            return None
        message = _parse(direction.decode("ascii"), letter.decode("ascii"), fields.decode("ascii").split(","))
        if message is None:
            self.counters.malformed += 1
        return message


def _parse(direction: str, letter: str, texts: list[str]) -> Message | None:
    """The message, or None when type, direction, number of fields, a field or the verdict's code words break the protocol."""
    if letter not in _BOTH_WAYS + (_FROM_ROBOT if direction == "R" else _FROM_GATE):
        return None
    kind, fields = _FIELDS[letter]
    codes: tuple[str, ...] = ()
    if letter in _CODES_AT:
        at = _CODES_AT[letter]
        codes = tuple(texts[at : at + 2])
        del texts[at : at + 2]
    if len(texts) != len(fields) or any(p.fullmatch(t) is None for p, t in zip(_PATTERNS[letter], texts, strict=True)):
        return None
    values = {name: from_text(text) for (name, (_, from_text, _)), text in zip(fields.items(), texts, strict=True)}
    if any(field is _NUMBER and values[name] > 0xFFFF for name, field in fields.items()):
        return None
    if letter in "TKVACPW" and values["sequence"] == 0:
        return None
    if letter in _CODES_AT and codes != _code_words(values["outcome"]):
        return None
    message: Message = kind(**values)
    return message
