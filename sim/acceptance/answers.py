"""Every verdict that must not make a robot accept: right but for one thing, each with the rule it breaks."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

from edge.contract import Outcome, Reason
from edge.gate.codec import MAX_FRAME_BYTES, SEED
from edge.gate.fields import outcome_fields
from edge.gate.messages import Trigger
from sim.acceptance.played_gate import PlayedGate
from sim.acceptance.trial import GOOD

MAX_SEQUENCE = 0xFFFF


class Wrong(NamedTuple):
    """One wrong answer: its name, the rule, and the bytes on the wire."""

    check: str
    rule: str
    answer: Callable[[PlayedGate, Trigger], bytes]


def verdict(trigger: Trigger, *tail: str, kind: str = "GV", **changes: str) -> bytes:
    """The body of a verdict on this trigger; `tail` in place of word, code, complement and reason."""
    asked = {"session": trigger.session, "sequence": str(trigger.sequence), "part": trigger.part, "weld": trigger.weld} | changes
    return ",".join((kind, *asked.values(), *(tail or GOOD))).encode("ascii")


def accept(gate: PlayedGate) -> Callable[[Trigger], bytes]:
    """The one right ACCEPT."""
    return lambda trigger: gate.guarded(verdict(trigger))


def reject(gate: PlayedGate, outcome: Outcome = Outcome.REJECT, reason: Reason = Reason.DEFECT) -> Callable[[Trigger], bytes]:
    """A proper REJECT or VOID."""
    return lambda trigger: gate.guarded(verdict(trigger, *outcome_fields(outcome).split(","), reason.value))


def other(name: str) -> str:
    """A name that differs in its last character."""
    return name[:-1] + ("0" if name[-1] != "0" else "1")


def _longer(name: str) -> str:
    """A name of which this one is the beginning (or, of the longest, one that is its beginning)."""
    return name + "1" if len(name) < 24 else name[:-1]


def _body(make: Callable[[Trigger], bytes]) -> Callable[[PlayedGate, Trigger], bytes]:
    return lambda gate, trigger: gate.guarded(make(trigger))


def _field(check: str, what: str, **change: Callable[[Trigger], str]) -> Wrong:
    rule = f"accept only if {what} is that of the open trigger"
    return Wrong(check, rule, _body(lambda trigger: verdict(trigger, **{name: make(trigger) for name, make in change.items()})))


def _tail(check: str, rule: str, *tail: str) -> Wrong:
    return Wrong(check, rule, _body(lambda trigger: verdict(trigger, *tail)))


def _session_end(trigger: Trigger) -> str:
    return other(trigger.session)


def _session_begin(trigger: Trigger) -> str:
    return other(trigger.session[:8]) + trigger.session[8:]


WRONG_FIELDS = (
    _field("another session, gate's half", "the session", session=_session_end),
    _field("another session, robot's half", "the session", session=_session_begin),
    _field("the next sequence", "the sequence", sequence=lambda t: str(t.sequence % MAX_SEQUENCE + 1)),
    _field("the sequence before", "the sequence", sequence=lambda t: str(t.sequence - 1 or MAX_SEQUENCE)),
    _field("another part", "the part", part=lambda t: other(t.part)),
    _field("a part that begins the same", "the part", part=lambda t: _longer(t.part)),
    _field("another weld", "the weld", weld=lambda t: other(t.weld)),
    _field("a weld that begins the same", "the weld", weld=lambda t: _longer(t.weld)),
    _tail("ACCEPT with the code of REJECT", "accept only with the code F85A", "ACCEPT", "C5B0", "3A4F", "OK"),
    _tail("one bit of the code turned", "accept only with the code F85A", "ACCEPT", "F85B", "07A5", "OK"),
    _tail("one bit of the complement turned", "accept only with the complement 07A5", "ACCEPT", "F85A", "07A4", "OK"),
    _tail("code and complement missing", "accept only with code and complement", "ACCEPT", "", "", "OK"),
    _tail("REJECT with the code of ACCEPT", "accept only with the word ACCEPT", "REJECT", "F85A", "07A5", "OK"),
    _tail("an unknown word", "accept only with the word ACCEPT", "ACCEPTED", "F85A", "07A5", "OK"),
    _tail("ACCEPT because of DEFECT", "accept only with the reason OK", "ACCEPT", "F85A", "07A5", "DEFECT"),
    _tail("ACCEPT because of LATCHED", "accept only with the reason OK", "ACCEPT", "F85A", "07A5", "LATCHED"),
    _tail("ACCEPT without a reason", "accept only with the reason OK", "ACCEPT", "F85A", "07A5", ""),
    _tail("a field too many", "accept only with no field more or less", *GOOD, "OK"),
    _tail("a field too few", "accept only with no field more or less", *GOOD[:-1]),
    _tail("a space behind the word", "a verdict is compared character by character", "ACCEPT ", *GOOD[1:]),
    _field("a sequence with a zero before it", "the sequence", sequence=lambda t: f"0{t.sequence}"),
    _field("a sequence 256 further", "the sequence", sequence=lambda t: str(t.sequence + 256)),
    _field("a sequence 65536 further", "the sequence", sequence=lambda t: str(t.sequence + MAX_SEQUENCE + 1)),
    Wrong("its own letter", "a frame with the robot's own letter is an echo", _body(lambda t: verdict(t, kind="RV"))),
    Wrong("another type of frame", "accept only type V for a weld", _body(lambda t: verdict(t, kind="GX"))),
)


def _turned(place: float) -> Callable[[PlayedGate, Trigger], bytes]:
    """One bit turned, so far along the frame's body (0..1), with the check left as it was."""

    def broken(gate: PlayedGate, trigger: Trigger) -> bytes:
        body = verdict(trigger)
        frame = bytearray(gate.guarded(body))
        frame[1 + int(place * (len(body) - 1))] ^= 1
        return bytes(frame)

    return broken


