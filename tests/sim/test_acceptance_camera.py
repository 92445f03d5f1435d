"""The kit that plays the box: a sound camera passes, and what each faulty one sent is found by the rule that it breaks."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge.inspector.frame import FrameHeader, FrameTrigger, encode_alive, encode_frame
from scans.folder import Scale
from sim.acceptance.camera import Listening, accept_camera
from sim.acceptance.camera_ear import Message, Source
from sim.acceptance.camera_rules import RULES, look_at, sort_messages
from sim.acceptance.findings import Report
from sim.acceptance.trial import Nobody
from sim.camera import Camera
from sim.shots import Shot

SESSION = "0123456789abcdef"
SOURCE = Source(endpoint="ipc:///nowhere", name="cam0", heartbeat_ms=1_000.0)
Parts = tuple[bytes, ...]


def _header(counter: int, **changes: Any) -> FrameHeader:
    header = FrameHeader(
        version=1, camera="cam0", counter=counter, trigger=FrameTrigger(session=SESSION, sequence=counter), part="P1", weld=f"W{counter}",
        typology="T2", kind="range", shape=(0, 0), dtype="u2", pitch_mm=(0.2, 0.2), z_scale_mm=0.01, z_offset_mm=0.0, no_data=0,
        captured_ns=counter * 2 * 10**8, crc32=0,
    )  # fmt: skip
    return msgspec.structs.replace(header, **changes)


def _image(seed: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(1, 4000, (24, 32), dtype=np.uint16)


def _frame(counter: int, image: np.ndarray[Any, Any] | None = None, **changes: Any) -> Parts:
    return encode_frame(_header(counter, **changes), _image(counter) if image is None else image)


def _sound() -> list[Parts]:
    """What a sound camera sends: alive, and frames with alive messages between them."""
    sent: list[Parts] = [encode_alive("cam0", 0, 1)]
    for counter in range(1, 5):
        sent += [_frame(counter), encode_alive("cam0", counter, 1)]
    return sent


def _heard(sent: list[Parts], *, gap_ms: float = 100.0) -> dict[str, str]:
    """Rules broken, with what was seen."""
    messages = [Message(parts=parts, at_ns=int(number * gap_ms * 1e6), wall_ns=time.time_ns()) for number, parts in enumerate(sent)]
    asked = [(SESSION, counter, "P1", f"W{counter}") for counter in range(1, 5)]
    asked_ns = [messages[2 * number - 1].at_ns - 50_000_000 for number in range(1, 5)] if gap_ms == 100.0 else ()
    return {found.check: found.seen for found in look_at(sort_messages(SOURCE, messages, asked, asked_ns)) if found.result == "FAIL"}


def _json(parts: Parts, **changes: object) -> Parts:
    """The header with keys changed or, where None is not a value of them, added."""
    return parts[0], msgspec.json.encode({**msgspec.json.decode(parts[1]), **changes}), parts[2]


def test_what_a_sound_camera_sends_breaks_no_rule() -> None:
    assert _heard(_sound()) == {}


SMOOTH = np.tile(np.arange(1_000, 1_032, dtype=np.uint16), (24, 1)) + np.arange(24, dtype=np.uint16)[:, None]


SPOILT: dict[str, tuple[str, int, Callable[[Parts], Parts]]] = {
    "two parts": ("three parts", 3, lambda parts: parts[:2]),
    "no JSON": ("header", 3, lambda parts: (parts[0], parts[1][:-1], parts[2])),
    "an unknown field": ("header", 3, lambda parts: _json(parts, exposure_us=100)),
    "a number as text": ("header", 3, lambda parts: _json(parts, counter="2")),
    "another version": ("header", 3, lambda parts: _json(parts, version=2)),
    "another topic": ("names", 3, lambda parts: (b"cam0b", *parts[1:])),
    "another name": ("names", 3, lambda parts: _json(parts, camera="cam1")),
    "metres": ("limits", 3, lambda parts: _json(parts, pitch_mm=[0.0002, 0.0002])),
    "a dtype of another kind": ("limits", 3, lambda parts: _json(parts, dtype="u1")),
    "half the payload": ("payload", 3, lambda parts: (*parts[:2], parts[2][:100])),
    "a bit turned": ("payload", 3, lambda parts: (*parts[:2], bytes([parts[2][0] ^ 1]) + parts[2][1:])),
    "Adler-32 for CRC-32": ("payload", 3, lambda parts: _json(parts, crc32=1)),
    "a counter left out": ("counter", 3, lambda _: _frame(7)),
    "a counter twice": ("counter", 3, lambda _: _frame(1)),
    "another pitch": ("format", 3, lambda _: _frame(2, pitch_mm=(0.3, 0.2))),
    "a constant image": ("contents", 3, lambda _: _frame(2, np.full((24, 32), 7, np.uint16))),
    "nothing but missing points": ("contents", 3, lambda _: _frame(2, np.zeros((24, 32), np.uint16))),
    "NaN": ("contents", 3, lambda _: _frame(2, np.full((24, 32), np.nan, np.float32))),
    "the frame before": ("exposures differ", 3, lambda _: _frame(2, _image(1))),
    "half of the frame before": ("exposures differ", 3, lambda _: _frame(2, np.vstack([_image(2)[:12], _image(1)[12:]]))),
    "bytes in the other order": ("contents", 3, lambda _: _frame(2, SMOOTH.byteswap())),
    "a scan from before the request": ("fresh", 3, lambda _: _frame(2, captured_ns=4 * 10**8 - 90_000_000)),
    "an alive message with a payload": ("alive messages", 2, lambda parts: (*parts[:2], b"x")),
    "an alive message with another counter": ("alive messages", 4, lambda _: encode_alive("cam0", 9, 1)),
    "an alive message with a shape": ("alive messages", 2, lambda parts: _json(parts, shape=[1, 1])),
    "a clock that stands": ("capture time", 3, lambda _: _frame(2, captured_ns=10**9)),
    "the trigger before": ("trigger", 3, lambda _: _frame(2, trigger=FrameTrigger(session=SESSION, sequence=1))),
    "no trigger": ("trigger", 3, lambda _: _frame(2, trigger=None)),
    "another weld": ("trigger", 3, lambda _: _frame(2, weld="W9")),
}


@pytest.mark.parametrize("name", SPOILT)
def test_one_spoilt_message_breaks_its_rule(name: str) -> None:
    check, place, spoil = SPOILT[name]
    sent = _sound()
    sent[place] = spoil(sent[place])
    assert check in _heard(sent), _heard(sent)


def test_a_clock_in_microseconds_is_told_from_one_in_nanoseconds() -> None:
    sent = [_frame(counter, captured_ns=counter * 2 * 10**5) for counter in range(1, 5)]
    assert "no nanoseconds" in _heard(sent, gap_ms=200.0)["capture time"]


def test_a_smooth_scan_in_the_right_order_breaks_no_rule() -> None:
    sent = _sound()
    sent[3] = _frame(2, SMOOTH)
    assert _heard(sent) == {}


def test_a_silent_pause_breaks_the_rule_of_alive_messages() -> None:
    assert set(_heard(_sound(), gap_ms=700.0)) == {"alive in time"}


def test_every_rule_is_broken_by_one_of_these_cameras() -> None:
    assert {check for check, _, _ in RULES} == {check for check, _, _ in SPOILT.values()} | {"alive in time"}


class LiveCamera:
    """The simulated camera in a thread, exposing all the time."""

    def __init__(self, endpoint: str, fault: Any) -> None:
        self._endpoint, self._fault, self._closing = endpoint, fault, False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        camera = Camera(self._endpoint, "cam0", fault=self._fault, every=2)
        scale = Scale(pitch_mm=(0.2, 0.2), z_scale_mm=0.01, z_offset_mm=0.0, no_data=0.0)
        try:
            while not self._closing:
                camera.expose(Shot(image=_image(camera.shots), scale=scale, part="P1", weld="W1", typology="T2"))
                camera.idle(0.05)
        finally:
            camera.close()

    def close(self) -> None:
        self._closing = True
        self._thread.join(10)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Any], Source]]:
    cameras: list[LiveCamera] = []

    def begin(fault: Any = None) -> Source:
        source = replace(SOURCE, endpoint=f"ipc://{tmp_path}/camera", heartbeat_ms=800.0)
        cameras.append(LiveCamera(source.endpoint, fault))
        return source

    yield begin
    for camera in cameras:
        camera.close()


def _accept(source: Source) -> Report:
    return accept_camera(source, Listening(frames=6, wait_s=20), Report(subject="c", facts={}), observer=Nobody())


def test_the_simulated_camera_passes_through_real_sockets(start: Callable[..., Source]) -> None:
    report = _accept(start())
    # Beside other tests a thread may come too late for any interval.
    assert {finding.check for finding in report.failures} <= {"alive in time"}, report.failures
    assert {"comes back", "frames", "payload"} <= {finding.check for finding in report.findings if finding.result == "pass"}


@pytest.mark.parametrize(("fault", "check"), [("truncate", "payload"), ("frozen", "exposures differ"), ("skip", "counter")])
def test_a_faulty_simulated_camera_does_not(start: Callable[..., Source], fault: str, check: str) -> None:
    report = _accept(start(fault))
    assert check in {finding.check for finding in report.failures}
    assert not report.accepted


def test_a_camera_that_is_not_there_ends_the_acceptance_with_what_to_look_at(tmp_path: Path) -> None:
    source = replace(SOURCE, endpoint=f"ipc://{tmp_path}/nobody")
    report = accept_camera(source, Listening(wait_s=0.3), Report(subject="c", facts={}), observer=Nobody())
    assert [finding.check for finding in report.failures] == ["alive on subscribing"]
    assert "firewall" in report.failures[0].seen
