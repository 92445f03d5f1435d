"""Every frame gets exactly one report with a reason, or an event when its header cannot be read."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from cell_kit import SESSION, Cell, make_parts
from tiny import TinyBundle, cloud_image, frame_image, probability

from edge.contract import Reason, TriggerId
from edge.inspector.frame import encode_alive


def changed(parts: tuple[bytes, bytes, bytes], **fields: Any) -> tuple[bytes, bytes, bytes]:
    """The same frame with fields of its JSON header replaced, whatever the schema says."""
    header = msgspec.json.decode(parts[1]) | fields
    return parts[0], msgspec.json.encode(header), parts[2]


def test_a_good_frame_is_scored_by_its_own_typology(cell: Cell) -> None:
    image = frame_image(40, seed=9)
    report = cell.judge(*make_parts(image))
    assert (report.reason, report.typology, report.trigger) == (Reason.OK, "T2", TriggerId(SESSION, 7))
    assert math.isclose(report.score, probability(image, centre=60, sign=1), abs_tol=1e-4)
    assert report.score <= report.threshold
    assert (report.part, report.weld, report.members_expected, report.members) == ("P1", "W1", 1, (report.score,))
    assert report.received_ns <= report.prepared_ns <= report.scored_ns


def test_a_bad_weld_scores_above_the_threshold(cell: Cell) -> None:
    report = cell.judge(*make_parts(frame_image(90)))
    assert report.reason is Reason.OK
    assert report.score > 0.99 > report.threshold


def test_the_same_gray_is_good_for_the_other_typology(cell: Cell) -> None:
    report = cell.judge(*make_parts(frame_image(150), typology="T5"))
    assert (report.typology, report.reason) == ("T5", Reason.OK)
    assert report.score < 0.01


def test_a_range_frame_is_windowed_in_millimetres(cell: Cell) -> None:
    heights = np.full((16, 24), 300, np.uint16) + np.arange(24, dtype=np.uint16)
    report = cell.judge(*make_parts(heights, kind="range", z_scale_mm=0.01))
    gray = 1 + np.rint((heights * 0.01) * 25.4)
    assert math.isclose(report.score, probability(gray, centre=60, sign=1), abs_tol=0.05)


def test_an_organised_cloud_is_judged_by_its_heights(cell: Cell) -> None:
    report = cell.judge(*make_parts(cloud_image(40, seed=9), kind="cloud", z_scale_mm=1.0))
    assert (report.reason, report.typology) == (Reason.OK, "T2")
    assert math.isclose(report.score, probability(frame_image(40, seed=9), centre=60, sign=1), abs_tol=1e-4)


@pytest.mark.parametrize("organised", [True, False])
def test_a_cloud_falls_into_the_grid_of_its_bundle_in_any_order(start: Any, organised: bool) -> None:
    """The golden inputs of this bundle are clouds too: without them right the cell would not be READY."""
    cell = start(TinyBundle(clouds=True))
    for counter, gray in ((1, 40), (2, 90)):
        cloud = cloud_image(gray, seed=9, organised=organised)
        report = cell.judge(*make_parts(cloud, counter=counter, kind="cloud", z_scale_mm=1.0))
        assert report.reason is Reason.OK
        assert math.isclose(report.score, probability(frame_image(gray, seed=9), centre=60, sign=1), abs_tol=1e-4)


def bad_clouds() -> dict[str, tuple[Any, dict[str, Any], Reason]]:
    """By what is wrong: the cloud, header fields, and the reason it gets from a bundle with a grid."""
    unfit, infinite, far = (cloud_image(40, organised=False) for _ in range(3))
    unfit[0, 7, 0], infinite[0, 7, 2], far[..., 0] = math.nan, math.inf, far[..., 0] + 5
    return {
        "no finite x": (unfit, {}, Reason.FRAME_NONFINITE),
        "no finite z": (infinite, {}, Reason.FRAME_NONFINITE),
        "outside the grid": (far, {}, Reason.FRAME_EMPTY),
        "no point": (np.full((1, 384, 3), -1, np.float32), {"no_data": -1}, Reason.FRAME_EMPTY),
        "metres": (cloud_image(40) / np.float32(1000), {}, Reason.FRAME_EMPTY),
        "too many rows": (cloud_image(40), {"shape": [17, 24]}, Reason.FRAME_SIZE),
        "sent as range": (cloud_image(40), {"kind": "range"}, Reason.FRAME_SIZE),
        "another dtype": (cloud_image(40), {"dtype": "u2"}, Reason.FRAME_DTYPE),
    }


@pytest.mark.parametrize("wrong", bad_clouds())
def test_a_bad_cloud_is_refused_by_name(start: Any, wrong: str) -> None:
    cloud, changes, reason = bad_clouds()[wrong]
    cell = start(TinyBundle(clouds=True))
    report = cell.judge(*changed(make_parts(cloud, kind="cloud", z_scale_mm=1.0), **changes))
    assert (report.reason, report.trigger) == (reason, TriggerId(SESSION, 7))
    assert not report.score <= report.threshold
    good = cloud_image(40, seed=8, organised=False)
    assert cell.judge(*make_parts(good, counter=2, kind="cloud", z_scale_mm=1.0)).reason is Reason.OK


def test_an_unorganised_cloud_is_refused_by_a_bundle_without_a_grid(cell: Cell) -> None:
    report = cell.judge(*make_parts(cloud_image(40, organised=False), kind="cloud", z_scale_mm=1.0))
    assert report.reason is Reason.FRAME_KIND
    assert "rasterise" in report.detail


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "cloud", "dtype": "f4"}, Reason.FRAME_SIZE),
        ({"kind": "video"}, Reason.FRAME_KIND),
        ({"dtype": "f4"}, Reason.FRAME_DTYPE),
        ({"dtype": "f8"}, Reason.FRAME_DTYPE),
        ({"kind": "range"}, Reason.FRAME_DTYPE),
        ({"shape": [16, 25]}, Reason.FRAME_SIZE),
        ({"shape": [0, 24]}, Reason.FRAME_SHAPE),
        ({"shape": [1_000_000, 1_000_000]}, Reason.FRAME_SHAPE),
        ({"shape": [16_000, 16_000]}, Reason.FRAME_SIZE),
        ({"crc32": 1}, Reason.FRAME_CRC),
        ({"pitch_mm": [0.0002, 0.0002]}, Reason.FRAME_UNITS),
        ({"no_data": 7}, Reason.FRAME_HEADER),
        ({"typology": "T99"}, Reason.TYPOLOGY_UNKNOWN),
    ],
)
def test_a_bad_frame_with_a_readable_header_is_refused_by_name(cell: Cell, changes: dict[str, Any], reason: Reason) -> None:
    report = cell.judge(*changed(make_parts(), **changes))
    assert (report.reason, report.trigger) == (reason, TriggerId(SESSION, 7))
    assert not report.score <= report.threshold
    assert len(report.detail) > 20
    assert cell.judge(*make_parts(frame_image(40, seed=8), counter=2)).reason is Reason.OK


@pytest.mark.parametrize(
    "changes",
    [{"extra": 1}, {"part": "a b"}, {"weld": ""}, {"version": 2}, {"counter": -1}, {"camera": "other"}, {"z_scale_mm": "1"},
     {"trigger": {"session": "xyz", "sequence": 1}}, {"part": "P\n"}, {"captured_ns": 2**70}],
)  # fmt: skip
def test_a_header_that_cannot_be_trusted_becomes_an_event(cell: Cell, changes: dict[str, Any]) -> None:
    event = cell.event(*changed(make_parts(), **changes))
    assert (event.reason, event.camera) == (Reason.FRAME_HEADER, "cam")
    assert cell.gate.reports == []
    assert cell.judge(*make_parts()).reason is Reason.OK


@pytest.mark.parametrize("text", [b"", b"{", b"NaN", b"null", b"\xff\xfe", b'{"version":NaN}', b"[" * 4000, b" " * 5000])
def test_a_malformed_header_becomes_an_event(cell: Cell, text: bytes) -> None:
    assert cell.event(b"cam", text, b"payload").reason is Reason.FRAME_HEADER


def test_a_header_cut_at_any_byte_becomes_an_event(cell: Cell) -> None:
    topic, header, payload = make_parts()
    for cut in range(0, len(header), 17):
        assert cell.event(topic, header[:cut], payload).reason is Reason.FRAME_HEADER


@pytest.mark.parametrize("cut", [0, 1, 100, 383])
def test_a_truncated_frame_is_refused_with_its_size(cell: Cell, cut: int) -> None:
    topic, header, payload = make_parts()
    report = cell.judge(topic, header, payload[:cut])
    assert report.reason is Reason.FRAME_SIZE
    assert f"{cut} bytes" in report.detail


def test_a_payload_that_is_too_long_is_refused(cell: Cell) -> None:
    topic, header, payload = make_parts()
    assert cell.judge(topic, header, payload + b"x").reason is Reason.FRAME_SIZE


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_nonfinite_height_is_refused(cell: Cell, value: float) -> None:
    heights = np.linspace(1, 5, 384, dtype=np.float32).reshape(16, 24)
    heights[3, 4] = value
    report = cell.judge(*make_parts(heights, kind="range", z_scale_mm=1.0))
    assert report.reason is Reason.FRAME_NONFINITE


def test_nan_marks_missing_points_when_the_header_says_so(cell: Cell) -> None:
    heights = np.linspace(1, 1.5, 384, dtype=np.float32).reshape(16, 24)
    heights[3, 4] = math.nan
    assert cell.judge(*make_parts(heights, kind="range", z_scale_mm=1.0, no_data="nan")).reason is Reason.OK


@pytest.mark.parametrize("gray", [0, 1, 128, 255])
def test_a_constant_frame_is_refused(cell: Cell, gray: int) -> None:
    assert cell.judge(*make_parts(np.full((16, 24), gray, np.uint8))).reason is Reason.FRAME_EMPTY


def test_another_number_of_parts_is_refused(cell: Cell) -> None:
    topic, header, payload = make_parts()
    assert cell.judge(topic, header).reason is Reason.FRAME_PARTS
    assert cell.judge(topic, make_parts(counter=2)[1], payload, b"more", *[b"x"] * 100).reason is Reason.FRAME_PARTS
    assert cell.event(topic).reason is Reason.FRAME_PARTS
    assert cell.judge(*make_parts(counter=3)).reason is Reason.OK


def test_another_cameras_topic_is_not_judged(cell: Cell) -> None:
    topic, header, payload = make_parts()
    cell.send(topic + b"2", header, payload)
    assert cell.judge(*make_parts(counter=5)).counter == 5
    assert len(cell.gate.reports) == 1


def test_a_repeated_counter_is_a_duplicate(cell: Cell) -> None:
    parts = make_parts(counter=4)
    assert cell.judge(*parts).reason is Reason.OK
    assert cell.judge(*parts).reason is Reason.FRAME_DUPLICATE
    assert cell.judge(*make_parts(frame_image(41, seed=5), counter=3)).reason is Reason.FRAME_DUPLICATE


def test_the_same_image_under_a_new_counter_is_a_frozen_camera(cell: Cell) -> None:
    assert cell.judge(*make_parts(counter=1)).reason is Reason.OK
    report = cell.judge(*make_parts(counter=2))
    assert report.reason is Reason.FRAME_FROZEN
    assert cell.judge(*make_parts(frame_image(40, seed=8), counter=3)).reason is Reason.OK


def test_skipped_counters_are_reported_and_counted(cell: Cell) -> None:
    cell.judge(*make_parts(counter=1))
    assert cell.judge(*make_parts(frame_image(40, seed=8), counter=5)).reason is Reason.OK
    cell.until(lambda: bool(cell.gate.events))
    event = cell.gate.events[0]
    assert (event.reason, event.count) == (Reason.FRAME_GAP, 3)
    cell.until(lambda: cell.gate.states[-1].gaps == 3)


def test_an_alive_message_tells_of_frames_that_were_lost(cell: Cell) -> None:
    cell.judge(*make_parts(counter=1))
    event = cell.event(*encode_alive("cam", 3, 5))
    assert (event.reason, event.count) == (Reason.FRAME_GAP, 2)


def test_a_restarted_camera_starts_a_new_run(cell: Cell) -> None:
    cell.judge(*make_parts(counter=812))
    assert cell.judge(*make_parts(frame_image(40, seed=8), counter=1, captured_ns=99)).reason is Reason.OK
    cell.until(lambda: any("restarted" in event.detail for event in cell.gate.events))
    assert cell.judge(*make_parts(frame_image(40, seed=9), counter=2)).reason is Reason.OK


def test_a_frame_that_names_no_trigger_is_reported_without_one(cell: Cell) -> None:
    assert cell.judge(*make_parts(trigger=None)).trigger is None


def test_a_payload_over_the_limit_never_reaches_the_inspector(start: Any) -> None:
    cell = start(max_frame_bytes=2_048)
    topic, header, _ = make_parts()
    cell.send(topic, header, bytes(4_096))
    for _ in range(3):
        cell.tick()
    assert cell.gate.reports == []


def test_the_payload_hash_is_reported(cell: Cell) -> None:
    parts = make_parts()
    assert cell.judge(*parts).payload_hash == hashlib.blake2b(parts[2], digest_size=16).hexdigest()
