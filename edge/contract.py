"""The messages between gate and inspector, and the words both use; MessagePack, one message per SOCK_SEQPACKET packet."""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

import msgspec

from edge.errors import ContractError

CONTRACT_VERSION = 4
MAX_MESSAGE_BYTES = 64 * 1024
"""Upper bound of one packet; both sides refuse larger ones."""


class Outcome(str, enum.Enum):
    """The three verdicts; a robot treats REJECT and NO_VERDICT alike, records keep them apart."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"
    NO_VERDICT = "NO_VERDICT"


class Reason(str, enum.Enum):
    """Why a verdict is what it is; at most 16 characters, as sent on the serial line."""

    OK = "OK"  # every condition was proved
    DEFECT = "DEFECT"  # the network's score is above the threshold
    # time
    NO_FRAME = "NO_FRAME"  # no frame for this trigger before the deadline
    DEADLINE = "DEADLINE"  # the answer could not be ready in time
    FRAME_LATE = "FRAME_LATE"  # a frame for a trigger that is already closed
    # the frame
    FRAME_HEADER = "FRAME_HEADER"  # header is not the schema's JSON
    FRAME_PARTS = "FRAME_PARTS"  # not exactly topic, header, payload
    FRAME_SIZE = "FRAME_SIZE"  # truncated, oversized, or not shape x dtype
    FRAME_SHAPE = "FRAME_SHAPE"  # shape outside the limits or not the typology's
    FRAME_DTYPE = "FRAME_DTYPE"  # dtype does not belong to the kind
    FRAME_KIND = "FRAME_KIND"  # a kind this box does not take
    FRAME_CRC = "FRAME_CRC"  # payload differs from the header's CRC-32
    FRAME_NONFINITE = "FRAME_NONFINITE"  # NaN or infinity in header or payload
    FRAME_EMPTY = "FRAME_EMPTY"  # no data, or a constant image
    FRAME_UNITS = "FRAME_UNITS"  # pitch or scale not plausible (metres for millimetres?)
    FRAME_UNBOUND = "FRAME_UNBOUND"  # names no trigger, or another one
    FRAME_PART = "FRAME_PART"  # part or weld differs from the trigger's
    FRAME_DUPLICATE = "FRAME_DUPLICATE"  # this frame counter was seen before
    FRAME_FROZEN = "FRAME_FROZEN"  # a payload seen before, under a new counter
    ARCHIVE = "ARCHIVE"  # an image could not be archived (an event, not a verdict)
    FRAME_GAP = "FRAME_GAP"  # frame counters were skipped (an event, not a verdict)
    CAMERA_OPEN = "CAMERA_OPEN"  # this camera proves nothing: whoever reaches the network can be it (an event, not a verdict)
    CAMERA_REFUSED = "CAMERA_REFUSED"  # somebody who could not prove to be the camera was not let in (an event, not a verdict)
    # which network
    TYPOLOGY_UNKNOWN = "TYPOLOGY_UNKNOWN"  # not in the bundle
    TYPOLOGY_DIFFERS = "TYPOLOGY_DIFFERS"  # trigger, frame and router do not agree
    ROUTER_UNSURE = "ROUTER_UNSURE"  # no typology named, and the router names none with confidence
    CROSS_CHECK = "CROSS_CHECK"  # engines = "all": another typology's check contradicts
    # the engine
    ENGINE_FAILED = "ENGINE_FAILED"  # the engine raised, or is missing, altered or of another box
    GPU_FAULT = "GPU_FAULT"  # GPU, driver or GPU memory failed, or did not answer in time; the inspector starts again
    SCORE_INVALID = "SCORE_INVALID"  # not finite, outside 0..1, or a member is missing
    # the inspector
    INSPECTOR_DOWN = "INSPECTOR_DOWN"  # not connected, or silent for three heartbeats
    NOT_READY = "NOT_READY"  # connected but not READY: engines, golden inputs or camera
    TOO_SLOW = "TOO_SLOW"  # the networks do not fit into the budget on this machine; measured at start
    BUNDLE_FAULT = "BUNDLE_FAULT"  # unsigned, altered or unknown bundle
    BUNDLE_DIFFERS = "BUNDLE_DIFFERS"  # judged by another bundle than the one announced
    # the part
    RECIPE = "RECIPE"  # recipes are configured and none is active
    WELD_UNKNOWN = "WELD_UNKNOWN"  # the active recipe has no such weld
    WELDS_MISSING = "WELDS_MISSING"  # not every weld of the part was accepted in this session
    PARTS_OPEN = "PARTS_OPEN"  # too many parts without a part verdict
    CHALLENGE = "CHALLENGE"  # the challenge parts are due, or failed, or this is one of them out of turn
    # the gate
    RECORD_FAULT = "RECORD_FAULT"  # storage failed; latched until checked
    RECORD_LATE = "RECORD_LATE"  # the record was not durable before the deadline
    LATCHED = "LATCHED"  # something that a person must look at; nothing is accepted until it is acknowledged
    BUSY = "BUSY"  # a trigger while another is open
    SESSION_LOST = "SESSION_LOST"  # the link went down with this trigger open
    GATE_RESTARTED = "GATE_RESTARTED"  # found open at start, closed then
    INTERNAL = "INTERNAL"  # an exception while deciding


class TriggerId(msgspec.Struct, frozen=True, array_like=True):
    """What binds a frame to a trigger: `session` is 16 lower-case hex digits, `sequence` 1..65535."""

    session: str
    sequence: int


class InspectorState(msgspec.Struct, frozen=True, tag="state"):
    """Sent on connecting, on every change and every heartbeat; READY is true only when everything proved itself."""

    version: int
    pid: int
    ready: bool
    backend: str
    bundle: str
    """SHA-256 of the bundle's manifest, 64 hex digits; empty before a bundle is loaded."""
    bundle_version: int
    typologies: tuple[str, ...]
    known_answers: int
    """Golden inputs that were run at load and agreed."""
    camera_alive: bool
    frames: int
    gaps: int
    refused: int
    sent_ns: int
    """CLOCK_MONOTONIC."""
    fault_reason: Reason | None = None
    fault: str = ""
    config: str = ""
    """SHA-256 of the configuration file that rules it, 64 hex digits."""


