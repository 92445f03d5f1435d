"""The robot's end of the serial line: a pseudo-terminal it opens itself, or a real device."""

from __future__ import annotations

import contextlib
import errno
import os
import tty
from pathlib import Path
from typing import Literal, Protocol

from edge.errors import PortGoneError, SimulationError
from edge.gate.port import SerialPort


class Line(Protocol):
    """Bytes to and from the gate."""

    def fileno(self) -> int:
        """For polling."""

    def read(self) -> bytes | None:
        """What arrived, empty when nothing did, None while nobody holds the other end."""

    def write(self, data: bytes) -> bool:
        """Hand over a frame; False when the line took only a part of it or none."""

    def close(self) -> None:
        """End it."""


class PtyLine:
    """A pseudo-terminal; `link` becomes a symbolic link to the side the gate opens as its port."""

    def __init__(self, link: Path | None) -> None:
        self._master, self.path = _terminal()
        self._used, self._link = False, link
        if link is not None:
            _link(link, self.path)

    def fileno(self) -> int:
        """For polling."""
        return self._master

    def read(self) -> bytes | None:
        """What arrived, empty when nothing did, None while nobody holds the other end."""
        try:
            data = os.read(self._master, 4096)
        except BlockingIOError:
            return b""
        except OSError as exc:
            if exc.errno != errno.EIO:
                raise
            if self._used and self._link is not None:
                self._renew(self._link)
            return None
        self._used = True
        return data

    def _renew(self, link: Path) -> None:
        """On a pseudo-terminal, unlike on a device, the exclusive flag outlives a gate that was killed, and would lock out the next."""
        fresh, self.path = _terminal()
        os.dup2(fresh, self._master, inheritable=False)  # the same number: somebody may be polling it
        os.close(fresh)
        self._used = False
        with contextlib.suppress(SimulationError):
            _link(link, self.path)

    def write(self, data: bytes) -> bool:
        """Hand over a frame; False when the line took only a part of it or none."""
        try:
            return os.write(self._master, data) == len(data)
        except OSError:
            return False

    def close(self) -> None:
        """Pull the plug; the link goes too, unless it leads elsewhere by now."""
        os.close(self._master)
        if self._link is not None:
            with contextlib.suppress(OSError):
                if self._link.readlink() == Path(self.path):
                    self._link.unlink()


class DeviceLine:
    """A serial device, opened with the same care as the gate does."""

    def __init__(self, port: str, baudrate: int, parity: Literal["none", "even", "odd"] = "none") -> None:
        self._port = SerialPort(port, baudrate=baudrate, parity=parity)

    def fileno(self) -> int:
        """For polling."""
        return self._port.fileno()

    def read(self) -> bytes | None:
        """What arrived, empty when nothing did, None when the device is gone."""
        try:
            return self._port.read()
        except PortGoneError:
            return None

    def write(self, data: bytes) -> bool:
        """Hand over a frame; False when the device did not take all of it."""
        try:
            self._port.send(data, 1, 0)
        except PortGoneError:
            return False
        taken = not self._port.waiting
        if not taken:
            self._port.discard()
        return taken

    def close(self) -> None:
        """Give the device back."""
        self._port.close()


def _terminal() -> tuple[int, str]:
    """The end that stays here, not blocking, and the path of the other, which nobody holds yet."""
    master, slave = os.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    os.close(slave)
    os.set_blocking(master, False)
    return master, path


def _link(link: Path, target: str) -> None:
    if link.exists() and not link.is_symlink():
        raise SimulationError(f"{link} exists and is no link", remedy="Choose another --link; the file was left alone")
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        fresh.symlink_to(target)
        fresh.replace(link)
    except OSError as exc:
        raise SimulationError(f"cannot make the link {link}", seen=exc.strerror, remedy="Choose a folder that exists") from exc
