"""What gate and robot say to each other, as values; the codecs turn them into bytes or registers."""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias

import msgspec

from edge.contract import Outcome, Reason

MAJOR, MINOR, LOWEST_MAJOR = 1, 1, 1
FEATURE_PARTS = 0x0001
"""The gate has recipes: a weld is judged under one only, and a part verdict is given for the whole part."""
FEATURE_TWICE = 0x0002
"""Degraded framing: every frame's body is sent twice instead of with a CRC."""
KNOWN_FEATURES = FEATURE_PARTS | FEATURE_TWICE
"""Bits of `must` this release understands."""
CODES = {Outcome.ACCEPT: 0xF85A, Outcome.REJECT: 0xC5B0, Outcome.NO_VERDICT: 0x1C87}
"""Any two differ in at least 10 of 16 bits and in all four hex digits; each travels with its complement."""
WORDS = {Outcome.ACCEPT: "ACCEPT", Outcome.REJECT: "REJECT", Outcome.NO_VERDICT: "VOID"}

Direction = Literal["R", "G"]
"""R: sent by the robot. G: sent by the gate."""
Framing = Literal["crc", "twice"]
"""How a frame of the ASCII line proves that it is whole: by its CRC-32, or (degraded) by a second copy."""


class Refusal(str, enum.Enum):
    """Why the gate does not take a message (the `N` frame)."""

    BUSY = "BUSY"  # another trigger is open; this one counts as rejected
    SESSION = "SESSION"  # not the session that is open: say hello
    SEQUENCE = "SEQUENCE"  # used before, or too old
    VERSION = "VERSION"  # protocol version or a must-understand bit
    PROFILE = "PROFILE"  # the gate is configured for the other profile
    RECIPE = "RECIPE"  # no recipe of that name, or none is active
    PART = "PART"  # a part is open: no change-over in the middle of it
    DEADLINE = "DEADLINE"  # the robot's deadline is shorter than the gate's, or has passed


class State(str, enum.Enum):
    """What a heartbeat says about its sender."""

    READY = "READY"
    BUSY = "BUSY"
    WAIT = "WAIT"
    FAULT = "FAULT"


class Done(str, enum.Enum):
    """What the robot did with the part."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """Opens a session: the robot sends its nonce, the gate answers with its own and the robot's as `peer`."""

    nonce: str
    peer: str = "00000000"
    major: int = MAJOR
    minor: int = MINOR
    lowest: int = LOWEST_MAJOR
    must: int = 0
    profile: Literal["H", "P"] = "H"
    deadline_ms: int = 0
    """Robot: how long it waits for a verdict, from its own trigger (0: not said). Gate: its budget."""


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """The robot asks for a verdict; `sequence` is 1..65535, rising within the session."""

    session: str
    sequence: int
    part: str
    weld: str
    typology: str | None = None


class TriggerAck(msgspec.Struct, frozen=True, kw_only=True):
    """The trigger is open and durably recorded."""

    session: str
    sequence: int


class Nak(msgspec.Struct, frozen=True, kw_only=True):
    """The gate did not take a message; `sequence` is 0 when it was no trigger."""

    session: str
    sequence: int
    reason: Refusal


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The one answer to a trigger."""

    session: str
    sequence: int
    part: str
    weld: str
    outcome: Outcome
    reason: Reason


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """The robot repeats the outcome it read and says what it did."""

    session: str
    sequence: int
    outcome: Outcome
    done: Done


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """Proof of life; `counter` changes every time, `bundle` is the first 8 hex digits of the bundle's hash or zeros."""

    session: str
    state: State
    counter: int
    bundle: str = "00000000"


class ChangeOver(msgspec.Struct, frozen=True, kw_only=True):
    """The robot names the recipe of the parts to come; the gate repeats the message once that recipe is active."""

    session: str
    sequence: int
    """From the triggers' counter."""
    recipe: str


class PartQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The robot has shown every weld of a part and asks for the verdict on the whole; this ends the part."""

    session: str
    sequence: int
    """From the triggers' counter."""
    part: str
    recipe: str
    """What the robot believes to be active: welds of another recipe prove nothing about this part."""


class PartVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The one answer to a part query: ACCEPT only when every weld of the recipe was accepted in this session."""

    session: str
    sequence: int
    part: str
    missing: int
    """Welds of the recipe that were not accepted, 0 with ACCEPT; at most 999."""
    first: str | None
    """The first of them in the recipe's order."""
    outcome: Outcome
    reason: Reason


Message: TypeAlias = Hello | Trigger | TriggerAck | Nak | Verdict | Ack | Heartbeat | ChangeOver | PartQuery | PartVerdict