class Report(msgspec.Struct, frozen=True, tag="report"):
    """What the inspector found for one frame; `reason` is OK when the score may be used, whatever the score is.

    `score` and `threshold` are badness in 0..1 (probability of a bad weld for classifiers): good means score <= threshold.
    Times are CLOCK_MONOTONIC nanoseconds.
    """

    camera: str
    counter: int
    trigger: TriggerId | None
    part: str
    weld: str
    typology_named: str | None
    """Typology in the frame's header."""
    typology: str | None
    """Typology whose networks gave the score."""
    reason: Reason
    detail: str
    score: float
    threshold: float
    members: tuple[float, ...]
    members_expected: int
    router_confidence: float | None
    bundle: str
    backend: str
    payload_hash: str
    """BLAKE2b-128 of the payload, 32 hex digits; empty when the payload was not read."""
    captured_ns: int
    received_ns: int
    prepared_ns: int
    scored_ns: int
    map: Any = None
    """Where the networks saw what they call bad, as `edge.map_text` packs it; None: not asked for, or there is none.

    Of any type, so that nothing in it can make the report unreadable: the gate reads it apart, and no verdict rests on it.
    """
    map_note: str = ""
    """Why there is none although it was asked for."""


class FrameEvent(msgspec.Struct, frozen=True, tag="event"):
    """Something about frames that belongs to no verdict: a gap, a duplicate, a message without a readable header.

    BUNDLE_FAULT, without a camera: the active bundle could not take over, and the one announced judges on; or must not, and the inspector
    ends.
    """

    camera: str
    counter: int | None
    reason: Reason
    detail: str
    count: int = 1


class Expect(msgspec.Struct, frozen=True, tag="expect"):
    """Gate to inspector: this trigger is open; the inspector may warm that typology's engine while the camera exposes."""

    trigger: TriggerId
    part: str
    weld: str
    typology: str | None


class Settled(msgspec.Struct, frozen=True, tag="settled"):
    """Gate to inspector: the case that judged this frame is closed; says what was sent (or, when nothing was, decided)."""

    trigger: TriggerId
    camera: str
    counter: int
    outcome: Outcome
    reason: Reason


ToGate: TypeAlias = InspectorState | Report | FrameEvent
ToInspector: TypeAlias = Expect | Settled

_encoder = msgspec.msgpack.Encoder()
_to_gate: msgspec.msgpack.Decoder[ToGate] = msgspec.msgpack.Decoder(ToGate)
_to_inspector: msgspec.msgpack.Decoder[ToInspector] = msgspec.msgpack.Decoder(ToInspector)


def encode(message: ToGate | ToInspector) -> bytes:
    """One message as one packet."""
    return _encoder.encode(message)


def decode_to_gate(packet: bytes) -> ToGate:
    """One packet from the inspector. Raises ContractError when it is not one of the messages above."""
    message: ToGate = _decode(_to_gate, packet)
    return message


def decode_to_inspector(packet: bytes) -> ToInspector:
    """One packet from the gate. Raises ContractError when it is not one of the messages above."""
    message: ToInspector = _decode(_to_inspector, packet)
    return message


def _decode(decoder: msgspec.msgpack.Decoder[Any], packet: bytes) -> Any:
    try:
        return decoder.decode(packet)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ContractError(
            "a packet between gate and inspector does not fit the contract",
            seen=f"{len(packet)} bytes, {exc}",
            remedy=f"Run gate and inspector from the same release (contract version {CONTRACT_VERSION})",
        ) from exc
