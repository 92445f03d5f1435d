"""What the inspector says of itself to the gate, and the connection that carries it together with the reports."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from edge.contract import FrameEvent
from edge.errors import CordonError
from edge.inspector.camera import NS_PER_MS
from edge.inspector.gate_link import GateLink
from edge.inspector.loader import Loaded
from edge.inspector.reporting import Status

HEARTBEAT_NS = 80 * NS_PER_MS
FAULT_WAIT_S = 1.0
"""How long a bundle fault waits for the gate's socket before the process ends."""

log = logging.getLogger("cordon.inspector")


class Announcer:
    """Keeps the connection, registered in `poller` while there is one, and tells the state on connecting, on change and every heartbeat."""

    def __init__(self, socket: Path, poller: zmq.Poller) -> None:
        self._started = time.monotonic()
        self.status, self.gate = Status(), GateLink(socket)
        self.ready = False
        """Are the engines proved and all cameras heard?"""
        self.polled = -1
        """The connection's descriptor as the poller knows it."""
        self.notice: CordonError | None = None
        """Told to every gate that connects: another bundle judges than the active one."""
        self.on_milestone: Callable[[str], None] = lambda _text: None
        """Hears of every milestone, for whoever shows how loading goes on."""
        self._poller = poller
        self._told: tuple[object, ...] = ()
        self._beat_ns = 0

    def milestone(self, text: str) -> None:
        """One line in the log, with the seconds since the start."""
        log.info("%s (%.2f s)", text, time.monotonic() - self._started)
        self.on_milestone(text)

    def keep_connected(self) -> None:
        """Connect when the gate is away and the back-off allows it."""
        if self.gate.connect():
            self.milestone(f"connected to the gate; {self.gate.undelivered} messages were dropped while it was away")
            self.gate.undelivered = 0
            self._told = ()
            self.tell_notice()
        if self.gate.fileno() != self.polled:
            if self.polled >= 0:
                self._poller.unregister(self.polled)
                log.warning("the gate went away; frames are judged and dropped until it is back")
            self.polled = self.gate.fileno()
            if self.polled >= 0:
                self._poller.register(self.polled, zmq.POLLIN)

    def until_beat_ms(self, now_ns: int) -> int:
        """Until the next heartbeat is due."""
        return max(0, (HEARTBEAT_NS - (now_ns - self._beat_ns)) // NS_PER_MS)

    def tell_state(self, now_ns: int, *, camera_alive: bool) -> None:
        """Tell it where it changed or the heartbeat is due."""
        status = (self.ready, camera_alive)
        if status != self._told or now_ns - self._beat_ns >= HEARTBEAT_NS:
            self._told, self._beat_ns = status, now_ns
            if self.gate.connected:
                self.gate.send(self.status.state(ready=self.ready, camera_alive=camera_alive))

    def announce(self, loaded: Loaded, now_ns: int) -> bool:
        """From the next report on `loaded` judges; False: the gate could not be told, and nothing has changed."""
        before, self.status.loaded = self.status.loaded, loaded
        if self.gate.connected and not self.gate.send(self.status.state(ready=self.ready, camera_alive=self.ready)) and self.gate.connected:
            self.status.loaded = before
            return False
        self._told, self._beat_ns = (self.ready, self.ready), now_ns
        return True

    def tell_event(self, event: FrameEvent) -> bool:
        """False: the gate is away or does not read; nothing is lost by trying again."""
        return self.gate.connected and self.gate.send(event)

    def tell_notice(self) -> None:
        """As a fault, so that the records have it; what follows says that there is a bundle all the same."""
        if self.notice is not None and self.gate.connected:
            self.gate.send(self.status.state(ready=False, camera_alive=False, fault=self.notice))

    def tell_fault(self, fault: CordonError) -> None:
        """The process is about to end for `fault`: wait a moment for the gate to take it."""
        until = time.monotonic() + FAULT_WAIT_S
        while time.monotonic() < until:
            self.gate.connect()
            if self.gate.connected and self.gate.send(self.status.state(ready=False, camera_alive=False, fault=fault)):
                # Closing with unread packets would make the gate's kernel report a reset before the fault.
                while self.gate.receive() is not None:
                    continue
                return
            time.sleep(0.01)
        log.warning("the gate could not be told of the fault: nobody listens at its socket")
