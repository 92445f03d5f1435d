"""Robot and camera in one process with one clock: publishes a frame and waits for the verdict's bytes on the pseudo-terminal."""

from __future__ import annotations

import os
import pty
import secrets
import select
import time
import tty
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq
from numpy.typing import NDArray

from edge.contract import Outcome
from edge.errors import SimulationError
from edge.gate.codec import Decoder, encode_frame
from edge.gate.messages import Ack, Done, Heartbeat, Hello, Message, State, Trigger, Verdict
from edge.inspector.frame import FrameHeader, FrameTrigger, encode_alive
from edge.inspector.frame import encode_frame as encode_camera_frame

HEARTBEAT_S = 0.05
CAMERA = "cam0"


@dataclass(frozen=True)
class Cycle:
    """One weld: when its frame was published, when the verdict was readable, and what it was (CLOCK_MONOTONIC ns)."""

    published_ns: int
    verdict_ns: int
    verdict: Verdict | None

    @property
    def latency_ms(self) -> float:
        """Frame published to verdict readable."""
        return (self.verdict_ns - self.published_ns) / 1e6


class Driver:
    """One session with a gate in the handshake profile; single-threaded, so that nothing but the line is measured."""

    def __init__(self, port: Path, camera: str, typology: str, *, distinct: bool = True) -> None:
        """`distinct`: one bit of every frame differs, so that the same image may come again."""
        self._distinct = distinct
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self._slave = slave
        port.unlink(missing_ok=True)
        port.symlink_to(os.ttyname(slave))
        self._poll = select.poll()
        self._poll.register(self.master, select.POLLIN)
        self._camera = self.camera_socket(camera)
        self._decoder = Decoder("G")
        self._nonce = secrets.token_hex(4)
        self._typology = typology
        self.session = ""
        self.state: State | None = None
        self._counter = self._beats = 0
        self.sequence = 0
        """Of the last trigger."""
        self._due_s = 0.0

    def wait_ready(self, seconds: float) -> None:
        """Say hello until a session is open and the gate is READY; the camera sends alive messages meanwhile. Raises SimulationError."""
        until = time.monotonic() + seconds
        while not (self.session and self.state is State.READY):
            if time.monotonic() > until:
                raise SimulationError(f"the line was not READY within {seconds:g} s", seen=self.state, remedy="See the daemons' logs")
            if not self.session:
                self._send(Hello(nonce=self._nonce))
            self._camera.send_multipart(encode_alive(CAMERA, self._counter, time.time_ns()))
            self.idle(0.02)

    def idle(self, seconds: float) -> None:
        """Keep the session alive for this long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for message in self._receive(min(left, HEARTBEAT_S)):
                self._take(message)

    def inspect(self, image: NDArray[Any], *, exposure_s: float, deadline_s: float = 1.0) -> Cycle:
        """Trigger, wait for the exposure, publish, wait for the verdict and acknowledge it."""
        self.sequence += 1
        self._counter += 1
        self._send(Trigger(session=self.session, sequence=self.sequence, part=f"P{self.sequence:05d}", weld="W1", typology=self._typology))
        frame = self._frame(image)
        self.idle(exposure_s)
        published_ns = time.monotonic_ns()
        self._camera.send_multipart(frame)
        verdict, verdict_ns = self._wait_verdict(time.monotonic() + deadline_s)
        if verdict is not None:
            done = Done.ACCEPTED if verdict.outcome is Outcome.ACCEPT else Done.REJECTED
            self._send(Ack(session=self.session, sequence=self.sequence, outcome=verdict.outcome, done=done))
        return Cycle(published_ns, verdict_ns, verdict)

    def renew(self, seconds: float) -> None:
        """Begin another session, numbered from 1 again. Raises SimulationError."""
        self._nonce, self.session, self.state, self.sequence = secrets.token_hex(4), "", None, 0
        self.wait_ready(seconds)

    def camera_socket(self, endpoint: str) -> zmq.Socket[bytes]:
        """What frames are published with: it binds and proves nothing."""
        camera: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
        camera.bind(endpoint)
        return camera

    def close(self) -> None:
        """Close the camera and hang up."""
        self._camera.close(linger=0)
        os.close(self.master)
        os.close(self._slave)

    def _wait_verdict(self, until_s: float) -> tuple[Verdict | None, int]:
        while time.monotonic() < until_s:
            messages = self._receive(min(until_s - time.monotonic(), HEARTBEAT_S))
            now_ns = self._read_ns
            for message in messages:
                if isinstance(message, Verdict) and message.sequence == self.sequence:
                    return message, now_ns
                self._take(message)
        return None, time.monotonic_ns()

    def _take(self, message: Message) -> None:
        if isinstance(message, Hello) and message.peer == self._nonce:
            self.session = self._nonce + message.nonce
        elif isinstance(message, Heartbeat):
            self.state = message.state

    def _receive(self, seconds: float) -> Sequence[Message]:
        if time.monotonic() >= self._due_s and self.session:
            self._beats = (self._beats + 1) % 65_536
            self._send(Heartbeat(session=self.session, state=State.READY, counter=self._beats))
            self._due_s = time.monotonic() + HEARTBEAT_S
        if not self._poll.poll(seconds * 1000):
            return ()
        data = os.read(self.master, 4096)
        self._read_ns = time.monotonic_ns()
        return self._decoder.feed(data)

    def _send(self, message: Message) -> None:
        os.write(self.master, encode_frame(message, "R"))

    def _frame(self, image: NDArray[Any]) -> tuple[bytes, bytes, bytes]:
        # The inspector takes an image that comes again for a frozen camera's: one bit differs each time.
        image = image.copy()
        if self._distinct:
            image.reshape(-1)[self._counter % image.size] ^= 1
        header = FrameHeader(
            version=1,
            camera=CAMERA,
            counter=self._counter,
            trigger=FrameTrigger(session=self.session, sequence=self.sequence),
            part=f"P{self.sequence:05d}",
            weld="W1",
            typology=self._typology,
            kind="heightmap",
            shape=(image.shape[0], image.shape[1]),
            dtype="u1",
            pitch_mm=(0.2, 0.2),
            z_scale_mm=0.01,
            z_offset_mm=0.0,
            no_data=0.0,
            captured_ns=time.time_ns(),
            crc32=zlib.crc32(image.tobytes()),
        )
        return encode_camera_frame(header, image)
