"""One camera's messages: reads them part by part, checks each, and says what arrived and what did not."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

import zmq

from edge.config import CameraConfig
from edge.contract import FrameEvent, Reason
from edge.errors import FrameError
from edge.inspector.camera_link import camera_link
from edge.inspector.curve import Curve
from edge.inspector.frame import FrameHeader, check_header, check_payload, read_header
from edge.inspector.refusals import Refusals
from edge.inspector.remembered import Remembered
from edge.inspector.sequence import FrameSequence, Step

MAX_PARTS = 3
NS_PER_MS = 1_000_000
RENEW_NS = 2_000 * NS_PER_MS
"""A silent camera is connected to anew this often: ZeroMQ gives a connection up for good when its peer broke the protocol or a limit."""


@dataclass(frozen=True)
class Arrival:
    """One message of a camera. `reason` OK: header and payload may be used. No `header`: only `events` say what came."""

    header: FrameHeader | None
    text: bytes
    """The header as it came."""
    payload: memoryview
    payload_hash: str
    """BLAKE2b-128 of the payload, 32 hex digits; empty when it was not looked at."""
    received_ns: int
    reason: Reason
    detail: str
    events: tuple[FrameEvent, ...]


class CameraFeed:
    """Hears one camera from construction on; `receive` never blocks.

    Raises ConfigError where the camera has keys and the box (`curve`) has none, and where the box cannot listen at the endpoint.
    """

    def __init__(
        self,
        config: CameraConfig,
        context: zmq.Context[zmq.Socket[bytes]],
        *,
        max_frame_bytes: int,
        receive_queue: int,
        curve: Curve | None = None,
        remember: Path | None = None,
    ) -> None:
        """`remember` is the file of the frames that an earlier process saw."""
        self.name = config.name
        self._refusals = Refusals(config.name)
        self._link = camera_link(config, context, curve, self._refusals)
        self.socket = self._link.socket
        self._topic, self._named = config.name.encode(), self._link.named
        self._max_frame_bytes, self._heartbeat_ns = max_frame_bytes, int(config.heartbeat_ms * NS_PER_MS)
        self._sequence, self._heard_ns = FrameSequence(), 0
        self._seen = Remembered(remember)
        for option, value in (
            (zmq.RCVHWM, receive_queue), (zmq.MAXMSGSIZE, max_frame_bytes), (zmq.LINGER, 0),
            (zmq.HEARTBEAT_IVL, 1_000), (zmq.HEARTBEAT_TIMEOUT, 3_000), (zmq.HEARTBEAT_TTL, 3_000),
            (zmq.TCP_KEEPALIVE, 1), (zmq.TCP_KEEPALIVE_IDLE, 5), (zmq.TCP_KEEPALIVE_INTVL, 2), (zmq.TCP_KEEPALIVE_CNT, 3),
            (zmq.RECONNECT_IVL, 50), (zmq.RECONNECT_IVL_MAX, 1_000),
        ):  # fmt: skip
            self.socket.setsockopt(option, value)
        self.socket.setsockopt(zmq.SUBSCRIBE, self._topic)
        self._untold = None if config.proved else FrameEvent(self.name, None, Reason.CAMERA_OPEN, f"{config.endpoint} without keys")
        self._begun_ns = time.monotonic_ns()
        self._link.begin()

    @property
    def sockets(self) -> tuple[zmq.Socket[bytes], ...]:
        """All to wake up for: `receive` serves the first, `tend` the others."""
        return (self.socket, *self._link.others)

    @property
    def refused(self) -> int:
        """Connections and messages refused since the start."""
        return self._refusals.total

    @property
    def refusal(self) -> str:
        """Who was refused last, and why; empty: nobody was."""
        return self._refusals.last

    @property
    def heard_ns(self) -> int:
        """When anything was last heard of the camera (CLOCK_MONOTONIC); 0: never."""
        return self._heard_ns

    def alive(self, now_ns: int) -> bool:
        """Was anything heard of the camera within its heartbeat?"""
        return not self._heartbeat_ns or (self._heard_ns > 0 and now_ns - self._heard_ns <= self._heartbeat_ns)

    def tend(self, now_ns: int) -> None:
        """Let in who may come in; call it in every step, after the frames."""
        self._link.tend(self._heard_ns, now_ns)

    def told(self, now_ns: int) -> FrameEvent | None:
        """What the record should say of the link itself; mostly nothing."""
        if self._untold is not None:
            event, self._untold = self._untold, None
            return event
        return self._refusals.told(now_ns)

    def renew(self, now_ns: int) -> None:
        """Connect anew to a camera that is not `alive`, at most every two seconds."""
        if self.alive(now_ns) or now_ns - max(self._heard_ns, self._begun_ns) < RENEW_NS:
            return
        self._begun_ns = now_ns
        self._link.renew()

    def waiting(self) -> bool:
        """Is a message there already?"""
        return self.socket.poll(0) != 0

    def close(self) -> None:
        """Free its sockets."""
        self._link.close()
        self._seen.close()

    def receive(self) -> Arrival | None:
        """The next message; None when there is none, for an alive message with nothing to tell, and for another's topic or key."""
        try:
            topic, ours = self._topic_part() if self._named else (self.socket.recv(zmq.NOBLOCK), True)
        except zmq.Again:
            return None
        received_ns = time.monotonic_ns()
        header, payload, parts = self._other_parts()
        if topic != self._topic or not ours:
            return None
        try:
            return self._open(header, payload, parts, received_ns)
        except FrameError as exc:
            return Arrival(None, header, payload, "", received_ns, exc.reason, "", (FrameEvent(self.name, None, exc.reason, str(exc)),))

    def _topic_part(self) -> tuple[bytes, bool]:
        frame = self.socket.recv(zmq.NOBLOCK, copy=False)
        return frame.bytes, self._link.admits(frame)

    def _other_parts(self) -> tuple[bytes, memoryview, int]:
        header, payload, parts = b"", memoryview(b""), 1
        while self.socket.getsockopt(zmq.RCVMORE):
            parts += 1
            frame = self.socket.recv(copy=False)
            if parts == 2:
                header = frame.bytes
            elif parts == MAX_PARTS:
                payload = frame.buffer
        return header, payload, parts

    def _open(self, data: bytes, payload: memoryview, parts: int, received_ns: int) -> Arrival | None:
        if parts == 1:
            raise _parts_error(parts)
        header = read_header(data)
        if header.camera != self.name:
            remedy = "Give camera, topic and inspector.camera.name the same name"
            raise FrameError(Reason.FRAME_HEADER, "the header names another camera than the topic", seen=header.camera, remedy=remedy)
        self._heard_ns = received_ns
        if header.kind == "alive":
            events = self._told(self._sequence.alive(header.counter), header)
            return Arrival(None, data, payload, "", received_ns, Reason.OK, "", events) if events else None
        step = self._sequence.frame(header.counter, header.captured_ns)
        reason, detail, digest = self._judge(header, payload, parts, step)
        return Arrival(header, data, payload, digest, received_ns, reason, detail, self._told(step, header))

    def _judge(self, header: FrameHeader, payload: memoryview, parts: int, step: Step) -> tuple[Reason, str, str]:
        digest = ""
        try:
            _require_new(header, parts, step)
            check_header(header, max_frame_bytes=self._max_frame_bytes)
            check_payload(header, payload)
            digest = hashlib.blake2b(payload, digest_size=16).hexdigest()
            self._require_fresh(header, digest)
        except FrameError as exc:
            return exc.reason, str(exc), digest
        return Reason.OK, "", digest

    def _require_fresh(self, header: FrameHeader, digest: str) -> None:
        if digest in self._seen:
            raise FrameError(
                Reason.FRAME_FROZEN,
                "the camera sent an earlier frame again under a new counter",
                seen=f"counter {header.counter}, hash {digest}",
                remedy="Restart the camera; two exposures are never equal in every bit",
            )
        self._seen.add(digest)

    def _told(self, step: Step, header: FrameHeader) -> tuple[FrameEvent, ...]:
        if step.kind == "gap":
            text = f"{step.missed} frames lost between counter {step.before} and {header.counter}"
            return (FrameEvent(self.name, header.counter, Reason.FRAME_GAP, text, step.missed),)
        if step.kind == "restart":
            text = f"camera restarted: counter went from {step.before} to {header.counter}"
            return (FrameEvent(self.name, header.counter, Reason.FRAME_GAP, text, 0),)
        return ()


def _require_new(header: FrameHeader, parts: int, step: Step) -> None:
    if step.kind == "duplicate":
        remedy = "Count every frame once; start a new run at 0 or 1, or send an alive message first"
        seen = f"counter {header.counter} after {step.before}"
        raise FrameError(Reason.FRAME_DUPLICATE, "this frame counter was seen before", seen=seen, remedy=remedy)
    if parts != MAX_PARTS:
        raise _parts_error(parts)


def _parts_error(parts: int) -> FrameError:
    return FrameError(Reason.FRAME_PARTS, "a frame is topic, header, payload", seen=f"{parts} parts", remedy="Send exactly three parts")
