"""The robot of a cell: the simulator's protocol without its thread, pumped by the driver, with every result kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from edge.gate.codec import Decoder
from edge.gate.messages import State
from faults.cell.books import Books
from faults.cell.inspector import TYPOLOGY
from faults.cell.wire import Relay
from sim.robot_protocol import RobotProtocol, RobotResult

IDLE_S = 0.005
"""Longest wait of one pump; times seen at the robot are that exact while nothing arrives."""


class CellRobot:
    """Speaks over a relay; `pump` does what a thread would do, once."""

    def __init__(self, relay: Relay, books: Books, *, budget_ms: float, heartbeat_ms: float, missed: int, repeat_ms: float = 60.0) -> None:
        self.relay, self.books = relay, books
        self._budget_ns, self._heartbeat_ns = int(budget_ms * 1e6), int(heartbeat_ms * 1e6)
        self._silence_ns, self._repeat_ns = self._heartbeat_ns * missed, int(repeat_ms * 1e6)
        self.reboot()

    def reboot(self) -> None:
        """Power off and on: everything is forgotten but what is in the books."""
        self.protocol = RobotProtocol(
            nonce=lambda: os.urandom(4).hex(),
            budget_ns=self._budget_ns,
            heartbeat_ns=self._heartbeat_ns,
            silence_ns=self._silence_ns,
            repeat_ns=self._repeat_ns,
        )
        self.decoder = Decoder("G")

    def pump(self, timeout_s: float = IDLE_S) -> None:
        """Wait for the line, at most so long, and do what is due."""
        now_ns = time.monotonic_ns()
        self.relay.wire.wait(self.relay.due_s(now_ns, timeout_s))
        now_ns = time.monotonic_ns()
        data = self.relay.receive(now_ns)
        malformed = self.decoder.counters.malformed
        for message in self.decoder.feed(data):
            self.books.note(message)
            self.protocol.received(message, now_ns)
        if self.decoder.counters.malformed > malformed:
            self.protocol.malformed(now_ns)
        self.protocol.tick(now_ns)
        frames, self.protocol.out = self.protocol.out, []
        for frame in frames:
            self.relay.send(frame, now_ns)
        while self.protocol.results:
            self.books.results.append(self.protocol.results.popleft())

    def pump_until(self, condition: Callable[[], bool], timeout_s: float, *, idle_s: float = IDLE_S) -> bool:
        """Until the condition holds; False when it does not in time."""
        until_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() >= until_s:
                return False
            self.pump(idle_s)
        return True

    def pump_for(self, seconds: float) -> None:
        """Go on for so long."""
        self.pump_until(lambda: False, seconds)

    @property
    def ready(self) -> bool:
        """A session is open and the gate says READY."""
        return self.protocol.session is not None and self.protocol.state is State.READY

    @property
    def rejecting(self) -> bool:
        """The robot knows that it must not trigger: no session, or a gate that says WAIT or FAULT."""
        return self.protocol.session is None or self.protocol.state in (State.WAIT, State.FAULT)

    def trigger(self, part: str, weld: str) -> bytes | None:
        """Open a trigger and send it; None without a session."""
        now_ns = time.monotonic_ns()
        frame = self.protocol.trigger(part, weld, TYPOLOGY, now_ns)
        if frame is not None:
            assert self.protocol.session is not None
            self.books.asked[self.protocol.session, self.protocol.sequence] = (part, weld)
            self.relay.send(frame, now_ns)
        return frame

    def finish(self) -> RobotResult | None:
        """Until the open trigger has its result, which comes at the robot's own deadline at the latest."""
        before = len(self.books.results)
        self.pump_until(lambda: self.protocol.open is None, self._budget_ns / 1e9 + 5.0)
        if self.protocol.results:
            self.pump(0.0)
        return self.books.results[-1] if len(self.books.results) > before else None
