"""`cordon sim camera`: publishes scans as a 3D camera does, freely or on request, with faults on purpose for commissioning drills."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import msgspec
import numpy as np
import zmq
from numpy.typing import NDArray

from edge.errors import DatasetError, SimulationError
from edge.inspector.frame import HEADER_VERSION, FrameHeader, FrameTrigger, encode_alive, encode_frame
from scans.folder import kind_of
from sim.camera_keys import CameraKeys, Identity, read_keys
from sim.shots import COLUMNS, CaptureRequest, Shot, WeldTable, folder_shots

Fault: TypeAlias = Literal["nan", "truncate", "crc", "duplicate", "skip", "frozen", "late", "wrong-typology"]
ALIVE_S = 0.2
SUBSCRIBER_S = 30.0
LATE_S = 1.0
CONNECTION = (
    (zmq.HEARTBEAT_IVL, 1_000),
    (zmq.HEARTBEAT_TIMEOUT, 3_000),
    (zmq.HANDSHAKE_IVL, 3_000),
    (zmq.RECONNECT_IVL_MAX, 1_000),
    (zmq.MAXMSGSIZE, 1_024),
)
"""What every camera should set: a box that lost power is noticed, and one that comes back is found again."""


class Camera:
    """Publishes on `endpoint` under the topic `name`; says that it is alive whenever somebody subscribes and while it idles.

    It binds, or with `connect` goes to a box that listens; with `keys` it proves who it is and believes the boxes it knows alone.
    """

    def __init__(
        self,
        endpoint: str,
        name: str,
        *,
        fault: Fault | None = None,
        every: int = 1,
        typologies: Sequence[str] = (),
        keys: CameraKeys | None = None,
        connect: bool = False,
    ) -> None:
        self.name, self.counter, self.shots = name, 0, 0
        """`counter` is that of the last frame, as its header says; `shots` counts exposures."""
        self._fault, self._every, self._typologies = fault, every, tuple(typologies)
        self._previous: NDArray[Any] | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.XPUB)
        for option, value in ((zmq.LINGER, 500), (zmq.SNDHWM, 16), *CONNECTION):
            self._socket.setsockopt(option, value)
        self._alive_due_s, self._subscribers = 0.0, 0
        self._identity = None if keys is None else Identity(self._context, keys)
        try:
            self._begin(endpoint, connect=connect)
        except SimulationError:
            self.close()
            raise

    def _begin(self, endpoint: str, *, connect: bool) -> None:
        if self._identity is not None:
            (self._identity.connecting if connect else self._identity.binding)(self._socket)
        (_connect if connect else _bind)(self._socket, endpoint)

    def wait_for_subscriber(self, seconds: float) -> None:
        """Return when somebody subscribed. Raises SimulationError after `seconds`."""
        until = time.monotonic() + seconds
        while not self._subscribers:
            if time.monotonic() > until:
                remedy = "Start the inspector with this endpoint and camera name in its configuration"
                raise SimulationError(f"nobody subscribed to camera {self.name}", seen=f"waited {seconds:g} s", remedy=remedy)
            self.idle(0.01)

    def idle(self, seconds: float) -> None:
        """Wait, saying alive when it is due or when a subscriber comes."""
        until = time.monotonic() + seconds
        while True:
            left_s = until - time.monotonic()
            due_s = self._alive_due_s - time.monotonic()
            if self._socket.poll(int(max(0.0, min(left_s, due_s)) * 1000)):
                joined = self._socket.recv()[:1] == b"\x01"
                self._subscribers += 1 if joined else -1
                self._alive_due_s = 0.0
            if time.monotonic() >= self._alive_due_s:
                self._socket.send_multipart(encode_alive(self.name, self.counter, time.time_ns()))
                self._alive_due_s = time.monotonic() + ALIVE_S
            if left_s <= 0:
                return

    def expose(self, shot: Shot) -> None:
        """Count, apply the fault when it is this frame's turn, and publish."""
        self.counter += 1
        self.shots += 1
        if self._fault is not None and self.shots % self._every == 0:
            self._expose_faulty(shot, self._fault)
        else:
            self._send(self._encode(shot))
        self._previous = shot.image

    def _expose_faulty(self, shot: Shot, fault: Fault) -> None:
        if fault == "skip":
            return
        if fault == "late":
            self.idle(LATE_S)
        parts = self._encode(_faulty(shot, fault, self._previous, self._typologies))
        if fault == "truncate":
            parts = (*parts[:2], parts[2][: len(parts[2]) // 2])
        elif fault == "crc":
            parts = (*parts[:2], bytes([parts[2][0] ^ 1]) + parts[2][1:])
        self._send(parts)
        if fault == "duplicate":
            self._send(parts)

    def _send(self, parts: tuple[bytes, bytes, bytes]) -> None:
        self._socket.send_multipart(parts)
        self._alive_due_s = time.monotonic() + ALIVE_S

    def _encode(self, shot: Shot) -> tuple[bytes, bytes, bytes]:
        trigger, kind = shot.trigger, kind_of(shot.image)
        header = FrameHeader(
            version=HEADER_VERSION,
            camera=self.name,
            counter=self.counter,
            trigger=None if trigger is None else FrameTrigger(session=trigger.session, sequence=trigger.sequence),
            part=shot.part,
            weld=shot.weld,
            typology=shot.typology,
            kind=kind,
            shape=(0, 0),
            dtype="u1",
            pitch_mm=shot.scale.pitch_mm,
            z_scale_mm=shot.scale.z_scale_mm,
            z_offset_mm=shot.scale.z_offset_mm,
            no_data=_no_data(shot, kind),
            captured_ns=time.time_ns(),
            crc32=0,
        )
        return encode_frame(header, shot.image)

    def close(self) -> None:
        """Free the endpoint."""
        self._socket.close()
        if self._identity is not None:
            self._identity.close()
        self._context.term()


def _no_data(shot: Shot, kind: str) -> float | Literal["nan"]:
    if kind == "heightmap":
        return 0.0
    return "nan" if math.isnan(shot.scale.no_data) else shot.scale.no_data


def _faulty(shot: Shot, fault: Fault, previous: NDArray[Any] | None, typologies: Sequence[str]) -> Shot:
    if fault == "nan":
        image = shot.image.astype(np.float32)
        # Where NaN says that a point is missing, it is no fault.
        image[image.shape[0] // 2, image.shape[1] // 2] = np.inf if math.isnan(shot.scale.no_data) else np.nan
        return replace(shot, image=image)
    if fault == "frozen" and previous is not None:
        return replace(shot, image=previous)
    if fault == "wrong-typology":
        return replace(shot, typology=next((name for name in typologies if name != shot.typology), "no-such-typology"))
    return shot


def main(argv: Sequence[str]) -> int:
    """Publish a folder of PNG, TIFF or NPY scans at a rate, or answer capture requests with the scans of a table."""
    arguments = _parser().parse_args(argv)
    if (arguments.capture is None) != (arguments.welds is None) or (arguments.folder is None) == (arguments.capture is None):
        print("cordon sim camera: give either a FOLDER or --capture with --welds", file=sys.stderr)
        return 2
    table = None if arguments.welds is None else WeldTable(arguments.welds)
    typologies = () if table is None else table.typologies
    camera = Camera(
        arguments.endpoint,
        arguments.name,
        fault=arguments.fault,
        every=arguments.every,
        typologies=typologies,
        keys=read_keys(arguments.key, arguments.box_key),
        connect=arguments.connect,
    )
    try:
        if table is None:
            publish_folder(camera, arguments.folder, rate=arguments.rate, typology=arguments.typology)
        else:
            requests = CaptureRequests(arguments.capture)
            while True:
                answer(camera, requests, table, capture_s=arguments.capture_ms / 1000, name_typology=arguments.name_typology)
    finally:
        camera.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon sim camera", description=main.__doc__)
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="publish every scan below it once, then end")
    parser.add_argument("--endpoint", required=True, help="address to publish on, such as tcp://*:5555")
    parser.add_argument("--connect", action="store_true", help="the box listens at --endpoint (`listen = true`), and the camera connects")
    parser.add_argument("--key", type=Path, help="the camera's private key, of `cordon keys camera`: prove who it is")
    parser.add_argument("--box-key", action="append", default=[], metavar="KEY", help="the box's public key, or its .curve.pub file")
    parser.add_argument("--name", default="cam0", help="camera name and topic (default %(default)s)")
    parser.add_argument("--rate", type=_positive, default=2.0, help="frames per second of FOLDER (default %(default)s)")
    parser.add_argument("--typology", help="typology that the frames of FOLDER name")
    parser.add_argument("--capture", help="address where the robot asks for exposures")
    parser.add_argument("--welds", type=Path, help=f"CSV with the columns {', '.join(COLUMNS)}")
    parser.add_argument("--capture-ms", type=float, default=0.0, help="exposure time before a frame leaves (default %(default)s)")
    parser.add_argument("--name-typology", action=argparse.BooleanOptionalAction, default=True, help="does the frame name the typology?")
    parser.add_argument("--fault", choices=get_args(Fault), help="what goes wrong")
    parser.add_argument("--every", type=_count, default=10, help="with every how many frames (default %(default)s)")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def publish_folder(camera: Camera, folder: Path, *, rate: float, typology: str | None) -> None:
    """Wait for a subscriber, then publish every scan once and print its counter and file. Raises SimulationError or DatasetError."""
    camera.wait_for_subscriber(SUBSCRIBER_S)
    for file, shot in folder_shots(folder, typology):
        camera.expose(shot)
        print(f"{camera.counter} {file}", flush=True)
        camera.idle(1 / rate)


class CaptureRequests:
    """The socket on which the robot asks for exposures."""

    def __init__(self, endpoint: str) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        _bind(self._socket, endpoint)

    def receive(self, seconds: float) -> CaptureRequest | None:
        """The next request within `seconds`; one that cannot be read is named on standard error and left out."""
        if not self._socket.poll(int(seconds * 1000)):
            return None
        text = self._socket.recv()
        try:
            return msgspec.json.decode(text, type=CaptureRequest)
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            print(f"camera: a capture request was not understood: {exc}; seen {text[:200]!r}", file=sys.stderr)
            return None

    def close(self) -> None:
        """Free the endpoint."""
        self._socket.close()


def answer(camera: Camera, requests: CaptureRequests, table: WeldTable, *, capture_s: float, name_typology: bool) -> None:
    """One turn: wait for a request while saying alive, expose, publish. A weld without a scan gives no frame, as with a real camera."""
    camera.idle(0)
    request = requests.receive(ALIVE_S / 4)
    if request is None:
        return
    due_s = time.monotonic() + capture_s
    try:
        shot = table.shot(request, name_typology=name_typology)
    except (SimulationError, DatasetError) as exc:
        print(f"camera: {exc}", file=sys.stderr)
        return
    camera.idle(max(0.0, due_s - time.monotonic()))
    camera.expose(shot)


def _bind(socket: zmq.Socket[bytes], endpoint: str) -> None:
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as exc:
        socket.close()
        raise SimulationError(f"cannot bind {endpoint}", seen=exc, remedy="Choose a free tcp:// or ipc:// address of this machine") from exc


def _connect(socket: zmq.Socket[bytes], endpoint: str) -> None:
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as exc:
        raise SimulationError(f"cannot connect to {endpoint}", seen=exc, remedy="Give the box's tcp:// address, without a *") from exc
