"""The gate as the kit plays it: it keeps a session alive by itself, and says to a trigger whatever a check wants it to say."""

from __future__ import annotations

import fcntl
import os
import select
import time
import zlib
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from edge.gate.codec import SEED, Decoder, encode_frame
from edge.gate.messages import (
    FEATURE_PARTS,
    FEATURE_TWICE,
    ChangeOver,
    Framing,
    Heartbeat,
    Hello,
    Message,
    PartQuery,
    State,
    Trigger,
    TriggerAck,
)
from sim.robot_line import Line

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
MAX_TRANSCRIPT = 20_000
BREAK_S = 0.02
SET_BREAK, CLEAR_BREAK = 0x5427, 0x5428
"""TIOCSBRK and TIOCCBRK of Linux, which the standard library does not name."""
GUARD_NS = 25 * NS_PER_MS
"""A question this soon after the kit spoke may have been on the wire meanwhile: the robot may have closed it on what it then heard."""
FRESH_NS = 80 * NS_PER_MS
"""Older questions are left to the robot's own deadline."""
Asking = TypeVar("Asking", Trigger, PartQuery)


class Clock(Protocol):
    """Time, and waiting for the line; the tests of the kit bring one that needs no waiting."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""

    def wait(self, line: Line, seconds: float) -> None:
        """Until the line has something to read, at most this long."""


class RealClock:
    """CLOCK_MONOTONIC, and poll(2)."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        return time.monotonic_ns()

    def wait(self, line: Line, seconds: float) -> None:
        """Until the line has something to read, at most this long."""
        poll = select.poll()
        poll.register(line.fileno(), select.POLLIN)
        events = poll.poll(max(0.0, seconds * 1e3))
        if events and not events[0][1] & select.POLLIN:
            time.sleep(seconds)  # hung up: polling would return at once


class Heard(NamedTuple):
    """One message of the robot, and when it was read."""

    message: Message
    at_ns: int


