# ruff: noqa: INP001 - a program to copy, not a package
"""A camera program for Cordon: everything docs/frames.md asks for, around one function `expose` that your sensor has to fill.

Needs pyzmq and numpy only. Publishes on request (ZeroMQ PULL, JSON) or at a rate. `python camera.py --help`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import zmq
from zmq.auth.thread import ThreadAuthenticator

ALIVE_S = 0.5
"""At most a quarter of `heartbeat_ms` in the box's configuration, which is 2 s unless set."""
OPTIONS = {
    zmq.SNDHWM: 16,  # old frames are worth nothing: their triggers are over
    zmq.LINGER: 500,
    zmq.HEARTBEAT_IVL: 1_000,  # a box that lost power is noticed
    zmq.HEARTBEAT_TIMEOUT: 3_000,
    zmq.HANDSHAKE_IVL: 3_000,
    zmq.MAXMSGSIZE: 1_024,  # subscriptions are short
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 1_000,
}
PITCH_MM = (0.2, 0.2)
Z_SCALE_MM, Z_OFFSET_MM = 1.0, 0.0


def expose(rows: int, cols: int, level: int) -> np.ndarray[Any, Any]:
    """Put your sensor here: one scan, rows x cols, u1 (heightmap, 0 = no data), u2 or f4 (range), little-endian.

    What stands here makes a flat surface with noise, so that no two scans are equal: the box takes equal ones for a frozen camera.
    """
    noise = np.random.default_rng().integers(-3, 4, (rows, cols))
    return np.clip(level + noise, 1, 255).astype(np.uint8)


class Boxes:
    """Asked for every box that wants to listen."""

    def __init__(self, known: bytes) -> None:
        self._known = known

    def callback(self, _domain: str, key: bytes) -> bool:
        """Is it ours?"""
        return key == self._known


class Camera:
    """One PUB socket. XPUB is a PUB that tells who subscribes, so that the box learns at once that the camera lives."""

    def __init__(self, context: zmq.Context[Any], name: str) -> None:
        self.name, self.counter = name, 0
        self.socket = context.socket(zmq.XPUB)
        for option, value in OPTIONS.items():
            self.socket.setsockopt(option, value)
        self.alive_due_s = 0.0

    def prove(self, context: zmq.Context[Any], key: Path, box_key: Path | None, *, connect: bool) -> None:
        """CURVE (docs/camera-security.md): `key` is this camera's private file. Bound, only the box of `box_key` may listen, if given."""
        secret = key.read_text().strip().encode()
        box = None if box_key is None else box_key.read_text().strip().encode()
        self.socket.curve_secretkey, self.socket.curve_publickey = secret, zmq.curve_public(secret)
        if connect:
            self.socket.curve_serverkey = box
            return
        self.socket.curve_server = True
        if box is not None:
            guard = ThreadAuthenticator(context)
            guard.start()
            guard.configure_curve_callback(domain="camera", credentials_provider=Boxes(box))
            self.socket.zap_domain = b"camera"
            self.socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def send(self, kind: str, image: np.ndarray[Any, Any], request: dict[str, Any]) -> None:
        """One message: topic, header, payload. Session and sequence exactly as the robot gave them for this exposure."""
        session, sequence = request.get("session"), request.get("sequence")
        payload = image.tobytes()
        header = {
            "version": 1,
            "camera": self.name,
            "counter": self.counter,
            "trigger": None if session is None else {"session": session, "sequence": sequence},
            "part": request["part"],
            "weld": request["weld"],
            "typology": request.get("typology"),
            "kind": kind,
            "shape": list(image.shape),
            "dtype": {"|u1": "u1", "<u2": "u2", "<f4": "f4"}[image.dtype.str],
            "pitch_mm": PITCH_MM,
            "z_scale_mm": Z_SCALE_MM,
            "z_offset_mm": Z_OFFSET_MM,
            "no_data": 0,
            "captured_ns": time.time_ns(),
            "crc32": zlib.crc32(payload),
        }
        self.socket.send_multipart([self.name.encode(), json.dumps(header).encode(), payload])
        self.alive_due_s = time.monotonic() + ALIVE_S

    def mind(self) -> None:
        """Say that the camera lives: when somebody subscribes, and while no frame leaves. The counter is that of the last frame."""
        while self.socket.poll(0):
            if self.socket.recv()[:1] == b"\x01":
                self.alive_due_s = 0.0
        if time.monotonic() >= self.alive_due_s:
            self.send("alive", np.zeros((0, 0), np.uint8), {"part": "", "weld": ""})

    def frame(self, image: np.ndarray[Any, Any], request: dict[str, Any]) -> None:
        """A scan for the weld that was asked for."""
        self.counter += 1
        self.send("heightmap" if image.dtype == np.uint8 else "range", image, request)


def main() -> int:
    """Serve until killed."""
    arguments = _arguments()
    context: zmq.Context[Any] = zmq.Context()
    camera = Camera(context, arguments.name)
    if arguments.key is not None:
        camera.prove(context, arguments.key, arguments.box_key, connect=arguments.connect)
    (camera.socket.connect if arguments.connect else camera.socket.bind)(arguments.endpoint)
    requests = context.socket(zmq.PULL)
    if arguments.requests:
        requests.bind(arguments.requests)
    due_s = time.monotonic()
    while True:
        camera.mind()
        if arguments.requests:
            if requests.poll(50):
                _answer(camera, requests.recv(), arguments)
        elif time.monotonic() >= due_s:
            due_s = time.monotonic() + 1 / arguments.rate
            camera.frame(expose(arguments.rows, arguments.cols, arguments.level), {"part": arguments.part, "weld": arguments.weld})
        else:
            time.sleep(0.01)


def _answer(camera: Camera, text: bytes, arguments: argparse.Namespace) -> None:
    try:
        request = json.loads(text)
        names = (request["part"], request["weld"])
    except (ValueError, KeyError, TypeError):
        print(f"not a request: {text[:100]!r}", file=sys.stderr)
        return
    camera.frame(expose(arguments.rows, arguments.cols, arguments.level), request)
    print(f"frame {camera.counter}: part {names[0]}, weld {names[1]}", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", default="tcp://*:5555", help="publish here; with --connect the box's address (default %(default)s)")
    parser.add_argument("--connect", action="store_true", help="the box listens (`listen` in its configuration), the camera connects")
    parser.add_argument("--name", default="cam0", help="as inspector.camera.name (default %(default)s)")
    parser.add_argument("--requests", help="take requests for exposures here: JSON with session, sequence, part, weld, typology")
    parser.add_argument("--rate", type=float, default=2.0, help="without --requests: exposures per second (default %(default)s)")
    parser.add_argument("--part", default="P1", help="without --requests (default %(default)s)")
    parser.add_argument("--weld", default="W1", help="without --requests (default %(default)s)")
    parser.add_argument("--rows", type=int, default=128)
    parser.add_argument("--cols", type=int, default=352)
    parser.add_argument("--level", type=int, default=100, help="gray of the made-up surface")
    parser.add_argument("--key", type=Path, help="this camera's private CURVE key, NAME.curve of `cordon keys camera NAME`")
    parser.add_argument("--box-key", type=Path, help="the box's public key, box.curve.pub; needed with --key and --connect")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
