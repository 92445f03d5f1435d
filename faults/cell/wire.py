"""The cable between robot and gate: a real pseudo-terminal, and a relay in the robot's end that can do what cables do."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import heapq
import itertools
import os
import select
import termios
import tty
from collections import deque
from collections.abc import Callable
from pathlib import Path

Late = tuple[float, bytes]
Tamper = Callable[[bytes], list[Late]]
"""From one frame on its way to what arrives instead: bytes, each after so many seconds."""


def swallowing(start: bytes = b"") -> Tamper:
    """A cable that loses the frames which begin so."""
    return lambda frame: [] if frame.startswith(start) else straight(frame)


def delaying(start: bytes, seconds: float) -> Tamper:
    """A cable on which frames that begin so take this long."""
    return lambda frame: [(seconds if frame.startswith(start) else 0.0, frame)]


def changing(change: Callable[[bytes], bytes]) -> Tamper:
    """A cable that makes other bytes of every frame."""
    return lambda frame: [(0.0, change(frame))]


HISTORY = 256


def straight(frame: bytes) -> list[Late]:
    """A good cable."""
    return [(0.0, frame)]


class Wire:
    """A pseudo-terminal whose other side the gate opens through the link `path`.

    The far side is held open here too: as with a serial cable, the robot sees no hang-up when the gate dies, only silence.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plugged = False
        self.plug()

    def plug(self, *, renamed: bool = False) -> None:
        """A fresh pseudo-terminal under the same stable link; `renamed`: the device node has another number than before."""
        spare = os.openpty() if renamed else ()
        self.master, self.slave = os.openpty()
        for descriptor in spare:
            os.close(descriptor)
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        os.set_blocking(self.slave, False)
        fresh = self.path.with_name(f".{self.path.name}")
        fresh.symlink_to(os.ttyname(self.slave))
        fresh.replace(self.path)
        self.poll = select.poll()
        self.poll.register(self.master, select.POLLIN)
        self.plugged = True

    def unplug(self) -> None:
        """The device is gone for whoever has it open."""
        if self.plugged:
            self.plugged = False
            self.path.unlink(missing_ok=True)
            os.close(self.master)
            os.close(self.slave)

    def free(self) -> None:
        """After the holder died: what the last close of a real device does, which the far side held here prevents."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.slave, termios.TIOCNXCL)

    def wait(self, timeout_s: float) -> None:
        """Until bytes arrived, at most so long."""
        if self.plugged:
            self.poll.poll(timeout_s * 1e3)

    def read(self) -> bytes:
        """What arrived from the gate; empty when nothing did."""
        if not self.plugged:
            return b""
        try:
            return os.read(self.master, 65_536)
        except BlockingIOError:
            return b""
        except OSError as exc:
            if exc.errno == errno.EIO:
                return b""
            raise

    def write(self, data: bytes) -> int:
        """Bytes to the gate; returns how many the line took."""
        if not self.plugged:
            return 0
        try:
            return os.write(self.master, data)
        except BlockingIOError:
            return 0


class Relay:
    """What lies between robot and wire. `to_gate` and `to_robot` tamper with frames, `cut` swallows everything, `deaf` stops reading."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.to_gate: Tamper = straight
        self.to_robot: Tamper = straight
        self.cut = False
        self.deaf = False
        self.said: deque[bytes] = deque(maxlen=HISTORY)
        """The newest lines of the gate, as it sent them."""
        self.said_ns: deque[tuple[bytes, int]] = deque(maxlen=HISTORY)
        """The same with the moment they were read."""
        self.asked: deque[bytes] = deque(maxlen=HISTORY)
        """The newest frames of the robot."""
        self._line = bytearray()
        self._order = itertools.count()
        self._late: list[tuple[int, int, bool, bytes]] = []

    def heal(self) -> None:
        """A good cable again; what is still on its way is lost."""
        self.to_gate = self.to_robot = straight
        self.cut = self.deaf = False
        self._late.clear()

    def due_s(self, now_ns: int, most_s: float) -> float:
        """Seconds until something on its way arrives, at most `most_s`."""
        return min(most_s, max(0.0, (self._late[0][0] - now_ns) / 1e9)) if self._late else most_s

    def send(self, frame: bytes, now_ns: int) -> None:
        """A frame of the robot."""
        self.asked.append(frame)
        self._carry(self.to_gate(frame), True, now_ns)

    def tell_robot(self, data: bytes, now_ns: int) -> None:
        """Bytes that the gate did not send now."""
        self._carry(straight(data), False, now_ns)

    def receive(self, now_ns: int) -> bytes:
        """Bytes for the robot; also brings what was late to the gate."""
        if not self.deaf:
            self._line += self.wire.read()
        while (end := self._line.find(b"\r")) >= 0:
            line = bytes(self._line[: end + 1])
            del self._line[: end + 1]
            self.said.append(line)
            self.said_ns.append((line, now_ns))
            self._carry(self.to_robot(line), False, now_ns)
        arrived = []
        while self._late and self._late[0][0] <= now_ns:
            _, _, onward, data = heapq.heappop(self._late)
            if self.cut:
                continue
            if onward:
                self.wire.write(data)
            else:
                arrived.append(data)
        return b"".join(arrived)

    def _carry(self, parts: list[Late], onward: bool, now_ns: int) -> None:
        for delay_s, data in parts:
            if onward and delay_s == 0.0 and not self.cut:
                self.wire.write(data)
            else:
                heapq.heappush(self._late, (now_ns + int(delay_s * 1e9), next(self._order), onward, data))
