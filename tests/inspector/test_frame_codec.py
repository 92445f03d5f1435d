"""The wire format alone: what is written is read back, what is wrong is named, and nothing else can happen."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cell_kit import make_header, make_parts
from hypothesis import given
from hypothesis import strategies as st

from edge.contract import Reason
from edge.errors import FrameError
from edge.inspector.frame import (
    MAX_HEADER_BYTES,
    check_header,
    check_payload,
    decode_header,
    encode_alive,
    encode_frame,
    header_schema,
    payload_image,
    read_header,
)

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "frame-header.schema.json"


@pytest.mark.parametrize(
    ("dtype", "code", "kind"), [(np.uint8, "u1", "heightmap"), (np.uint16, "u2", "range"), (np.float32, "f4", "range")]
)
def test_what_is_written_is_read_back(dtype: type, code: str, kind: str) -> None:
    image = np.arange(12).reshape(3, 4).astype(dtype)
    topic, text, payload = encode_frame(make_header(kind=kind), image)
    header = decode_header(text)
    check_payload(header, payload)
    assert (topic, header.shape, header.dtype) == (b"cam", (3, 4), code)
    assert (payload_image(header, payload) == image).all()
    assert payload_image(header, payload).dtype == dtype


@pytest.mark.parametrize("shape", [(3, 4), (1, 12)])
def test_a_cloud_is_read_back_as_x_y_z_of_every_point(shape: tuple[int, int]) -> None:
    cloud = np.arange(36, dtype=np.float32).reshape(*shape, 3)
    _, text, payload = encode_frame(make_header(kind="cloud"), cloud)
    header = decode_header(text)
    check_payload(header, payload)
    assert (header.shape, header.dtype, header.payload_bytes) == (shape, "f4", 144)
    assert (payload_image(header, payload) == cloud).all()


@pytest.mark.parametrize("size", [48, 143, 145, 0])
def test_a_cloud_of_another_size_is_refused_with_what_it_should_have(size: int) -> None:
    with pytest.raises(FrameError, match="3 x 4 x 3 f4, which are 144") as caught:
        check_payload(make_header(kind="cloud", dtype="f4", shape=(3, 4)), bytes(size))
    assert caught.value.reason is Reason.FRAME_SIZE


def test_a_cloud_in_no_order_is_one_row_of_up_to_sixteen_million_points() -> None:
    cloud = make_header(kind="cloud", dtype="f4", shape=(1, 1 << 24))
    check_header(cloud, max_frame_bytes=1 << 30)
    for shape, kind in (((1, (1 << 24) + 1), "cloud"), ((2, 16_385), "cloud"), ((1, 16_385), "range")):
        with pytest.raises(FrameError) as caught:
            check_header(make_header(kind=kind, dtype="f4", shape=shape), max_frame_bytes=1 << 40)
        assert caught.value.reason is Reason.FRAME_SHAPE


def test_the_image_is_a_view_of_the_payload_that_cannot_be_written() -> None:
    _, text, payload = make_parts()
    image = payload_image(decode_header(text), payload)
    assert np.shares_memory(image, np.frombuffer(payload, np.uint8))
    assert not image.flags.writeable


def test_the_published_schema_is_the_codes() -> None:
    assert SCHEMA.read_bytes() == header_schema()


def test_alive_messages_are_headers_without_payload() -> None:
    _, text, payload = encode_alive("cam", 7, 5)
    header = decode_header(text)
    check_payload(header, payload)
    assert (header.kind, header.counter) == ("alive", 7)
    with pytest.raises(FrameError):
        check_payload(header, b"x")


def test_nan_as_no_data_is_a_word_because_json_has_no_nan() -> None:
    assert math.isnan(decode_header(encode_frame(make_header(kind="range", no_data="nan"), np.ones((2, 2), np.float32))[1]).no_data_value)


@pytest.mark.parametrize("token", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"null", b'"1"'])
@pytest.mark.parametrize("field", [b"z_scale_mm", b"z_offset_mm", b"no_data"])
def test_no_nonfinite_number_gets_through_the_header(token: bytes, field: bytes) -> None:
    fields = msgspec.json.decode(make_parts()[1])
    text = msgspec.json.encode(fields | {field.decode(): "HERE"}).replace(b'"HERE"', token)
    with pytest.raises(FrameError) as caught:
        read_header(text)
    assert caught.value.reason is Reason.FRAME_HEADER


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pitch_mm": (0.0009, 0.1)}, Reason.FRAME_UNITS),
        ({"pitch_mm": (0.1, 10.1)}, Reason.FRAME_UNITS),
        ({"pitch_mm": (0.1, -0.1)}, Reason.FRAME_UNITS),
        ({"z_scale_mm": 4.5e-6, "kind": "range", "dtype": "u2"}, Reason.FRAME_UNITS),
        ({"z_scale_mm": 11.0, "kind": "range", "dtype": "u2"}, Reason.FRAME_UNITS),
        ({"z_scale_mm": -1.0, "kind": "range", "dtype": "u2"}, Reason.FRAME_UNITS),
        ({"z_offset_mm": 1e6, "kind": "range", "dtype": "u2"}, Reason.FRAME_UNITS),
        ({"shape": (16_385, 1)}, Reason.FRAME_SHAPE),
        ({"shape": (10_000, 10_000)}, Reason.FRAME_SIZE),
        ({"kind": "range", "dtype": "u1"}, Reason.FRAME_DTYPE),
        ({"kind": "cloud", "dtype": "u2"}, Reason.FRAME_DTYPE),
        ({"kind": "cloud", "dtype": "f4", "z_scale_mm": 1000.0}, Reason.FRAME_UNITS),
        ({"kind": "cloud", "dtype": "f4", "z_offset_mm": -1e6}, Reason.FRAME_UNITS),
        ({"kind": "cloud", "dtype": "f4", "pitch_mm": (0.0002, 0.1)}, Reason.FRAME_UNITS),
        ({"kind": "cloud", "dtype": "f4", "shape": (2_400, 2_400)}, Reason.FRAME_SIZE),
        ({"kind": "video", "dtype": "f4"}, Reason.FRAME_KIND),
    ],
)
def test_a_header_is_refused_by_name(changes: dict[str, object], reason: Reason) -> None:
    with pytest.raises(FrameError) as caught:
        check_header(make_header(**({"shape": (4, 4)} | changes)))
    assert caught.value.reason is reason


def test_the_plausible_limits_themselves_are_taken() -> None:
    for pitch in (0.001, 10.0):
        check_header(make_header(shape=(4, 4), pitch_mm=(pitch, pitch)))
    for scale in (0.0001, 10.0):
        check_header(make_header(shape=(4, 4), kind="range", dtype="u2", z_scale_mm=scale))


def test_the_largest_header_is_taken_and_one_byte_more_refused() -> None:
    text = make_parts()[1]
    read_header(text + b" " * (MAX_HEADER_BYTES - len(text)))
    with pytest.raises(FrameError, match="too long"):
        read_header(text + b" " * (MAX_HEADER_BYTES - len(text) + 1))


def test_every_changed_bit_of_a_payload_is_found() -> None:
    _, text, payload = make_parts(np.arange(64, dtype=np.uint8).reshape(8, 8))
    header = decode_header(text)
    for bit in range(len(payload) * 8):
        altered = bytearray(payload)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FrameError) as caught:
            check_payload(header, bytes(altered))
        assert caught.value.reason is Reason.FRAME_CRC


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_refused(data: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        decode_header(data)
    assert caught.value.reason is Reason.FRAME_HEADER


@given(st.data())
def test_a_header_with_any_byte_changed_is_a_header_or_refused(data: st.DataObject) -> None:
    text = bytearray(make_parts()[1])
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        header = decode_header(bytes(text))
    except FrameError:
        return
    assert header.payload_bytes <= 64 * 1024 * 1024
