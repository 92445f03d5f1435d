"""The robot's link as the daemon holds it: opened, served, lost, opened again by its path; each of it told to the session."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from edge.config import GateConfig
from edge.contract import TriggerId
from edge.errors import LinkError, PortBusyError, PortGoneError, PortMissingError
from edge.gate.case import Send
from edge.gate.link import Link, open_link
from edge.gate.messages import Message
from edge.gate.session import GateSession

NS_PER_S = 1_000_000_000
REOPEN_S = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Pauses between attempts to open a lost port again; the last one repeats."""
LAST_LINE_S = 0.5
"""How long the last REJECT may still wait for a slow line when the gate ends."""


class RobotPort:
    """Owns the link from its opening on; `watch` it with the loop's epoll, then `serve` what is ready and `mind` it at every step."""

    def __init__(self, config: GateConfig, session: GateSession) -> None:
        """Raises PortMissingError, PortBusyError or LinkError when the port cannot be opened."""
        self._config = config
        self._session = session
        self.on_heard: Callable[[Message, int], None] = lambda _message, _now_ns: None
        """Hears of every message after the session did."""
        self._poll: select.epoll
        self._writing = False
        self._attempts, self._reopen_ns = 0, 0
        self.link: Link | None = self._open()
        """None while the port is lost."""

    def watch(self, poll: select.epoll) -> None:
        """Poll the link there from now on, and every one that takes its place."""
        self._poll = poll
        if self.link is not None:
            poll.register(self.link.fileno(), select.EPOLLIN)

    def owns(self, fd: int) -> bool:
        """Is this the link's file descriptor?"""
        return self.link is not None and fd == self.link.fileno()

    def due_ns(self) -> int | None:
        """When `mind` is due at the latest (CLOCK_MONOTONIC); None: whenever."""
        return self._reopen_ns if self.link is None else self.link.due_ns()

    def send(self, action: Send) -> None:
        """Hand a message to the link; a verdict for a port that is lost is dropped and the session told."""
        if self.link is None:
            if action.key is not None:
                self._dropped(action.key, "the port is down")
            return
        try:
            self.link.send(action.message, action.not_after_ns, time.monotonic_ns(), action.key)
        except PortGoneError as exc:
            self._lose(str(exc))

    def withdraw(self, key: TriggerId) -> None:
        """Forget what was not sent of this trigger's verdict."""
        if self.link is not None:
            self.link.withdraw(key)

    def discard(self) -> None:
        """Forget everything that was not sent."""
        if self.link is not None:
            self.link.discard()

    def serve(self, mask: int) -> None:
        """Write and read what the link is ready for."""
        assert self.link is not None
        try:
            if mask & select.EPOLLOUT:
                self.link.flush(time.monotonic_ns())
            if mask & ~select.EPOLLOUT:
                self._read(self.link)
        except PortGoneError as exc:
            self._lose(str(exc))

    def mind(self, now_ns: int) -> None:
        """Open a lost port again by its path, or push on with what waits for a slow one."""
        if self.link is None:
            if now_ns >= self._reopen_ns:
                self._reopen(now_ns)
            return
        try:
            self.link.flush(now_ns)
        except PortGoneError as exc:
            self._lose(str(exc))
            return
        if self.link.waiting != self._writing:
            self._writing = self.link.waiting
            self._poll.modify(self.link.fileno(), select.EPOLLIN | (select.EPOLLOUT if self._writing else 0))

    def wait_for_line(self) -> None:
        """A REJECT at the end may still wait for a slow line: give it its time."""
        until_s = time.monotonic() + LAST_LINE_S
        while self.link is not None and self.link.waiting and time.monotonic() < until_s:
            time.sleep(0.005)
            self.mind(time.monotonic_ns())

    def close(self) -> None:
        """Give the device back."""
        if self.link is not None:
            self.link.close()

    def _open(self) -> Link:
        return open_link(self._config, on_sent=self._sent, on_dropped=self._dropped)

    def _sent(self, key: TriggerId) -> None:
        self._session.sent(key, time.monotonic_ns())

    def _dropped(self, key: TriggerId, why: str) -> None:
        self._session.dropped(key, why, time.monotonic_ns())

    def _read(self, link: Link) -> None:
        messages = link.receive(time.monotonic_ns())
        now_ns = time.monotonic_ns()
        for message in messages:
            self._session.received(message, now_ns)
            self.on_heard(message, now_ns)
        for kind, count in link.noise().items():
            self._session.noise(kind, count, now_ns)

    def _lose(self, why: str) -> None:
        link, self.link = self.link, None
        if link is not None:
            self._poll.unregister(link.fileno())
            link.close()
        now_ns = time.monotonic_ns()
        self._writing, self._attempts = False, 0
        self._reopen_ns = now_ns + int(REOPEN_S[0] * NS_PER_S)
        self._session.link_down(why, now_ns)

    def _reopen(self, now_ns: int) -> None:
        self._attempts += 1
        pause_s = REOPEN_S[min(self._attempts, len(REOPEN_S) - 1)]
        self._reopen_ns = now_ns + int(pause_s * NS_PER_S)
        try:
            self.link = self._open()
        except (PortMissingError, PortBusyError, LinkError) as exc:
            if self._attempts == 1:
                self._session.note("link", None, str(exc), now_ns)
            return
        self._poll.register(self.link.fileno(), select.EPOLLIN)
        self._session.link_up(now_ns)
