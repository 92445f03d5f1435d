"""The box as the kit plays it to a camera: a SUB socket that keeps every message with the times it came."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from edge.curve_keys import CurvePair
from edge.errors import SimulationError
from edge.inspector.frame import MAX_FRAME_BYTES

QUEUE = 64


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a camera is heard, as `[[inspector.camera]]` says it."""

    endpoint: str
    name: str
    heartbeat_ms: float = 2_000.0
    listen: bool = False
    """The camera connects to us."""
    camera_key: bytes = b""
    """The camera's CURVE public key (Z85); empty: nothing is proved."""
    own: CurvePair | None = None
    """The box's CURVE pair."""
    max_frame_bytes: int = MAX_FRAME_BYTES


@dataclass(frozen=True, kw_only=True)
class Message:
    """One multipart message; `at_ns` is CLOCK_MONOTONIC, `wall_ns` the time of day."""

    parts: tuple[bytes, ...]
    at_ns: int
    wall_ns: int


class Ear:
    """Subscribed from construction on; use as context manager."""

    def __init__(self, source: Source, *, plain: bool = False) -> None:
        """`plain` leaves out the keys: what a stranger hears."""
        self.messages: list[Message] = []
        self.opened_ns = time.monotonic_ns()
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.SUB)
        for option, value in ((zmq.LINGER, 0), (zmq.RCVHWM, QUEUE), (zmq.MAXMSGSIZE, source.max_frame_bytes), (zmq.RECONNECT_IVL, 50)):
            self._socket.setsockopt(option, value)
        if source.own is not None and not plain:
            self._prove(source, source.own)
        self._socket.setsockopt(zmq.SUBSCRIBE, source.name.encode())
        try:
            (self._socket.bind if source.listen else self._socket.connect)(source.endpoint)
        except zmq.ZMQError as exc:
            self._socket.close()
            remedy = "Stop cordon-inspector where the box listens, or correct inspector.camera.endpoint"
            raise SimulationError(f"cannot use {source.endpoint}", seen=exc, remedy=remedy) from exc

    def _prove(self, source: Source, own: CurvePair) -> None:
        self._socket.curve_secretkey, self._socket.curve_publickey = own.secret, own.public
        if source.listen:
            self._socket.curve_server = True
        else:
            self._socket.curve_serverkey = source.camera_key

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def hear(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Keep what comes for so long, or until the condition holds; returns whether it does."""
        end_s = time.monotonic() + seconds
        while not until():
            left_ms = (end_s - time.monotonic()) * 1e3
            if left_ms <= 0:
                return until()
            if self._socket.poll(max(1, int(min(left_ms, 100.0)))):
                parts = tuple(self._socket.recv_multipart())
                self.messages.append(Message(parts=parts, at_ns=time.monotonic_ns(), wall_ns=time.time_ns()))
        return True
