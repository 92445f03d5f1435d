"""How a camera's frames get in: the box connects to the camera, or the camera to the box; who proves what, and who may not even try."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket as sockets
import time
from typing import Protocol

import zmq

from edge.config import CameraConfig
from edge.errors import ConfigError
from edge.inspector.curve import HANDSHAKE_MS, Curve, demand_keys, expect_key, keys_of
from edge.inspector.door import Door
from edge.inspector.link_monitor import LinkMonitor
from edge.inspector.refusals import Refusals
from edge.inspector.zap import Porter

NS_PER_MS = 1_000_000
POLLIN = int(zmq.POLLIN)
KEYED = "its key is none of `keys`, it wants another key of the box, or it speaks no CURVE"
OPEN = "it wants CURVE, or something else than a camera is there"
QUIET_NS = 2_000 * NS_PER_MS
"""A camera without a heartbeat to go by counts as gone after this; another connection is made where one ended."""

log = logging.getLogger("cordon.inspector")


class CameraLink(Protocol):
    """One camera's SUB socket and what guards it. `begin` comes after the socket's options were set."""

    socket: zmq.Socket[bytes]

    @property
    def others(self) -> tuple[zmq.Socket[bytes], ...]:
        """Further sockets to wake up for; `tend` then does what they want."""

    @property
    def named(self) -> bool:
        """Do messages carry who sent them? Then each must be shown to `admits`."""

    def begin(self) -> None:
        """Bind or connect."""

    def admits(self, topic: zmq.Frame) -> bool:
        """Was this message sent by the camera itself?"""

    def tend(self, heard_ns: int, now_ns: int) -> None:
        """Do what is due; called in every step, and costs nothing where nothing is. `heard_ns`: the camera's last message, 0: none."""

    def renew(self) -> None:
        """Nothing was heard for a while: try anew."""

    def close(self) -> None:
        """Free the sockets."""


class Outward:
    """The box connects to `endpoint`. With `keys`, only to a camera that has the private half of one: each attempt expects the next key."""

    named = False

    def __init__(self, config: CameraConfig, context: zmq.Context[zmq.Socket[bytes]], curve: Curve | None, refusals: Refusals) -> None:
        self.socket = context.socket(zmq.SUB)
        self.socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS if curve is None else curve.handshake_ms)
        self._endpoint, self._curve, self._refusals = config.endpoint, curve, refusals
        self._guess = KEYED if config.keys else OPEN
        self._begun_ns, self._ended_ns, self._explained = 0, 0, False
        self._silent = not config.heartbeat_ms
        """Nobody calls `renew` for its silence: the end of its connection is all there is to go by."""
        self._keys = itertools.cycle(keys_of(config)) if config.keys else None
        self._monitor = LinkMonitor(context, self.socket, config.name) if config.endpoint.startswith("tcp://") else None
        self._waited = [(each, POLLIN) for each in self.others]

    @property
    def others(self) -> tuple[zmq.Socket[bytes], ...]:
        """The monitor's, where there is one."""
        return () if self._monitor is None else (self._monitor.socket,)

    def begin(self) -> None:
        """Connect; whether anybody is there shows later."""
        if self._keys is not None and self._curve is not None:
            expect_key(self.socket, self._curve, next(self._keys))
        self._begun_ns = time.monotonic_ns()
        self.socket.connect(self._endpoint)

    def admits(self, _topic: zmq.Frame) -> bool:
        """The key that was expected is proved by the connection itself."""
        return True

    def tend(self, heard_ns: int, now_ns: int) -> None:
        """Hear of connections that came to nothing."""
        if self._ended_ns:
            self._mind_end(heard_ns, now_ns)
        if self._monitor is None or not zmq.zmq_poll(self._waited, 0):
            return
        for event, status in self._monitor.events():
            if self._silent and not self._ended_ns:
                self._ended_ns = now_ns
            if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self._refusals.note(f"the camera at {self._endpoint} does not take the box's key (status {status})")
                self._explained = True
            elif self._explained:
                self._explained = False
            elif heard_ns <= self._begun_ns:
                self._refusals.note(f"the connection to {self._endpoint} ended before anything was heard: {self._guess}")

    def _mind_end(self, heard_ns: int, now_ns: int) -> None:
        if heard_ns > self._ended_ns:
            self._ended_ns = 0
        elif now_ns - self._ended_ns >= QUIET_NS:
            self._ended_ns = 0
            self.renew()

    def renew(self) -> None:
        """Connect anew; where ZeroMQ gave the connection up there is none to end."""
        with contextlib.suppress(zmq.ZMQError):
            self.socket.disconnect(self._endpoint)
        self.begin()

    def close(self) -> None:
        """Free the socket and its monitor."""
        if self._monitor is not None:
            self._monitor.close()
        self.socket.close()


