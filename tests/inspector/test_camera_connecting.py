"""The box connects to cameras: only the one that has the private half of its key is heard, and what proves nothing is said aloud."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zmq
from cell_kit import make_parts
from curve_kit import Floor, Heard, new_pair, own_endpoint, says
from curve_kit import floor as floor_of
from tiny import frame_image

from edge.config import CameraConfig
from edge.config.curve import CurveConfig
from edge.contract import Reason
from edge.curve_keys import CurvePair, new_curve_pair
from edge.errors import ConfigError
from edge.health.look import look
from edge.inspector.camera import CameraFeed
from edge.inspector.zap import Porter
from edge.z85 import decode_key

floor = pytest.fixture(floor_of)
LATER_NS = 3_000_000_000


@dataclass
class Served:
    """A camera that binds, with its key and, when given, a list of boxes that it lets in."""

    camera: zmq.Socket[bytes]
    context: zmq.Context[zmq.Socket[bytes]]
    porter: Porter | None

    def step(self) -> None:
        if self.porter is not None:
            self.porter.answer()

    def close(self) -> None:
        if self.porter is not None:
            self.porter.close()
        self.camera.close()
        self.context.term()


@contextlib.contextmanager
def camera_at(endpoint: str, pair: CurvePair | None, *boxes: CurvePair) -> Iterator[Served]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    camera = context.socket(zmq.XPUB)
    camera.setsockopt(zmq.LINGER, 0)
    if pair is not None:
        camera.setsockopt(zmq.CURVE_SERVER, 1)
        camera.setsockopt(zmq.CURVE_SECRETKEY, pair.secret)
    porter = None
    if boxes:
        camera.setsockopt(zmq.ZAP_DOMAIN, b"boxes")
        camera.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        keys = [decode_key(box.public.decode()) for box in boxes]
        porter = Porter(context, "boxes", keys, lambda _who: None)
    camera.bind(endpoint)
    served = Served(camera, context, porter)
    yield served
    served.close()


def came_in(heard: Heard, served: Served, counter: int = 1) -> None:
    def try_again() -> bool:
        served.step()
        says(served.camera, counter)
        heard.step()
        return counter in heard.counters

    heard.until(try_again)


def refused(heard: Heard, served: Served) -> str:
    """What was told when nothing came in."""

    def try_again() -> bool:
        served.step()
        says(served.camera)
        return heard.feed.refused > 0

    heard.until(try_again)
    heard.until(lambda: any(event.reason is Reason.CAMERA_REFUSED for event in heard.events))
    assert not heard.heard
    return heard.events[-1].detail


def test_a_camera_that_has_its_key_is_heard(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.hear(keys=(pair.public.decode(),))
    with camera_at(heard.endpoint, pair) as served:
        came_in(heard, served)
    assert heard.arrivals[0].reason is Reason.OK
    assert not heard.events


def test_an_impostor_at_the_cameras_address_is_not_heard(floor: Floor) -> None:
    heard = floor.hear(keys=(new_pair().public.decode(),))
    with camera_at(heard.endpoint, new_pair()) as served:
        assert "its key is none of `keys`" in refused(heard, served)


def test_a_camera_without_curve_is_not_heard_where_it_has_keys(floor: Floor) -> None:
    heard = floor.hear(keys=(new_pair().public.decode(),))
    with camera_at(heard.endpoint, None) as served:
        assert "speaks no CURVE" in refused(heard, served)


def test_a_camera_that_wants_curve_and_gets_none_is_named(floor: Floor) -> None:
    heard = floor.hear()
    with camera_at(heard.endpoint, new_pair()) as served:
        assert "it wants CURVE" in refused(heard, served)


def test_a_camera_that_knows_another_box_says_so(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.hear(keys=(pair.public.decode(),))
    with camera_at(heard.endpoint, pair, new_pair()) as served:
        refused(heard, served)


def test_a_camera_that_knows_this_box_is_heard(floor: Floor) -> None:
    pair, box = new_pair(), new_pair()
    heard = floor.hear(box, keys=(pair.public.decode(),))
    with camera_at(heard.endpoint, pair, new_pair(), box) as served:
        came_in(heard, served)


@pytest.mark.parametrize("has", [0, 1])
def test_while_a_key_is_changed_either_is_expected_in_turn(floor: Floor, has: int) -> None:
    pairs = (new_pair(), new_pair())
    heard = floor.hear(keys=tuple(pair.public.decode() for pair in pairs))
    with camera_at(heard.endpoint, pairs[has]) as served:
        if has:
            refused(heard, served)
            heard.feed.renew(time.monotonic_ns() + LATER_NS)
        came_in(heard, served)


def test_either_key_is_expected_in_turn_of_a_camera_whose_silence_is_allowed_too(floor: Floor) -> None:
    pairs = (new_pair(), new_pair())
    heard = floor.hear(keys=tuple(pair.public.decode() for pair in pairs), heartbeat_ms=0)
    with camera_at(heard.endpoint, pairs[1]) as served:
        came_in(heard, served)
        assert heard.feed.alive(time.monotonic_ns())


def test_a_camera_whose_silence_is_allowed_is_left_in_peace_while_it_is_connected(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.hear(keys=(pair.public.decode(),), heartbeat_ms=0)
    begun: list[int] = []
    with camera_at(heard.endpoint, pair) as served:
        came_in(heard, served)
        heard.feed._link.renew = lambda: begun.append(1)  # type: ignore[method-assign]
        heard.after(0.1)
        heard.feed.tend(time.monotonic_ns() + 60 * LATER_NS)
        assert begun == []


def test_a_camera_that_comes_back_with_its_key_is_heard_again(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.hear(keys=(pair.public.decode(),), heartbeat_ms=300.0)
    for counter in (1, 2):
        with camera_at(heard.endpoint, pair) as served:
            came_in(heard, served, counter)


def test_keys_without_the_boxs_own_are_refused(floor: Floor) -> None:
    config = CameraConfig(name="cam", endpoint=own_endpoint(), keys=(new_pair().public.decode(),))
    with pytest.raises(ConfigError, match=r"inspector\.curve"):
        CameraFeed(config, floor.context, max_frame_bytes=1 << 16, receive_queue=8)


@pytest.mark.parametrize(
    ("camera", "open_to_all"), [({}, True), ({"keys": (new_pair().public.decode(),)}, False), ({"endpoint": ""}, False)]
)
def test_a_camera_on_the_network_that_proves_nothing_is_said_aloud_once(
    floor: Floor, tmp_path: Path, caplog: pytest.LogCaptureFixture, camera: dict[str, Any], open_to_all: bool
) -> None:
    heard = floor.hear(**({"endpoint": f"ipc://{tmp_path}/cam"} if "endpoint" in camera else camera))
    heard.after(0.05)
    assert [event.reason for event in heard.events] == ([Reason.CAMERA_OPEN] if open_to_all else [])
    assert ("proves nothing" in caplog.text) is open_to_all


def told_by_status(folder: Path) -> bool:
    seen = look(folder)
    events, shown = seen.inspector.tables.get("events", {}), seen.inspector_state
    counted = ("cam3", "CAMERA_OPEN") in events and ("cam2", "CAMERA_REFUSED") in events
    refusals = {camera.name: (camera.refused > 0, camera.refusal) for camera in shown.cameras} if shown is not None else {}
    return counted and refusals["cam2"][0] and "proved no key" in refusals["cam2"][1] and refusals["cam"] == (False, "")


def test_the_record_hears_of_a_camera_that_proves_nothing_and_of_strangers(start: Callable[..., Any], tmp_path: Path) -> None:
    endpoint, pair = own_endpoint(), new_pair()
    _, path = new_curve_pair(tmp_path, "box")
    listening = CameraConfig(
        name="cam2", endpoint=endpoint, keys=(pair.public.decode(),), listen=True, allow=("127.0.0.0/8",), heartbeat_ms=0
    )
    plain = CameraConfig(name="cam3", endpoint=own_endpoint(), heartbeat_ms=0)
    first = CameraConfig(name="cam", endpoint=f"ipc://{tmp_path}/cam", heartbeat_ms=5_000)
    cell = start(camera=(first, listening, plain), curve=CurveConfig(key=path))
    with zmq.Context() as context, context.socket(zmq.PUB) as stranger:
        stranger.setsockopt(zmq.LINGER, 0)
        stranger.connect(endpoint)
        cell.until(lambda: {(event.camera, event.reason) for event in cell.gate.events} >= {
            ("cam3", Reason.CAMERA_OPEN), ("cam2", Reason.CAMERA_REFUSED)})  # fmt: skip
        cell.until(lambda: told_by_status(tmp_path))
    assert cell.judge(*make_parts(frame_image(40, seed=8))).reason is Reason.OK


def test_a_listening_camera_is_judged_like_any_other(start: Callable[..., Any], tmp_path: Path) -> None:
    endpoint, pair = own_endpoint(), new_pair()
    box, path = new_curve_pair(tmp_path, "box")
    listening = CameraConfig(
        name="cam2", endpoint=endpoint, keys=(pair.public.decode(),), listen=True, allow=("127.0.0.0/8",), heartbeat_ms=0
    )
    first = CameraConfig(name="cam", endpoint=f"ipc://{tmp_path}/cam", heartbeat_ms=5_000)
    cell = start(camera=(first, listening), curve=CurveConfig(key=path))
    with zmq.Context() as context, context.socket(zmq.XPUB) as camera:
        camera.setsockopt(zmq.LINGER, 0)
        for option, value in ((zmq.CURVE_PUBLICKEY, pair.public), (zmq.CURVE_SECRETKEY, pair.secret), (zmq.CURVE_SERVERKEY, box.public)):
            camera.setsockopt(option, value)
        camera.connect(endpoint)
        cell.until(lambda: camera.poll(0) != 0)
        topic, header, payload = make_parts(camera="cam2")
        camera.send_multipart([topic, header, payload])
        cell.until(lambda: bool(cell.gate.reports))
    assert (cell.gate.reports[-1].camera, cell.gate.reports[-1].reason) == ("cam2", Reason.OK)


def test_an_inspector_does_not_start_with_a_key_that_others_may_read(start: Callable[..., Any], tmp_path: Path) -> None:
    _, path = new_curve_pair(tmp_path, "box")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        start(curve=CurveConfig(key=path))
