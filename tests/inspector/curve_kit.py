"""A camera's feed with CURVE in both directions, and the cameras, impostors and strangers that come to it over real TCP."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import zmq
from cell_kit import make_parts
from tiny import frame_image

from edge.config import CameraConfig
from edge.contract import FrameEvent
from edge.curve_keys import CurvePair
from edge.inspector.camera import Arrival, CameraFeed
from edge.inspector.curve import Curve
from edge.inspector.frame import encode_alive

HANDSHAKE_MS = 400
CURVE_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
"""What a client of ZMTP 3.1 says first."""


def new_pair() -> CurvePair:
    return CurvePair(*zmq.curve_keypair())


def own_endpoint() -> str:
    """A port that no other test can have: on an address of the loopback network chosen by chance."""
    chance = random.SystemRandom()
    return f"tcp://127.{chance.randint(1, 254)}.{chance.randint(0, 255)}.{chance.randint(1, 254)}:{chance.randint(20_000, 32_000)}"


def numbers(counter: int) -> tuple[bytes, bytes, bytes]:
    """A frame of its own for every counter."""
    return make_parts(frame_image(40, seed=counter), counter=counter)


@dataclass
class Heard:
    """A feed and all that came of it; `until` lets it work as the inspector's loop does."""

    feed: CameraFeed
    endpoint: str
    box: CurvePair
    arrivals: list[Arrival] = field(default_factory=list)
    events: list[FrameEvent] = field(default_factory=list)

    def step(self) -> None:
        poller = zmq.Poller()
        for each in self.feed.sockets:
            poller.register(each, zmq.POLLIN)
        poller.poll(5)
        while self.feed.waiting():
            if (arrival := self.feed.receive()) is not None:
                self.arrivals.append(arrival)
        now = time.monotonic_ns()
        self.feed.tend(now)
        if (event := self.feed.told(now)) is not None:
            self.events.append(event)

    def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"waited {seconds} s in vain; {self.arrivals[-2:]} {self.events[-2:]} {self.feed.refused}"
            self.step()

    def after(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end)

    @property
    def counters(self) -> list[int]:
        return [arrival.header.counter for arrival in self.arrivals if arrival.header is not None]

    @property
    def heard(self) -> bool:
        return self.feed.heard_ns > 0


@dataclass
class Floor:
    """Sockets of everybody else, closed at the end of a test."""

    context: zmq.Context[zmq.Socket[bytes]]
    feeds: list[Heard] = field(default_factory=list)
    raw: list[socket.socket] = field(default_factory=list)
    made: list[zmq.Socket[bytes]] = field(default_factory=list)

    def hear(self, box: CurvePair | None = None, *, max_frame_bytes: int = 1 << 16, **camera: Any) -> Heard:
        """A feed as the inspector makes it; `camera` are the keys of its table."""
        box = box or new_pair()
        config = CameraConfig(**{"name": "cam", "endpoint": own_endpoint(), **camera})
        curve = Curve(box, HANDSHAKE_MS)
        feed = CameraFeed(config, self.context, max_frame_bytes=max_frame_bytes, receive_queue=64, curve=curve)
        self.feeds.append(Heard(feed, config.endpoint, box))
        return self.feeds[-1]

    def listener(self, *keys: CurvePair, **camera: Any) -> Heard:
        """A box that listens, to the loopback network unless told otherwise."""
        texts = tuple(key.public.decode() for key in keys)
        return self.hear(**{"listen": True, "keys": texts, "allow": ("127.0.0.0/8",), **camera})

    def camera(self, kind: int = zmq.XPUB, **options: Any) -> zmq.Socket[bytes]:
        """A socket that is nobody yet: `options` by ZeroMQ's names."""
        made = self.context.socket(kind)
        self.made.append(made)
        made.setsockopt(zmq.LINGER, 0)
        made.setsockopt(zmq.RECONNECT_IVL, 20)
        for name, value in options.items():
            made.setsockopt(getattr(zmq, name.upper()), value)
        return made

    def client(self, to: Heard, pair: CurvePair, *, server: bytes | None = None, source: str = "") -> zmq.Socket[bytes]:
        """A camera that connects, with its key and the box's."""
        made = self.camera(curve_publickey=pair.public, curve_secretkey=pair.secret, curve_serverkey=server or to.box.public)
        made.connect(to.endpoint if not source else to.endpoint.replace("tcp://", f"tcp://{source}:0;"))
        return made

    def knock(self, to: Heard, source: str = "") -> socket.socket:
        """A raw connection. Raises TimeoutError where nobody answers."""
        host, _, port = to.endpoint.removeprefix("tcp://").rpartition(":")
        made = socket.socket()
        self.raw.append(made)
        made.settimeout(0.25)
        if source:
            made.bind((source, 0))
        made.connect((host, int(port)))
        made.setblocking(False)
        return made

    def close(self) -> None:
        for each in (*self.raw, *self.made, *(heard.feed for heard in self.feeds)):
            each.close()
        self.context.term()


def ended(connection: socket.socket) -> bool:
    """Has the other side closed it?"""
    if not select.select([connection], [], [], 0)[0]:
        return False
    try:
        while connection.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def says(camera: zmq.Socket[bytes], counter: int = 0) -> None:
    """An alive message, or with a counter above 0 a frame."""
    with contextlib.suppress(zmq.Again):
        camera.send_multipart(numbers(counter) if counter else encode_alive("cam", 0, 1), zmq.NOBLOCK)


def floor() -> Iterator[Floor]:
    made = Floor(zmq.Context())
    yield made
    made.close()
