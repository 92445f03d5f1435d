"""The camera's wire format: three parts in, a checked header and image out; pure, no I/O, nothing allocated before its limit is checked."""

from __future__ import annotations

import math
import zlib
from typing import Annotated, Any, Literal, Protocol

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from edge.config import NAME
from edge.contract import Reason, TriggerId
from edge.errors import FrameError

HEADER_VERSION = 1
MAX_HEADER_BYTES = 4096
MAX_SIDE = 16_384
"""Largest number of rows or columns of a frame."""
MAX_POINTS = 1 << 24
"""Largest number of points of an unorganised cloud, which are one row."""
MAX_FRAME_BYTES = 64 * 1024 * 1024
PITCH_MM = (0.001, 10.0)
"""Plausible distance between neighbouring points."""
Z_SCALE_MM = (0.0001, 10.0)
"""Plausible height of one step of a range image or of a cloud's z."""
MAX_OFFSET_MM = 100_000.0
DTYPES: dict[str, np.dtype[Any]] = {"u1": np.dtype("<u1"), "u2": np.dtype("<u2"), "f4": np.dtype("<f4")}
KINDS = {"heightmap": ("u1",), "range": ("u2", "f4"), "cloud": ("f4",), "alive": ("u1",)}
DTYPE_CODES: dict[np.dtype[Any], str] = {dtype: code for code, dtype in DTYPES.items()}

_NAME_SCHEMA = {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,23}$"}
_NAME_OR_EMPTY = {"pattern": "^([A-Za-z0-9][A-Za-z0-9._-]{0,23})?$"}
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=24, extra_json_schema=_NAME_SCHEMA)]
NameOrEmpty = Annotated[str, Meta(max_length=24, extra_json_schema=_NAME_OR_EMPTY)]


class StoredImage(Protocol):
    """What says how an image lies in bytes: a frame's header, or a golden input."""

    @property
    def kind(self) -> str:
        """One of KINDS."""

    @property
    def dtype(self) -> str:
        """One of DTYPES."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of pixels or points."""


class FrameTrigger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The trigger a frame was taken for, copied from the robot's request."""

    session: Annotated[str, Meta(pattern="^[0-9a-f]{16}$", min_length=16, max_length=16)]
    sequence: Annotated[int, Meta(ge=1, le=65_535)]


class FrameHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Second part of every message on the camera's PUB socket, as JSON of at most 4096 bytes; the first part is the camera's name."""

    version: Annotated[int, Meta(ge=1, le=65_535, description="Version of this header: 1")]
    camera: Annotated[Name, Meta(description="Name of the camera; equal to the topic")]
    counter: Annotated[Count, Meta(description="Number of this frame, one more than the last; alive messages repeat the last one")]
    trigger: Annotated[FrameTrigger | None, Meta(description="Trigger the frame was taken for; null when there was none")]
    part: Annotated[NameOrEmpty, Meta(description="Part; empty only in alive messages")]
    weld: Annotated[NameOrEmpty, Meta(description="Weld of the part; empty only in alive messages")]
    typology: Annotated[Name | None, Meta(description="Typology of the weld; null lets the box's router name it")]
    kind: Annotated[str, Meta(max_length=24, description="What the payload is", extra_json_schema={"enum": list(KINDS)})]
    shape: Annotated[tuple[Count, Count], Meta(description="Rows and columns; 1, N for a cloud in no order; 0, 0 in alive messages")]
    dtype: Annotated[str, Meta(max_length=24, description="u8, u16 or f32, little-endian", extra_json_schema={"enum": list(DTYPES)})]
    pitch_mm: Annotated[tuple[float, float], Meta(description="Distance of neighbouring points along columns (x) and rows (y)")]
    z_scale_mm: Annotated[float, Meta(description="Millimetres per step of a range value or of a cloud's z; x and y are in mm")]
    z_offset_mm: Annotated[float, Meta(description="Height of the value 0")]
    no_data: Annotated[float | Literal["nan"], Meta(description="Value (a cloud's z) of missing points; 0 for heightmaps")]
    captured_ns: Annotated[Count, Meta(description="The camera's clock at exposure, in nanoseconds; informational")]
    crc32: Annotated[int, Meta(ge=0, le=2**32 - 1, description="CRC-32 of the payload, as zlib computes it")]

    @property
    def trigger_id(self) -> TriggerId | None:
        """The trigger in the form gate and inspector use."""
        return None if self.trigger is None else TriggerId(self.trigger.session, self.trigger.sequence)

    @property
    def no_data_value(self) -> float:
        """`no_data` as a number; NaN where the header says "nan"."""
        return math.nan if self.no_data == "nan" else self.no_data

    @property
    def payload_bytes(self) -> int:
        """How long the payload must be; only for a dtype that was checked."""
        return image_bytes(self)


_decoder = msgspec.json.Decoder(FrameHeader)
_encoder = msgspec.json.Encoder()


def decode_header(data: bytes, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> FrameHeader:
    """`read_header` then `check_header`. Raises FrameError with the reason the verdict will name."""
    header = read_header(data)
    check_header(header, max_frame_bytes=max_frame_bytes)
    return header


def read_header(data: bytes) -> FrameHeader:
    """The header when it says who, what and for which trigger. Raises FrameError FRAME_HEADER, and then nothing of it may be used."""
    if len(data) > MAX_HEADER_BYTES:
        raise _header_error("the frame header is too long", f"{len(data)} bytes", f"Send at most {MAX_HEADER_BYTES} bytes")
    try:
        header = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise _header_error("the frame header does not fit the schema", exc, "Compare it with docs/frame-header.schema.json") from exc
    if header.version != HEADER_VERSION:
        raise _header_error("the frame header has another version", header.version, f"Send version {HEADER_VERSION}")
    names = (header.camera,) if header.kind == "alive" else (header.camera, header.part, header.weld, header.typology)
    for name in names:
        if name is not None and NAME.match(name) is None:
            raise _header_error("a name in the frame header is not usable", repr(name), "Use 1 to 24 of A-Z a-z 0-9 . _ -")
    return header


def check_header(header: FrameHeader, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
    """Refuse what this box does not take, before the payload is touched.

    Raises FrameError: FRAME_KIND, FRAME_DTYPE, FRAME_HEADER (a heightmap whose no-data is not 0), FRAME_SHAPE, FRAME_SIZE, FRAME_UNITS.
    """
    if header.kind not in KINDS:
        raise _refused(Reason.FRAME_KIND, "this kind of frame does not exist", header.kind, f"Send one of {', '.join(KINDS)}")
    if header.kind == "alive":
        return
    if header.dtype not in KINDS[header.kind]:
        wanted = " or ".join(KINDS[header.kind])
        raise _refused(Reason.FRAME_DTYPE, f"a {header.kind} frame has another dtype", header.dtype, f"Send {wanted}, little-endian")
    if header.kind == "heightmap" and header.no_data != 0:
        raise _header_error("a heightmap marks missing points with 0", f"no_data {header.no_data}", "Send no_data 0")
    _check_limits(header, max_frame_bytes)
    _check_units(header)


def _check_limits(header: FrameHeader, max_frame_bytes: int) -> None:
    rows, cols = header.shape
    most = MAX_POINTS if header.kind == "cloud" and rows == 1 else MAX_SIDE
    if not (1 <= rows <= MAX_SIDE and 1 <= cols <= most):
        remedy = f"Send 1 to {MAX_SIDE} rows and columns; of a cloud in no order 1 row of at most {MAX_POINTS} points"
        raise _refused(Reason.FRAME_SHAPE, "the frame's shape is outside the limits", [rows, cols], remedy)
    if header.payload_bytes > max_frame_bytes:
        raise _refused(
            Reason.FRAME_SIZE,
            "the frame declares more than this box accepts",
            f"{header.payload_bytes} bytes",
            f"Send at most {max_frame_bytes} bytes or raise inspector.max_frame_bytes",
        )


def _check_units(header: FrameHeader) -> None:
    for pitch in header.pitch_mm:
        if not PITCH_MM[0] <= pitch <= PITCH_MM[1]:
            raise _implausible("pitch_mm", header.pitch_mm, PITCH_MM)
    if header.kind != "heightmap":
        if not Z_SCALE_MM[0] <= header.z_scale_mm <= Z_SCALE_MM[1]:
            raise _implausible("z_scale_mm", header.z_scale_mm, Z_SCALE_MM)
        if not -MAX_OFFSET_MM <= header.z_offset_mm <= MAX_OFFSET_MM:
            raise _implausible("z_offset_mm", header.z_offset_mm, (-MAX_OFFSET_MM, MAX_OFFSET_MM))


def check_payload(header: FrameHeader, payload: memoryview | bytes) -> None:
    """Raises FrameError FRAME_SIZE (truncated, too long) or FRAME_CRC."""
    size = len(payload) if isinstance(payload, bytes) else payload.nbytes
    wanted = 0 if header.kind == "alive" else header.payload_bytes
    if size != wanted:
        each = " x 3" if header.kind == "cloud" else ""
        seen = f"{size} bytes for {header.shape[0]} x {header.shape[1]}{each} {header.dtype}, which are {wanted}"
        raise _refused(Reason.FRAME_SIZE, "the payload is truncated or too long", seen, f"Send rows x cols{each} x item size bytes")
    crc = zlib.crc32(payload)
    if crc != header.crc32:
        seen = f"{crc:#010x}, header says {header.crc32:#010x}"
        raise _refused(Reason.FRAME_CRC, "the payload was altered on its way", seen, "Check cable and switch; CRC-32 as zlib computes it")


def payload_image(stored: StoredImage, payload: memoryview | bytes) -> NDArray[Any]:
    """The checked payload as a read-only view of u8, u16 or f32, (rows, cols) or (rows, cols, 3) of a cloud; nothing is copied."""
    return np.frombuffer(payload, DTYPES[stored.dtype]).reshape(_array_shape(stored))


def image_bytes(stored: StoredImage) -> int:
    """How many bytes the image takes; only for a dtype that was checked."""
    return math.prod(_array_shape(stored)) * DTYPES[stored.dtype].itemsize


def _array_shape(stored: StoredImage) -> tuple[int, ...]:
    return (*stored.shape, 3) if stored.kind == "cloud" else stored.shape


def encode_frame(header: FrameHeader, image: NDArray[Any]) -> tuple[bytes, bytes, bytes]:
    """Topic, header and payload for `image` (rows, cols) or (rows, cols, 3); shape, dtype and crc32 of `header` are filled in from it."""
    payload = image.tobytes()
    code = DTYPE_CODES[image.dtype.newbyteorder("<") if image.dtype.itemsize > 1 else image.dtype]
    filled = msgspec.structs.replace(header, shape=image.shape[:2], dtype=code, crc32=zlib.crc32(payload))
    return filled.camera.encode(), _encoder.encode(filled), payload


def encode_alive(camera: str, counter: int, captured_ns: int) -> tuple[bytes, bytes, bytes]:
    """The message that says a camera is there; `counter` is that of the last frame sent, 0 before the first."""
    header = FrameHeader(
        version=HEADER_VERSION, camera=camera, counter=counter, trigger=None, part="", weld="", typology=None, kind="alive",
        shape=(0, 0), dtype="u1", pitch_mm=(1.0, 1.0), z_scale_mm=1.0, z_offset_mm=0.0, no_data=0.0, captured_ns=captured_ns, crc32=0,
    )  # fmt: skip
    return camera.encode(), _encoder.encode(header), b""


def header_schema() -> bytes:
    """JSON Schema of the header, as published in docs/frame-header.schema.json."""
    return msgspec.json.format(_encoder.encode(msgspec.json.schema(FrameHeader)), indent=2) + b"\n"


def _refused(reason: Reason, what: str, seen: object, remedy: str) -> FrameError:
    return FrameError(reason, what, seen=seen, remedy=remedy)


def _header_error(what: str, seen: object, remedy: str) -> FrameError:
    return _refused(Reason.FRAME_HEADER, what, seen, remedy)


def _implausible(key: str, seen: object, limits: tuple[float, float]) -> FrameError:
    remedy = f"Plausible is {limits[0]:g} to {limits[1]:g} mm; were metres sent for millimetres?"
    return _refused(Reason.FRAME_UNITS, f"{key} is not plausible", seen, remedy)
