"""CURVE on a camera's socket, in both directions; nothing falls back to less than was configured."""

from __future__ import annotations

from dataclasses import dataclass

import zmq

from edge.config import CameraConfig
from edge.config.curve import CurveConfig
from edge.curve_keys import CurvePair, read_curve_pair
from edge.z85 import decode_key, encode_z85

HANDSHAKE_MS = 3_000


@dataclass(frozen=True)
class Curve:
    """The box's own pair, and how long a handshake may take."""

    pair: CurvePair
    handshake_ms: int = HANDSHAKE_MS


def curve_of(config: CurveConfig | None) -> Curve | None:
    """What `[inspector.curve]` says, its key read. Raises ConfigError (missing, readable by others, no key, no CURVE in ZeroMQ)."""
    return None if config is None else Curve(read_curve_pair(config.key), int(config.handshake_ms))


def keys_of(camera: CameraConfig) -> tuple[bytes, ...]:
    """The camera's public keys, 32 bytes each."""
    return tuple(decode_key(key) for key in camera.keys)


def expect_key(socket: zmq.Socket[bytes], curve: Curve, key: bytes) -> None:
    """Connections made from now on are to the camera that has the private half of `key` (32 bytes), or fail."""
    socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.pair.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, curve.pair.secret)
    socket.setsockopt(zmq.CURVE_SERVERKEY, encode_z85(key).encode())


def demand_keys(socket: zmq.Socket[bytes], curve: Curve, domain: str) -> None:
    """Connections taken from now on prove a key that the context's Porter of `domain` knows, or fail; without a Porter all fail."""
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, curve.pair.secret)
    socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
