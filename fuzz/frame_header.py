"""Fuzzing the camera's header: it is refused with a reason, or every number in it is one that the next stage may trust.

An input is one byte of choices and the header. One choice gives the header a payload of the size and CRC it declares, so that
the image behind it is reached.
"""

from __future__ import annotations

import math
import zlib

import msgspec

from edge.config import NAME
from edge.contract import Reason
from edge.errors import FrameError
from edge.inspector.frame import (
    DTYPES,
    KINDS,
    MAX_POINTS,
    MAX_SIDE,
    PITCH_MM,
    FrameHeader,
    check_payload,
    decode_header,
    payload_image,
    read_header,
)
from fuzz.harness import explained, timed

WITH_PAYLOAD = 1
MAX_FRAME_BYTES = 1 << 16


def check(data: bytes) -> None:
    """Raises whatever the reader raises but FrameError, and AssertionError where it breaks its promises."""
    if not data:
        return
    choices, text = data[0], data[1:]
    header = timed(lambda: _decoded(text))
    if header is None:
        return
    _check_header(header)
    if choices & WITH_PAYLOAD and header.kind != "alive":
        _check_image(header)
    _check_payload(header, text)


def _decoded(text: bytes) -> FrameHeader | None:
    try:
        return decode_header(text, max_frame_bytes=MAX_FRAME_BYTES)
    except FrameError as exc:
        explained(exc)
        return None


def _check_header(header: FrameHeader) -> None:
    again = msgspec.json.encode(header)
    assert decode_header(again, max_frame_bytes=MAX_FRAME_BYTES) == read_header(again) == header
    assert NAME.match(header.camera)
    assert header.kind in KINDS
    if header.kind == "alive":
        return
    assert all(NAME.match(name) for name in (header.part, header.weld, header.typology or "T"))
    assert header.dtype in KINDS[header.kind]
    assert all(PITCH_MM[0] <= pitch <= PITCH_MM[1] for pitch in header.pitch_mm)
    assert math.isfinite(header.z_scale_mm)
    assert math.isfinite(header.z_offset_mm)
    assert 1 <= header.shape[0] <= MAX_SIDE
    assert 1 <= header.shape[1] <= MAX_POINTS
    assert 1 <= header.payload_bytes <= MAX_FRAME_BYTES
    assert header.trigger is None or 1 <= header.trigger.sequence <= 0xFFFF


def _check_image(header: FrameHeader) -> None:
    payload = bytes(header.payload_bytes)
    whole = msgspec.structs.replace(header, crc32=zlib.crc32(payload))
    check_payload(whole, payload)
    image = payload_image(whole, payload)
    assert image.shape[:2] == header.shape
    assert image.dtype == DTYPES[header.dtype]
    assert not image.flags.writeable


def _check_payload(header: FrameHeader, payload: bytes) -> None:
    """These bytes are hardly the payload; if they count as it, size and CRC are right."""
    try:
        check_payload(header, payload)
    except FrameError as exc:
        assert exc.reason in (Reason.FRAME_SIZE, Reason.FRAME_CRC)  # noqa: PT017 - no other reason may come from here
        return
    assert zlib.crc32(payload) == header.crc32
