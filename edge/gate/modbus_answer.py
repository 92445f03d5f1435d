"""The answer block of the Modbus profile: the gate's messages as one image of registers, and what a robot reads out of it; pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.contract import Outcome
from edge.gate.messages import (
    CODES,
    ChangeOver,
    Heartbeat,
    Hello,
    Message,
    Nak,
    PartVerdict,
    State,
    TriggerAck,
    Verdict,
)
from edge.gate.modbus_map import (
    ANSWER,
    NO_ANSWER,
    NO_SESSION,
    PART,
    REASONS,
    RECIPE,
    REFUSALS,
    STATE_WORDS,
    WELD,
    code_words,
    empty_answer,
)

_OUTCOMES = {code: outcome for outcome, code in CODES.items()}
_STATES = {word: state for state, word in STATE_WORDS.items()}


class AnswerImage:
    """What the next read will give; an ACCEPT vanishes from it when its time is over."""

    def __init__(self) -> None:
        self._values = empty_answer()
        self._accept_until_ns: int | None = None

    def clear(self) -> None:
        """The session is over: nothing said in it can be read any more."""
        kept = {name: self._values[name] for name in ("counter", "bundle")}
        self._values = {**empty_answer(), **kept}
        self._accept_until_ns = None

    def withdraw(self, sequence: int) -> None:
        """Nothing is answered under this sequence any more."""
        if self._values["sequence"] == sequence:
            self._values.update(NO_ANSWER)
            self._accept_until_ns = None

    def put(self, message: Message, not_after_ns: int) -> None:
        """Take up one message of the gate."""
        values = self._values
        if isinstance(message, Hello):
            names = ("major", "minor", "lowest", "must")
            values.update({name: getattr(message, name) for name in names}, budget_ms=message.deadline_ms)
            self._begin(message.peer + message.nonce)
        elif isinstance(message, Heartbeat):
            values.update(session=message.session, state=STATE_WORDS[message.state], counter=message.counter, bundle=message.bundle)
        elif isinstance(message, TriggerAck):
            values["acknowledged"] = message.sequence
        elif isinstance(message, Nak):
            number = REFUSALS.index(message.reason) + 1
            values.update(refused_session=message.session, refused_sequence=message.sequence, refusal=number)
        elif isinstance(message, (Verdict, PartVerdict, ChangeOver)) and message.session == values["session"]:
            self._answer(message, not_after_ns)

    def _begin(self, session: str) -> None:
        if self._values["session"] != session:
            self._values.update(session=session, acknowledged=0, refused_session=NO_SESSION, refused_sequence=0, refusal=0, **NO_ANSWER)
            self._accept_until_ns = None

    def _answer(self, message: Verdict | PartVerdict | ChangeOver, not_after_ns: int) -> None:
        fields: dict[str, Any] = {**NO_ANSWER, "sequence": message.sequence}
        self._accept_until_ns = None
        if isinstance(message, ChangeOver):
            fields.update(kind=RECIPE, part=message.recipe)
        else:
            code, complement = code_words(message.outcome)
            fields.update(part=message.part, code=code, complement=complement, reason=REASONS.index(message.reason))
            if isinstance(message, Verdict):
                fields.update(kind=WELD, weld=message.weld)
            else:
                fields.update(kind=PART, weld=message.first or "", missing=message.missing)
            if message.outcome is Outcome.ACCEPT:
                self._accept_until_ns = not_after_ns
        self._values.update(fields)

    def not_after_ns(self, now_ns: int) -> int | None:
        """When an image made now must have left at the latest; None when there is no ACCEPT in it."""
        self._expire(now_ns)
        return self._accept_until_ns

    def registers(self, now_ns: int) -> list[int]:
        """The block as it is now."""
        self._expire(now_ns)
        return ANSWER.pack(self._values)

    def _expire(self, now_ns: int) -> None:
        if self._accept_until_ns is not None and now_ns >= self._accept_until_ns:
            self._values.update(NO_ANSWER)
            self._accept_until_ns = None


def read_answer(words: Sequence[int]) -> list[Message] | None:
    """What a robot reads: the gate's messages that this image stands for; None when it must not be used (CRC, a word, a name).

    The order is that of the ASCII line: hello, heartbeat, refusal, trigger's acknowledgement, answer.
    """
    values = ANSWER.unpack(words)
    if values is None:
        return None
    try:
        return [message for message in (_hello(values), _beat(values), _nak(values), _acknowledged(values), _told(values)) if message]
    except (KeyError, IndexError):
        return None


def _hello(values: dict[str, Any]) -> Message | None:
    session = values["session"]
    if session == NO_SESSION:
        return None
    names = ("major", "minor", "lowest", "must")
    return Hello(nonce=session[8:], peer=session[:8], deadline_ms=values["budget_ms"], **{name: values[name] for name in names})


def _beat(values: dict[str, Any]) -> Message | None:
    state: State = _STATES[values["state"]]
    if values["session"] == NO_SESSION:
        return None
    return Heartbeat(session=values["session"], state=state, counter=values["counter"], bundle=values["bundle"])


def _nak(values: dict[str, Any]) -> Message | None:
    if values["refusal"] == 0:
        return None
    return Nak(session=values["refused_session"], sequence=values["refused_sequence"], reason=REFUSALS[values["refusal"] - 1])


def _acknowledged(values: dict[str, Any]) -> Message | None:
    if values["acknowledged"] == 0:
        return None
    return TriggerAck(session=values["session"], sequence=values["acknowledged"])


def _told(values: dict[str, Any]) -> Message | None:
    key = {"session": values["session"], "sequence": values["sequence"]}
    if values["kind"] == RECIPE:
        return ChangeOver(**key, recipe=values["part"])
    if values["kind"] not in (WELD, PART):
        return None if {name: values[name] for name in NO_ANSWER} == NO_ANSWER else _broken()
    if values["code"] ^ values["complement"] != 0xFFFF:
        return _broken()
    verdict: dict[str, Any] = {**key, "part": values["part"], "outcome": _OUTCOMES[values["code"]], "reason": REASONS[values["reason"]]}
    if values["kind"] == WELD:
        return Verdict(**verdict, weld=values["weld"])
    return PartVerdict(**verdict, missing=values["missing"], first=values["weld"] or None)


def _broken() -> Message:
    raise KeyError("an answer whose words contradict each other")
