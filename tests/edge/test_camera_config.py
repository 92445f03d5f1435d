"""`[[inspector.camera]]` and `[inspector.curve]`: what cannot be meant is refused before anything opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge.config import CameraConfig, InspectorConfig
from edge.config.curve import CurveConfig
from edge.errors import ConfigError
from edge.z85 import decode_key, encode_z85

KEYS = tuple(encode_z85(bytes([number]) * 32) for number in range(3))
LISTENING: dict[str, Any] = {"name": "cam0", "endpoint": "tcp://*:5555", "keys": KEYS[:1], "listen": True, "allow": ("192.168.1.20",)}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"keys": ("abc",)}, r"inspector\.camera\.keys\[0\]"),
        ({"keys": (KEYS[0], "z" * 64)}, r"inspector\.camera\.keys\[1\]"),
        ({"keys": KEYS}, "two while the key is changed"),
        ({"keys": ()}, "cordon keys camera"),
        ({"allow": ()}, "allow ="),
        ({"allow": ("192.168.1.20", "192.168.1.0/33")}, r"allow\[1\]"),
        ({"allow": ("192.168.1.1/24",)}, "host bits"),
        ({"allow": ("camera.local",)}, "IPv4 address"),
        ({"allow": ("::1",)}, "IPv4 address"),
        ({"allow": ("10.0.0.1",) * 33}, "32 addresses"),
        ({"endpoint": "ipc:///run/cordon/camera"}, "PORT"),
        ({"endpoint": "tcp://box.local:5555"}, "PORT"),
        ({"endpoint": "tcp://*:0"}, "PORT"),
        ({"endpoint": "tcp://*:65536"}, "PORT"),
        ({"listen": False}, "without `listen`"),
    ],
)
def test_a_camera_that_cannot_be_meant_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        CameraConfig(**(LISTENING | changes))


def test_what_proves_nothing_is_a_camera_on_the_network_without_keys() -> None:
    proved = [
        CameraConfig(name="cam0", endpoint=endpoint, keys=keys).proved
        for endpoint, keys in (
            ("tcp://192.168.1.20:5555", ()),
            ("tcp://192.168.1.20:5555", KEYS[:1]),
            ("ipc:///run/cordon/camera", ()),
            ("ipc://@camera", ()),
        )
    ]
    assert proved == [False, True, True, False], "an abstract socket has no rights: everybody on the box may be the camera"


@pytest.mark.parametrize(
    ("second", "curve", "told"),
    [
        ({"name": "cam0", "endpoint": "tcp://*:5556", "keys": KEYS[1:2]}, True, "own name"),
        ({"name": "cam1", "endpoint": "tcp://192.168.1.5:5555", "keys": KEYS[1:2]}, True, "a port of its own"),
        ({"name": "cam1", "endpoint": "tcp://*:5556"}, True, "a key of its own"),
        ({"name": "cam1", "endpoint": "tcp://*:5556", "keys": (decode_key(KEYS[0]).hex(),)}, True, "a key of its own"),
        ({"name": "cam1", "endpoint": "tcp://*:5556", "keys": (decode_key(KEYS[1]).hex().upper(), KEYS[1])}, True, "a key of its own"),
        ({"name": "cam1", "endpoint": "tcp://*:5556", "keys": KEYS[1:2]}, False, "cordon keys box"),
    ],
)
def test_cameras_share_nothing_and_the_box_has_a_key_of_its_own(second: dict[str, Any], curve: bool, told: str) -> None:
    cameras = (CameraConfig(**LISTENING), CameraConfig(**(LISTENING | second)))
    own = CurveConfig(key=Path("/etc/cordon/keys/box.curve")) if curve else None
    with pytest.raises(ConfigError, match=told):
        InspectorConfig(trusted_keys=("ab" * 32,), bundle=Path("b"), camera=cameras, curve=own)


@pytest.mark.parametrize("handshake_ms", [0, 99, 60_001, float("nan")])
def test_the_time_for_a_handshake_has_bounds(handshake_ms: float) -> None:
    with pytest.raises(ConfigError, match="handshake_ms"):
        CurveConfig(key=Path("k"), handshake_ms=handshake_ms)
