"""Which fields each frame has and how they are spelled: the body of a frame (between `$` and its check) and the message, and back."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

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

_BOTH_WAYS, _FROM_ROBOT, _FROM_GATE = "HBC", "TAP", "KNVW"
_UP_TO_65535 = r"(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}"


class _Spelling(NamedTuple):
    """A field's text: its pattern, and both ways between text and value (`read` None: the value is the text)."""

    pattern: str
    write: Callable[[Any], str] = str
    read: Callable[[str], Any] | None = None


def _one_of(texts: Mapping[str, Any]) -> _Spelling:
    """A closed set of texts, one per value."""
    spelled = {value: text for text, value in texts.items()}
    return _Spelling("|".join(texts), spelled.__getitem__, dict(texts).__getitem__)


def _enumeration(kind: type[enum.Enum]) -> _Spelling:
    return _one_of({str(member.value): member for member in kind})


def outcome_fields(outcome: Outcome) -> str:
    """Word, code and complement of a verdict, as three fields."""
    return f"{WORDS[outcome]},{CODES[outcome]:04X},{CODES[outcome] ^ 0xFFFF:04X}"


_HEX8 = _Spelling("[0-9a-f]{8}")
_SESSION = _Spelling("[0-9a-f]{16}")
_NUMBER = _Spelling(f"0|{_UP_TO_65535}", str, int)
_SEQUENCE = _Spelling(_UP_TO_65535, str, int)
_COUNT = _Spelling("0|[1-9][0-9]{0,2}", str, int)
_MUST = _Spelling("[0-9A-F]{4}", "{:04X}".format, lambda text: int(text, 16))
_NAME = _Spelling(_NAME_PATTERN)
_OPTIONAL = _Spelling(f"(?:{_NAME_PATTERN})?", lambda value: value or "", lambda text: text or None)
_PROFILE = _Spelling("[HP]")
_WORD = _one_of({word: outcome for outcome, word in WORDS.items()})
_CODED = _one_of({outcome_fields(outcome): outcome for outcome in Outcome})
_REASON = _enumeration(Reason)

_FIELDS: dict[str, tuple[type[Any], dict[str, _Spelling]]] = {
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
    "T": (Trigger, {"session": _SESSION, "sequence": _SEQUENCE, "part": _NAME, "weld": _NAME, "typology": _OPTIONAL}),
    "K": (TriggerAck, {"session": _SESSION, "sequence": _SEQUENCE}),
    "N": (Nak, {"session": _SESSION, "sequence": _NUMBER, "reason": _enumeration(Refusal)}),
    "V": (Verdict, {"session": _SESSION, "sequence": _SEQUENCE, "part": _NAME, "weld": _NAME, "outcome": _CODED, "reason": _REASON}),
    "A": (Ack, {"session": _SESSION, "sequence": _SEQUENCE, "outcome": _WORD, "done": _enumeration(Done)}),
    "B": (Heartbeat, {"session": _SESSION, "state": _enumeration(State), "counter": _NUMBER, "bundle": _HEX8}),
    "C": (ChangeOver, {"session": _SESSION, "sequence": _SEQUENCE, "recipe": _NAME}),
    "P": (PartQuery, {"session": _SESSION, "sequence": _SEQUENCE, "part": _NAME, "recipe": _NAME}),
    "W": (
        PartVerdict,
        {
            "session": _SESSION,
            "sequence": _SEQUENCE,
            "part": _NAME,
            "missing": _COUNT,
            "first": _OPTIONAL,
            "outcome": _CODED,
            "reason": _REASON,
        },
    ),
}


class Form:
    """One type of frame in one direction: one pattern for the whole body, which has `texts` fields behind its `prefix`."""

    def __init__(self, direction: Direction, letter: str) -> None:
        self.kind, self._fields = _FIELDS[letter]
        self.prefix = f"{direction}{letter}"
        self.texts = sum(3 if field is _CODED else 1 for field in self._fields.values())
        spelled = ",".join(f"(?P<{name}>{field.pattern})" for name, field in self._fields.items())
        self._match = re.compile(f"{self.prefix},{spelled}").fullmatch
        self._read = [(name, field.read) for name, field in self._fields.items() if field.read is not None]
        self._write = [(name, field.write) for name, field in self._fields.items()]

    def read(self, body: bytes) -> Message | None:
        """The message, or None when a field breaks the protocol."""
        found = self._match(body.decode("latin-1"))
        if found is None:
            return None
        values: dict[str, Any] = found.groupdict()
        for name, read in self._read:
            values[name] = read(values[name])
        message: Message = self.kind(**values)
        return message

    def write(self, message: Message) -> bytes:
        """The body in ASCII. Raises ValueError when a field does not fit the protocol."""
        texts = {name: write(getattr(message, name)) for name, write in self._write}
        body = f"{self.prefix},{','.join(texts.values())}"
        if self._match(body) is None:
            raise self._unfit(texts)
        return body.encode("ascii")

    def _unfit(self, texts: dict[str, str]) -> ValueError:
        wrong = {name: text for name, text in texts.items() if re.fullmatch(self._fields[name].pattern, text) is None}
        return ValueError(f"{self.kind.__name__} does not fit the serial line: {wrong}")


def _forms(direction: Direction) -> tuple[Form, ...]:
    return tuple(Form(direction, letter) for letter in _BOTH_WAYS + (_FROM_ROBOT if direction == "R" else _FROM_GATE))


FORMS: dict[Direction, tuple[Form, ...]] = {"R": _forms("R"), "G": _forms("G")}
"""Every type of frame that each side may send."""
