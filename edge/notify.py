"""What the service manager is told (ready, alive, stopping): sd_notify(3)'s datagrams, and nothing at all where no manager listens."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from edge.errors import ConfigError

NEVER_NS = 2**63
FEEDS_PER_LIMIT = 4
"""The watchdog is fed this many times within its limit, so that one late step is no death."""
NS_PER_US, US_PER_S = 1_000, 1_000_000


class Notifier:
    """Sends state to the socket in NOTIFY_SOCKET without ever waiting; `alive` costs one comparison where nothing is due.

    The environment is systemd's: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. Raises ConfigError for a value that is none of its forms.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        values = os.environ if environment is None else environment
        self._address = _address(values.get("NOTIFY_SOCKET", ""))
        self._every_ns = _every_ns(values) if self._address else NEVER_NS
        self._due_ns = NEVER_NS
        self._unsent = ""
        """A state that the manager has not taken yet; it goes first."""
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)

    @property
    def listening(self) -> bool:
        """Does a service manager listen?"""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """Everything proved itself; from now on the watchdog wants to be fed."""
        self._tell(f"READY=1\nSTATUS={_line(status)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._tell(f"STATUS={_line(text)}")

    def reloading(self, text: str, now_ns: int) -> None:
        """Something new is made ready while the work goes on; `ready` ends it. `now_ns`: CLOCK_MONOTONIC."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={now_ns // NS_PER_US}\nSTATUS={_line(text)}")

    def stopping(self) -> None:
        """The process was asked to end and is about to."""
        self._tell("STOPPING=1\nSTATUS=stopping")

    def extend(self, seconds: float) -> None:
        """Starting goes on: it may take this much longer from now."""
        self._tell(f"EXTEND_TIMEOUT_USEC={int(seconds * US_PER_S)}")

    def alive(self, now_ns: int) -> None:
        """The verdict path has made progress (CLOCK_MONOTONIC); call it for every step of it, and never from anywhere else."""
        if now_ns >= self._due_ns:
            self._feed(now_ns)

    def close(self) -> None:
        """Say nothing any more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._due_ns = NEVER_NS

    def _tell(self, state: str) -> None:
        """Send a state that must arrive; what the manager cannot take now goes with a later `alive`."""
        if self._socket is None:
            return
        if not self._unsent.endswith(state):
            self._unsent = f"{self._unsent}\n{state}" if self._unsent else state
        self._due_ns = 0
        self._flush()

    def _flush(self) -> bool:
        if self._unsent and self._sent(self._unsent):
            self._unsent = ""
        return not self._unsent

    def _feed(self, now_ns: int) -> None:
        if self._flush() and (self._every_ns == NEVER_NS or self._sent("WATCHDOG=1")):
            self._due_ns = now_ns + self._every_ns

    def _sent(self, text: str) -> bool:
        if self._socket is None or self._address is None:
            return False
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError:
            # The manager's queue is full, or the manager is being replaced: the next step tries again.
            return False
        return True


def _address(text: str) -> str | bytes | None:
    """The socket's address: a path, or a name in the abstract namespace, written `@name`. Raises ConfigError."""
    if not text:
        return None
    if text.startswith("/"):
        return text
    if text.startswith("@"):
        return b"\0" + text[1:].encode()
    remedy = "systemd gives a path or an abstract name; unset NOTIFY_SOCKET where no service manager listens"
    raise ConfigError("NOTIFY_SOCKET is no unix socket's address", seen=text, remedy=remedy)


def _every_ns(values: Mapping[str, str]) -> int:
    """Time between two feeds in ns; NEVER_NS where no watchdog waits for this process. Raises ConfigError."""
    if values.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return NEVER_NS
    text = values.get("WATCHDOG_USEC", "0")
    if not (text.isascii() and text.isdigit()):
        remedy = "systemd sets it from the unit's WatchdogSec; unset it elsewhere"
        raise ConfigError("WATCHDOG_USEC is no number of microseconds", seen=text, remedy=remedy)
    return int(text) * NS_PER_US // FEEDS_PER_LIMIT or NEVER_NS


def _line(text: str) -> str:
    """One line of printable characters: a newline would begin another field."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:200]