class Inward:
    """The camera connects to the box. While it is heard, nobody else can even connect; until then, only who comes from `allow`.

    It has a ZeroMQ context of its own, so that a crowd at this door keeps no other camera's frames waiting.
    """

    named = True

    def __init__(self, config: CameraConfig, curve: Curve, refusals: Refusals) -> None:
        self._door = Door(config.endpoint, config.allow)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.SUB)
        self._porter = Porter(self._context, config.name, keys_of(config), self._refuse)
        self._monitor = LinkMonitor(self._context, self.socket, config.name)
        self._name, self._refusals = config.name, refusals
        self._quiet_ns = int(config.heartbeat_ms * NS_PER_MS) or QUIET_NS
        self._shut, self._left_ns, self._connection, self._held = False, 0, -1, 0
        self.socket.setsockopt(zmq.HANDSHAKE_IVL, curve.handshake_ms)
        demand_keys(self.socket, curve, config.name)
        for network in config.allow:
            self.socket.setsockopt(zmq.TCP_ACCEPT_FILTER, network.encode())
        self._waited = [(each, POLLIN) for each in self.others]

    @property
    def others(self) -> tuple[zmq.Socket[bytes], ...]:
        """Where it is asked who may come in, and told who left."""
        return (self._porter.socket, self._monitor.socket)

    def begin(self) -> None:
        """Let ZeroMQ accept what comes through the door."""
        self.socket.setsockopt(zmq.USE_FD, sockets.dup(self._door.socket.fileno()))
        self.socket.bind(self._door.endpoint)

    def admits(self, topic: zmq.Frame) -> bool:
        """Only what came over a connection that the porter gave this camera's name."""
        try:
            ok = topic.get("User-Id") == self._name
            self._connection = topic.get(zmq.SRCFD)
        except zmq.ZMQError:
            ok = False
        if not ok:
            self._refusals.note("a message that came under another name than its key's")
        return ok

    def tend(self, heard_ns: int, now_ns: int) -> None:
        """Answer who knocks, and shut the door behind the camera."""
        if zmq.zmq_poll(self._waited, 0):
            self._porter.answer()
            self._hear_of_ends(now_ns)
        shut = heard_ns > self._left_ns and now_ns - heard_ns <= self._quiet_ns
        if shut is not self._shut:
            self._shut = shut
            (self._door.shut if shut else self._door.open)()

    def _hear_of_ends(self, now_ns: int) -> None:
        for event, connection in self._monitor.events():
            if event == zmq.EVENT_DISCONNECTED and connection == self._connection:
                self._left_ns = now_ns
            elif event == zmq.EVENT_DISCONNECTED:
                self._ended()

    def _ended(self) -> None:
        if self._held:
            self._held -= 1  # the porter has told of this one
        else:
            self._refusals.note("a connection that proved no key: it speaks no CURVE, expects another box, or never finished")

    def _refuse(self, who: str) -> None:
        self._held += 1
        self._refusals.note(who)

    def renew(self) -> None:
        """The camera connects when it can."""

    def close(self) -> None:
        """Free everything; the port is free afterwards."""
        self._monitor.close()
        self.socket.close()
        self._porter.close()
        self._context.term()
        self._door.close()


def camera_link(config: CameraConfig, context: zmq.Context[zmq.Socket[bytes]], curve: Curve | None, refusals: Refusals) -> CameraLink:
    """The link that `config` asks for, not yet begun. Raises ConfigError where it asks for keys and the box has none, or cannot listen."""
    if config.keys and curve is None:
        raise ConfigError(
            "inspector.curve is not usable", seen="missing", remedy="Cameras have `keys`: give the box's in [inspector.curve]"
        )
    if config.listen and curve is not None:
        return Inward(config, curve, refusals)
    if not config.proved:
        log.warning("camera %s proves nothing: whoever reaches %s can be it; see docs/camera-security.md", config.name, config.endpoint)
    return Outward(config, context, curve, refusals)
