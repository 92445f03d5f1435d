"""The simulated camera with keys, in both directions, against the inspector's own feed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from curve_kit import Floor, Heard, new_pair
from curve_kit import floor as floor_of

from edge.contract import Reason
from edge.curve_keys import new_curve_pair
from edge.errors import SimulationError
from scans.folder import Scale
from sim.camera import Camera, main
from sim.camera_keys import CameraKeys, read_keys
from sim.shots import Shot

floor = pytest.fixture(floor_of)


def heard_from(heard: Heard, camera: Camera) -> None:
    heard.until(lambda: (camera.idle(0.005), heard.heard)[1])
    image = np.random.default_rng(1).integers(1, 255, (8, 12)).astype(np.uint8)
    camera.expose(Shot(image=image, scale=Scale(), part="P1", weld="W1", typology="T2"))
    heard.until(lambda: bool(heard.counters))
    assert heard.arrivals[-1].reason is Reason.OK


@pytest.mark.parametrize("known", [True, False], ids=["this box known", "no box known"])
def test_a_camera_that_binds_is_believed_by_its_key(floor: Floor, known: bool) -> None:
    pair, box = new_pair(), new_pair()
    heard = floor.hear(box, name="cam", keys=(pair.public.decode(),))
    with closing(Camera(heard.endpoint, "cam", keys=CameraKeys(pair, (new_pair().public, box.public) if known else ()))) as camera:
        heard_from(heard, camera)


def test_a_camera_that_binds_lets_no_other_box_in(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.hear(keys=(pair.public.decode(),))
    with closing(Camera(heard.endpoint, "cam", keys=CameraKeys(pair, (new_pair().public,)))) as camera:
        heard.until(lambda: (camera.idle(0.005), heard.feed.refused > 0)[1])
        assert not heard.heard
        heard.until(lambda: bool(heard.events))
        assert "does not take the box's key" in heard.events[0].detail


def test_a_camera_that_connects_is_heard_by_the_box_it_knows(floor: Floor) -> None:
    pair = new_pair()
    heard = floor.listener(pair)
    with closing(Camera(heard.endpoint, "cam", keys=CameraKeys(pair, (heard.box.public,)), connect=True)) as camera:
        heard_from(heard, camera)


def test_a_camera_that_connects_with_a_key_has_to_know_its_box() -> None:
    with pytest.raises(SimulationError, match="--box-key"):
        Camera("tcp://127.0.0.1:9", "cam", keys=CameraKeys(new_pair()), connect=True)


def test_keys_are_read_from_what_the_command_wrote(tmp_path: Path) -> None:
    pair, path = new_curve_pair(tmp_path, "cam0")
    box, _ = new_curve_pair(tmp_path, "box")
    for text in (str(tmp_path / "box.curve.pub"), box.public.decode()):
        assert read_keys(path, [text]) == CameraKeys(pair, (box.public,))
    assert read_keys(None, []) is None
    for key, boxes, told in ((None, ["x"], "--box-key without --key"), (path, ["x"], "no public key")):
        with pytest.raises(SimulationError, match=told):
            read_keys(key, boxes)
    with pytest.raises(SimulationError, match="cannot connect"):
        main([str(tmp_path), "--endpoint", "tcp://*:5555", "--connect"])
