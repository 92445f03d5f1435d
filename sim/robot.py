"""A simulated robot for commissioning, the demo and tests: it triggers, checks every answer like a sceptic, and confirms."""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

import zmq

from edge.config import Profile
from edge.gate.codec import Decoder
from edge.gate.messages import KNOWN_FEATURES, Framing, State
from sim.robot_line import DeviceLine, Line, PtyLine
from sim.robot_protocol import NS_PER_MS, RobotProtocol, RobotResult

PUMP_MS = 10
AfterTrigger = Callable[["str | None", "int | None"], None]
"""Called with (session, sequence) right after the trigger left; both None in the push profile."""


def _nothing(_session: str | None, _sequence: int | None) -> None:
    return


class Robot:
    """Speaks one of the two link profiles; a thread keeps heartbeats and reading going, so `inspect` may be called in a plain loop."""

    def __init__(
        self,
        *,
        link: Path | None = None,
        port: str | None = None,
        baudrate: int = 115_200,
        profile: Profile = "handshake",
        framing: Framing = "crc",
        knows: int = KNOWN_FEATURES,
        must: int = 0,
        budget_ms: float = 250.0,
        heartbeat_ms: float = 80.0,
        missed_heartbeats: int = 3,
        repeat_ms: float = 60.0,
    ) -> None:
        """`port` is a real device; without it a pseudo-terminal is made, to which `link` points.

        A gate that is silent for `missed_heartbeats` of `heartbeat_ms` counts as dead: 240 ms, and one pump of 10 ms at most on top.
        """
        self._line: Line = DeviceLine(port, baudrate) if port else PtyLine(link)
        self.path = port or getattr(self._line, "path", "")
        self._profile = profile
        self._budget_s = budget_ms / 1e3
        self.protocol = RobotProtocol(
            nonce=lambda: os.urandom(4).hex(),
            profile=profile,
            framing=framing,
            knows=knows,
            must=must,
            budget_ns=int(budget_ms * NS_PER_MS),
            heartbeat_ns=int(heartbeat_ms * NS_PER_MS),
            silence_ns=int(heartbeat_ms * NS_PER_MS) * missed_heartbeats,
            repeat_ns=int(repeat_ms * NS_PER_MS),
        )
        self.decoder = Decoder("G", framing)
        self._changed = threading.Condition()
        self._closing = self._connected = False
        self._thread = threading.Thread(target=self._run, name="robot", daemon=True)

    def start(self) -> None:
        """Begin to say hello."""
        self._thread.start()

    def __enter__(self) -> Robot:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop, and pull the plug."""
        self._closing = True
        if self._thread.is_alive():
            self._thread.join(5)
        self._line.close()

    def wait_session(self, timeout_s: float) -> bool:
        """True once a session is open (push: once the gate holds the line)."""
        return self._wait(lambda: self._connected if self._profile == "push" else self.protocol.session is not None, timeout_s)

    def wait_ready(self, timeout_s: float) -> bool:
        """True once the gate says READY (push, where it says nothing: once it holds the line)."""
        return self._wait(lambda: self._connected if self._profile == "push" else self.protocol.state is State.READY, timeout_s)

    def inspect(self, part: str, weld: str, typology: str | None = None, *, after_trigger: AfterTrigger = _nothing) -> RobotResult:
        """Ask for one verdict and wait for it, at most until the robot's own deadline; never raises for what the gate does."""
        if self._profile == "push":
            return self._await_push(part, weld, after_trigger)
        with self._changed:
            self.protocol.results.clear()
            now_ns = time.monotonic_ns()
            frame = self.protocol.trigger(part, weld, typology, now_ns)
            if frame is None:
                return _unanswered(part, weld, "NO_SESSION", now_ns)
            session, sequence = self.protocol.session, self.protocol.sequence
            self._line.write(frame)
        after_trigger(session, sequence)
        return self._answer(part, weld, now_ns)

    def finish_part(self, part: str, recipe: str = "") -> RobotResult:
        """Ask for the verdict on a whole part and wait for it, at most until the robot's own deadline.

        `recipe` is what the robot believes to be active; without it, what the gate confirmed in this session.
        """
        with self._changed:
            self.protocol.results.clear()
            now_ns = time.monotonic_ns()
            frame = self.protocol.finish_part(part, now_ns, recipe)
            if frame is None:
                return _unanswered(part, "", "NO_SESSION", now_ns)
            self._line.write(frame)
        return self._answer(part, "", now_ns)

    def change_over(self, recipe: str) -> str:
        """Have the gate make this recipe the active one; returns why it did not, or an empty text."""
        with self._changed:
            frame = self.protocol.change_over(recipe, time.monotonic_ns())
            if frame is None:
                return "NO_SESSION"
            self._line.write(frame)
        self._wait(lambda: self.protocol.change is None, self._budget_s + 5)
        with self._changed:
            return "" if self.protocol.recipe == recipe else self.protocol.no_change or "NO_ANSWER"

    def _answer(self, part: str, weld: str, now_ns: int) -> RobotResult:
        # The thread closes the trigger at the robot's deadline; the rest is for a thread that was not scheduled.
        self._wait(lambda: bool(self.protocol.results), self._budget_s + 5)
        with self._changed:
            return self.protocol.results.popleft() if self.protocol.results else _unanswered(part, weld, "NO_ANSWER", now_ns)

    def listen(self, timeout_s: float) -> RobotResult | None:
        """Push profile: the next verdict line, or None."""
        self._wait(lambda: bool(self.protocol.results), timeout_s)
        with self._changed:
            return self.protocol.results.popleft() if self.protocol.results else None

    def _await_push(self, part: str, weld: str, after_trigger: AfterTrigger) -> RobotResult:
        with self._changed:
            self.protocol.results.clear()
        asked_ns = time.monotonic_ns()
        after_trigger(None, None)
        found = self.listen(self._budget_s)
        if found is None:
            return _unanswered(part, weld, "NO_ANSWER", asked_ns)
        mine = (found.part, found.weld) == (part, weld)
        reason, detail = (found.reason, found.detail) if mine else ("WRONG_PART", f"verdict for {found.part} {found.weld}")
        return RobotResult(
            part=part,
            weld=weld,
            session=found.session,
            sequence=found.sequence,
            outcome=found.outcome if mine else None,
            reason=reason,
            accepted=found.accepted and mine,
            trigger_ns=asked_ns,
            verdict_ns=found.verdict_ns,
            detail=detail,
        )

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, timeout_s)

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._line.fileno(), select.POLLIN)
        while not self._closing:
            events = poll.poll(PUMP_MS)
            if events and not events[0][1] & select.POLLIN:
                # Hung up: nobody holds the other end, and polling would return at once.
                time.sleep(PUMP_MS / 1e3)
            self._pump()

    def _pump(self) -> None:
        data = self._line.read()
        now_ns = time.monotonic_ns()
        with self._changed:
            self._connected = data is not None
            if data is None:
                self.decoder.reset()
                self.protocol.line_lost(now_ns)
                self._changed.notify_all()
                return
            malformed = self.decoder.counters.malformed
            for message in self.decoder.feed(data):
                self.protocol.received(message, now_ns)
            if self.decoder.counters.malformed > malformed:
                self.protocol.malformed(now_ns)
            self.protocol.tick(now_ns)
            frames, self.protocol.out = self.protocol.out, []
            for frame in frames:
                self._line.write(frame)
            self._changed.notify_all()


def _unanswered(part: str, weld: str, reason: str, now_ns: int) -> RobotResult:
    return RobotResult(
        part=part, weld=weld, session="", sequence=0, outcome=None, reason=reason, accepted=False, trigger_ns=now_ns, verdict_ns=None
    )


class CaptureRequests:
    """Asks the simulated camera for a frame (ZeroMQ PUSH, JSON)."""

    def __init__(self, endpoint: str) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, 16)
        self._socket.connect(endpoint)

    def ask(self, session: str | None, sequence: int | None, part: str, weld: str, typology: str | None) -> None:
        """One request; lost when the camera does not keep up."""
        request = {"session": session, "sequence": sequence, "part": part, "weld": weld, "typology": typology}
        try:
            self._socket.send(json.dumps(request).encode(), zmq.NOBLOCK)
        except zmq.Again:
            return

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
        self._context.term()