class PlayedGate:
    """Answers hellos, says that it lives and acknowledges triggers while the three switches say so; verdicts come from the checks."""

    def __init__(
        self,
        line: Line,
        clock: Clock | None = None,
        *,
        framing: Framing = "crc",
        budget_ms: float = 200.0,
        heartbeat_ms: float = 80.0,
        recipes: bool = False,
        nonce: Callable[[], str] = lambda: os.urandom(4).hex(),
    ) -> None:
        self.line, self.clock = line, clock or RealClock()
        self.budget_ms, self.heartbeat_ms, self.framing = budget_ms, heartbeat_ms, framing
        self.must = FEATURE_PARTS * recipes | FEATURE_TWICE * (framing == "twice")
        self.welcoming = self.beating = self.acknowledging = self.echoing = True
        """Answer hellos; send heartbeats; acknowledge triggers; confirm change-overs."""
        self.session: str | None = None
        self.hello: Hello | None = None
        """The robot's last."""
        self.heard: list[Heard] = []
        self.transcript: list[str] = []
        self.decoder = Decoder("R", framing)
        self._nonce, self._counter, self._beat_ns, self._begun_ns = nonce, 0, 0, self.clock.now_ns()
        self._asked: list[Heard] = []
        self._last_sequence = 0
        self._spoke_ns = -GUARD_NS
        self._answer: Hello | None = None

    # saying

    def say(self, message: Message) -> None:
        """One whole frame."""
        self._send(encode_frame(message, "G", self.framing))

    def guarded(self, body: bytes) -> bytes:
        """The body as a frame whose check is right."""
        seal = b"=" + body if self.framing == "twice" else b"*%08X" % zlib.crc32(body, SEED)
        return b"$" + body + seal + b"\r"

    def say_bytes(self, data: bytes) -> None:
        """These very bytes, which decide something."""
        self._spoke_ns = self.clock.now_ns()
        self._send(data)

    def send_break(self) -> bool:
        """Hold the line at 0 for 20 ms, as a cable does that is plugged in; False where the line knows no break (pseudo-terminals)."""
        try:
            fcntl.ioctl(self.line.fileno(), SET_BREAK)
            self.pump(BREAK_S)
            fcntl.ioctl(self.line.fileno(), CLEAR_BREAK)
        except (OSError, ValueError):
            return False
        return True

    def _send(self, data: bytes) -> None:
        self._note(">", data)
        self.line.write(data)

    def beat(self, counter: int | None = None, state: State = State.READY, session: str | None = None) -> None:
        """One heartbeat, with the next counter unless given."""
        self._counter = (self._counter + 1) & 0xFFFF if counter is None else counter
        named = session or self.session
        if named is not None:
            self.say(Heartbeat(session=named, state=state, counter=self._counter))

    def welcome(self, hello: Hello) -> None:
        """Answer a hello: the session is open."""
        nonce = self._nonce()
        self.session, self._last_sequence = hello.nonce + nonce, 0
        self._asked.clear()
        self._answer = Hello(nonce=nonce, peer=hello.nonce, must=self.must, deadline_ms=int(self.budget_ms))
        self.say(self._answer)

    # hearing

    def pump(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Serve the line for so long, or until the condition holds; returns whether it does."""
        end_ns = self.clock.now_ns() + int(seconds * NS_PER_S)
        while not until():
            left_s = (end_ns - self.clock.now_ns()) / NS_PER_S
            if left_s <= 0:
                return until()
            self._serve(left_s)
        return True

    def _serve(self, left_s: float) -> None:
        now_ns = self.clock.now_ns()
        if self.beating and self.session is not None and now_ns >= self._beat_ns:
            self._beat_ns = now_ns + int(self.heartbeat_ms * NS_PER_MS)
            self.beat()
        due_s = (self._beat_ns - self.clock.now_ns()) / NS_PER_S if self.beating and self.session else left_s
        self.clock.wait(self.line, min(left_s, max(0.0, due_s), 0.02))
        data = self.line.read()
        if data:
            self._note("<", data)
            for message in self.decoder.feed(data):
                self._take(message)

    def _take(self, message: Message) -> None:
        heard = Heard(message, self.clock.now_ns())
        self.heard.append(heard)
        if isinstance(message, Hello):
            self._hello(message)
        elif isinstance(message, Trigger | PartQuery) and message.session == self.session:
            if self.acknowledging:
                self.say(TriggerAck(session=message.session, sequence=message.sequence))
            if message.sequence > self._last_sequence:
                self._last_sequence = message.sequence
                self._asked.append(heard)
        elif isinstance(message, ChangeOver) and message.session == self.session and self.echoing:
            self._last_sequence = max(self._last_sequence, message.sequence)
            self.say(message)

    def _hello(self, hello: Hello) -> None:
        self.hello = hello
        if self.session is not None and not self.session.startswith(hello.nonce):
            self.session = None
            self._asked.clear()
        if not self.welcoming:
            return
        if self.session is None:
            self.welcome(hello)
        elif self._answer is not None:
            self.say(self._answer)  # it did not arrive, or crossed this hello

    def open_session(self, seconds: float) -> bool:
        """Whether the robot is in a session: it has sent a heartbeat or asked with its name."""
        return self.pump(seconds, lambda: self.in_session)

    @property
    def in_session(self) -> bool:
        """Did the robot say anything that names the session?"""
        return self.session is not None and any(getattr(heard.message, "session", None) == self.session for heard in self.heard)

    def next(self, kind: type[Asking], seconds: float) -> tuple[Asking, int] | None:
        """The next fresh trigger or part query, and when it came; those that may be closed already are left out."""
        self._forget_stale()
        if self.pump(seconds, lambda: self._find(kind) is not None):
            found = self._find(kind)
            assert found is not None
            self._asked.remove(found)
            assert isinstance(found.message, kind)
            return found.message, found.at_ns
        return None

    def forget(self) -> None:
        """Leave every question heard so far to the robot's own deadline."""
        self._asked.clear()

    def _forget_stale(self) -> None:
        oldest_ns = max(self._spoke_ns + GUARD_NS, self.clock.now_ns() - FRESH_NS)
        self._asked = [heard for heard in self._asked if heard.at_ns >= oldest_ns]

    def _find(self, kind: type[Trigger | PartQuery]) -> Heard | None:
        """The first of this kind; one that was on the wire while the kit spoke is not."""
        return next((heard for heard in self._asked if isinstance(heard.message, kind) and heard.at_ns >= self._spoke_ns + GUARD_NS), None)

    def since(self, mark: int, *kinds: type[Message]) -> list[Heard]:
        """What the robot said of these kinds after `mark` (a length of `heard`)."""
        return [heard for heard in self.heard[mark:] if isinstance(heard.message, kinds)]

    def _note(self, arrow: str, data: bytes) -> None:
        if len(self.transcript) < MAX_TRANSCRIPT:
            since_ms = (self.clock.now_ns() - self._begun_ns) / NS_PER_MS
            self.transcript.append(f"{since_ms:10.1f} {arrow} {data.decode('ascii', 'backslashreplace').strip()!r}")
