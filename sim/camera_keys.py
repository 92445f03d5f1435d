"""What a simulated camera proves with CURVE and whom it believes, in both directions: as a camera's own program has to do it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import zmq
from zmq.auth.thread import ThreadAuthenticator

from edge.curve_keys import CurvePair, read_curve_pair
from edge.errors import SimulationError
from edge.z85 import decode_key, encode_z85

DOMAIN = "camera"


@dataclass(frozen=True)
class CameraKeys:
    """The camera's own pair and the public keys (Z85) of the boxes it knows; where it binds and knows none, it lets everybody in."""

    pair: CurvePair
    boxes: tuple[bytes, ...] = ()


def read_keys(key: Path | None, boxes: list[str]) -> CameraKeys | None:
    """From `--key FILE` and `--box-key KEY|FILE`; None without a key. Raises ConfigError, SimulationError."""
    if key is None:
        if boxes:
            raise SimulationError("--box-key without --key", seen=boxes, remedy="Give the camera's own key: `cordon keys camera NAME`")
        return None
    return CameraKeys(read_curve_pair(key), tuple(_public(text) for text in boxes))


def _public(text: str) -> bytes:
    path = Path(text)
    try:
        return encode_z85(decode_key(path.read_text(encoding="ascii").strip() if path.is_file() else text)).encode()
    except (OSError, ValueError) as exc:
        remedy = "Give the 40 or 64 characters that `cordon keys box` printed, or its .curve.pub file"
        raise SimulationError("this is no public key", seen=f"{text}: {exc}", remedy=remedy) from exc


class Identity:
    """Sets `keys` on a socket before it binds or connects; `close` comes after the socket's."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: CameraKeys) -> None:
        self._context, self._keys = context, keys
        self._guard: ThreadAuthenticator | None = None

    def connecting(self, socket: zmq.Socket[bytes]) -> None:
        """The box must be the one whose key is known. Raises SimulationError unless that is exactly one."""
        if len(self._keys.boxes) != 1:
            remedy = "Give the one public key of the box with --box-key"
            raise SimulationError("a camera that connects with a key must know its box", seen=len(self._keys.boxes), remedy=remedy)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.pair.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.pair.secret)
        socket.setsockopt(zmq.CURVE_SERVERKEY, self._keys.boxes[0])

    def binding(self, socket: zmq.Socket[bytes]) -> None:
        """Let in the boxes that are known."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.pair.secret)
        if self._keys.boxes:
            self._guard = ThreadAuthenticator(self._context)
            self._guard.start()
            self._guard.configure_curve_callback(domain=DOMAIN, credentials_provider=self)
            socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN.encode())
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def callback(self, _domain: str, key: bytes) -> bool:
        """Is this the key (Z85) of a box that is known? Asked by pyzmq's authenticator, in its thread."""
        return key in self._keys.boxes

    def close(self) -> None:
        """Ask nobody any more."""
        if self._guard is not None:
            self._guard.stop()
