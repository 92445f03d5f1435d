"""A running inspector in one process with real sockets: a camera's PUB socket and a gate's unix socket around the daemon."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from numpy.typing import NDArray
from tiny import PUBLIC, TinyBundle, frame_image

from edge.config import CameraConfig, Config, GateConfig, InspectorConfig
from edge.contract import Expect, FrameEvent, InspectorState, Report, ToGate, TriggerId, decode_to_gate, encode
from edge.inspector.daemon import InspectorDaemon
from edge.inspector.frame import FrameHeader, FrameTrigger, encode_alive, encode_frame

SESSION = "0123456789abcdef"
Parts = tuple[bytes, bytes, bytes]


def make_header(**changes: Any) -> FrameHeader:
    header = FrameHeader(
        version=1,
        camera="cam",
        counter=1,
        trigger=FrameTrigger(session=SESSION, sequence=7),
        part="P1",
        weld="W1",
        typology="T2",
        kind="heightmap",
        shape=(0, 0),
        dtype="u1",
        pitch_mm=(0.2, 0.2),
        z_scale_mm=0.01,
        z_offset_mm=0.0,
        no_data=0,
        captured_ns=1,
        crc32=0,
    )
    return msgspec.structs.replace(header, **changes)


def make_parts(image: NDArray[Any] | None = None, **changes: Any) -> Parts:
    return encode_frame(make_header(**changes), frame_image(40) if image is None else image)


@dataclass
class FakeGate:
    """The gate's listening socket and what came in on it."""

    listener: socket.socket
    connection: socket.socket | None = None
    messages: list[ToGate] = field(default_factory=list)

    def poll(self) -> None:
        if self.connection is None:
            try:
                self.connection, _ = self.listener.accept()
            except BlockingIOError:
                return
            self.connection.setblocking(False)
        while True:
            try:
                packet = self.connection.recv(65_536)
            except BlockingIOError:
                return
            if not packet:
                self.connection.close()
                self.connection = None
                return
            self.messages.append(decode_to_gate(packet))

    def of(self, kind: type) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    @property
    def reports(self) -> list[Report]:
        return self.of(Report)

    @property
    def events(self) -> list[FrameEvent]:
        return self.of(FrameEvent)

    @property
    def states(self) -> list[InspectorState]:
        return self.of(InspectorState)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.listener.close()


def listen(path: Path) -> FakeGate:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen(1)
    listener.setblocking(False)
    return FakeGate(listener)


@dataclass
class Cell:
    """Camera, inspector and gate; `tick` lets each of them do its part once."""

    config: Config
    camera: zmq.Socket[bytes]
    gate: FakeGate
    daemon: InspectorDaemon

    def tick(self) -> None:
        self.daemon.step()
        self.gate.poll()

    def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds} s in vain; the gate heard {self.gate.messages[-3:]}"
            self.tick()

    def send(self, *parts: bytes) -> None:
        self.camera.send_multipart(parts)

    def judge(self, *parts: bytes) -> Report:
        """Publish and return the report it gets."""
        before = len(self.gate.reports)
        self.send(*parts)
        self.until(lambda: len(self.gate.reports) > before)
        return self.gate.reports[-1]

    def event(self, *parts: bytes) -> FrameEvent:
        before = len(self.gate.events)
        self.send(*parts)
        self.until(lambda: len(self.gate.events) > before)
        return self.gate.events[-1]

    def expect(self, typology: str | None, sequence: int = 7) -> None:
        assert self.gate.connection is not None
        self.gate.connection.send(encode(Expect(TriggerId(SESSION, sequence), "P1", "W1", typology)))

    def close(self) -> None:
        self.daemon.close()
        self.gate.close()


def make_config(folder: Path, **changes: Any) -> Config:
    """A configuration around `folder`; needs no port, for the inspector opens none."""
    settings: dict[str, Any] = {
        "bundle": folder / "tiny.bundle",
        "trusted_keys": (PUBLIC,),
        "camera": (CameraConfig(name="cam", endpoint=f"ipc://{folder}/cam", heartbeat_ms=5_000),),
        "threads": 1,
    }
    inspector = InspectorConfig(**(settings | changes))
    return Config(gate=GateConfig(port="/dev/null", records=folder / "r.db", socket=folder / "gate"), inspector=inspector)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Cell]]:
    """`start(bundle=..., **inspector settings)` gives a READY cell."""
    cells: list[Cell] = []
    gates: list[FakeGate] = []
    with zmq.Context() as context, context.socket(zmq.XPUB) as camera:
        camera.setsockopt(zmq.LINGER, 0)

        def begin(bundle: TinyBundle | None = None, **settings: Any) -> Cell:
            config = make_config(tmp_path, **settings)
            (bundle or TinyBundle()).save(config.inspector.bundle)
            camera.bind(config.inspector.camera[0].endpoint)
            gates.append(gate := listen(config.gate.socket))
            cell = Cell(config, camera, gate, InspectorDaemon(config))
            cells.append(cell)
            assert camera.poll(5_000), "the inspector subscribes"
            assert camera.recv() == b"\x01cam"
            cell.send(*encode_alive("cam", 0, 1))
            cell.until(lambda: any(state.ready for state in cell.gate.states))
            return cell

        yield begin
        for part in (*cells, *gates):
            part.close()


@pytest.fixture
def cell(start: Callable[..., Cell]) -> Cell:
    return start()


@pytest.fixture
def scan() -> NDArray[np.uint8]:
    return frame_image(40)