def _check_turned(gate: PlayedGate, trigger: Trigger) -> bytes:
    """The last digit of the CRC (or of the second copy) is another one."""
    frame = gate.guarded(verdict(trigger))
    return frame[:-2] + (b"0" if frame[-2:-1] != b"0" else b"1") + b"\r"


def _check_begun(gate: PlayedGate, trigger: Trigger) -> bytes:
    """The first digit of the CRC (or character of the second copy) is another one."""
    frame, place = gate.guarded(verdict(trigger)), len(verdict(trigger)) + 2
    return frame[:place] + (b"0" if frame[place : place + 1] != b"0" else b"1") + frame[place + 1 :]


def _plain_crc(gate: PlayedGate, trigger: Trigger) -> bytes:
    body = verdict(trigger)
    if gate.framing == "twice":
        return b"$%b=\r" % body
    return b"$%b*%08X\r" % (body, zlib.crc32(body))


def _no_check(_gate: PlayedGate, trigger: Trigger) -> bytes:
    return b"$" + verdict(trigger) + b"\r"


def _moved_crc(gate: PlayedGate, trigger: Trigger) -> bytes:
    """The CRC of a REJECT under an ACCEPT: two frames mixed."""
    body, other = verdict(trigger), verdict(trigger, *outcome_fields(Outcome.REJECT).split(","), "DEFECT")
    if gate.framing == "twice":
        return b"$%b=%b\r" % (other, body)
    return b"$%b*%08X\r" % (body, zlib.crc32(other, SEED))


def _cut(gate: PlayedGate, trigger: Trigger) -> bytes:
    frame = gate.guarded(verdict(trigger))
    return frame[: len(frame) // 2] + b"\r"


def _lost_bytes(gate: PlayedGate, trigger: Trigger) -> bytes:
    frame = gate.guarded(verdict(trigger))
    middle = len(frame) // 3
    return frame[:middle] + frame[middle + 3 :]


def _begun_anew(gate: PlayedGate, trigger: Trigger) -> bytes:
    """A `$` inside a frame begins a new one: the rest is none."""
    frame = gate.guarded(verdict(trigger))
    return frame[:20] + b"$" + frame[20:]


def _too_long(gate: PlayedGate, trigger: Trigger) -> bytes:
    body = verdict(trigger, *GOOD[:-1], "OK" + "K" * (2 * MAX_FRAME_BYTES))
    return gate.guarded(body)


BROKEN_FRAMES = (
    *(Wrong(f"one bit turned in the body, at {part}", "a frame whose check is wrong is none", _turned(place))
      for part, place in (("its type", 0.03), ("the session", 0.2), ("the middle", 0.5), ("the word", 0.75), ("its end", 1.0))),
    Wrong("one digit of the check wrong", "a frame whose check is wrong is none", _check_turned),
    Wrong("the first digit of the check wrong", "all of the check counts", _check_begun),
    Wrong("the check of another protocol", "the CRC starts with CBA52D40, so that no other protocol is understood", _plain_crc),
    Wrong("no check at all", "a frame without its check is none", _no_check),
    Wrong("the check of a REJECT", "a frame whose check is wrong is none", _moved_crc),
    Wrong("half a frame", "a frame is whole or none", _cut),
    Wrong("three bytes lost", "a frame is whole or none", _lost_bytes),
    Wrong("$ in the middle", "a $ inside a frame begins a new one", _begun_anew),
    Wrong("a frame that is too long", "what grows longer than a frame may be is dropped", _too_long),
)  # fmt: skip
