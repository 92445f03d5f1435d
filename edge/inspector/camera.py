"""One camera's SUB socket: reads a message part by part, checks it, and says what arrived and what did not."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import deque
from dataclasses import dataclass

import zmq

from edge.config import CameraConfig
from edge.contract import FrameEvent, Reason
from edge.errors import FrameError
from edge.inspector.frame import FrameHeader, check_header, check_payload, read_header
from edge.inspector.sequence import FrameSequence, Step

MAX_PARTS = 3
REMEMBERED = 16
"""Hashes of frames kept to know one that comes again: a frozen camera may hand out several old buffers in turn."""
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
    """Subscribed to one camera from construction on; `receive` never blocks."""

    def __init__(self, config: CameraConfig, context: zmq.Context[zmq.Socket[bytes]], *, max_frame_bytes: int, receive_queue: int) -> None:
        self.name = config.name
        self.socket = context.socket(zmq.SUB)
        self._topic = config.name.encode()
        self._max_frame_bytes, self._heartbeat_ns = max_frame_bytes, int(config.heartbeat_ms * NS_PER_MS)
        self._sequence, self._heard_ns = FrameSequence(), 0
        self._hashes: deque[str] = deque(maxlen=REMEMBERED)
        for option, value in (
            (zmq.RCVHWM, receive_queue), (zmq.MAXMSGSIZE, max_frame_bytes), (zmq.LINGER, 0),
            (zmq.HEARTBEAT_IVL, 1_000), (zmq.HEARTBEAT_TIMEOUT, 3_000), (zmq.RECONNECT_IVL, 50), (zmq.RECONNECT_IVL_MAX, 1_000),
        ):  # fmt: skip
            self.socket.setsockopt(option, value)
        self.socket.setsockopt(zmq.SUBSCRIBE, self._topic)
        self._endpoint, self._connected_ns = config.endpoint, time.monotonic_ns()
        self.socket.connect(self._endpoint)

    @property
    def heard_ns(self) -> int:
        """When anything was last heard of the camera (CLOCK_MONOTONIC); 0: never."""
        return self._heard_ns

    def alive(self, now_ns: int) -> bool:
        """Was anything heard of the camera within its heartbeat?"""
        return not self._heartbeat_ns or (self._heard_ns > 0 and now_ns - self._heard_ns <= self._heartbeat_ns)

    def renew(self, now_ns: int) -> None:
        """Connect anew to a camera that is not `alive`, at most every two seconds."""
        if self.alive(now_ns) or now_ns - max(self._heard_ns, self._connected_ns) < RENEW_NS:
            return
        self._connected_ns = now_ns
        with contextlib.suppress(zmq.ZMQError):  # where ZeroMQ gave the connection up there is none to end
            self.socket.disconnect(self._endpoint)
        self.socket.connect(self._endpoint)

    def waiting(self) -> bool:
        """Is a message there already?"""
        return self.socket.poll(0) != 0

    def receive(self) -> Arrival | None:
        """The next message; None when there is none, for an alive message with nothing to tell, and for another camera's topic."""
        try:
            topic = self.socket.recv(zmq.NOBLOCK)
        except zmq.Again:
            return None
        received_ns = time.monotonic_ns()
        header, payload, parts = self._other_parts()
        if topic != self._topic:
            return None
        try:
            return self._open(header, payload, parts, received_ns)
        except FrameError as exc:
            return Arrival(None, header, payload, "", received_ns, exc.reason, "", (FrameEvent(self.name, None, exc.reason, str(exc)),))

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
        if digest in self._hashes:
            raise FrameError(
                Reason.FRAME_FROZEN,
                "the camera sent an earlier frame again under a new counter",
                seen=f"counter {header.counter}, hash {digest}",
                remedy="Restart the camera; two exposures are never equal in every bit",
            )
        self._hashes.append(digest)

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
