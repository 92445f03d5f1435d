"""The serial port: opened for this process alone, raw, never blocking, and never finishing a write late."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import termios
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import serial

from edge.contract import TriggerId
from edge.demonstration import require_pretended
from edge.errors import LinkError, PortBusyError, PortGoneError, PortMissingError

MAX_WAITING = 8
"""Frames that may wait for a slow line; further ones are dropped."""
READ_BYTES = 4096
_PARITY = {"none": serial.PARITY_NONE, "even": serial.PARITY_EVEN, "odd": serial.PARITY_ODD}


@dataclass
class _Waiting:
    data: memoryview
    not_after_ns: int
    key: TriggerId | None


class SerialPort:
    """An open port. `on_sent(key)` and `on_dropped(key, why)` report the fate of every frame that has a key.

    Raises PortMissingError, PortBusyError or LinkError when it cannot be opened; PortGoneError when it breaks later.
    """

    def __init__(
        self,
        path: str,
        *,
        baudrate: int,
        parity: Literal["none", "even", "odd"] = "none",
        on_sent: Callable[[TriggerId], None] = lambda _: None,
        on_dropped: Callable[[TriggerId, str], None] = lambda _key, _why: None,
    ) -> None:
        self.path = path
        self._on_sent, self._on_dropped = on_sent, on_dropped
        self._waiting: deque[_Waiting] = deque()
        self._serial = _open(path, baudrate, parity)
        self._fd: int = self._serial.fileno()
        try:
            require_pretended(path, os.fstat(self._fd).st_rdev)
            _settle(self._fd)
        except LinkError:
            self._serial.close()
            raise
        except (OSError, termios.error) as exc:
            self._serial.close()
            raise translate_open(path, exc) from exc

    def fileno(self) -> int:
        """For polling."""
        return self._fd

    @property
    def waiting(self) -> bool:
        """True while bytes wait for the line: poll for writing, and call `flush`."""
        return bool(self._waiting)

    def due_ns(self) -> int | None:
        """When the frame that waits first must be dropped; those behind it are looked at once it is gone."""
        return self._waiting[0].not_after_ns if self._waiting else None

    def read(self) -> bytes:
        """What arrived, at most 4096 bytes; empty when nothing did. Raises PortGoneError."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as exc:
            raise self._gone(exc.strerror) from exc
        if not data:
            raise self._gone("end of file")
        return data

    def send(self, data: bytes, not_after_ns: int, now_ns: int, key: TriggerId | None = None) -> None:
        """Hand a frame to the line now; what does not fit waits until `not_after_ns` (CLOCK_MONOTONIC). Raises PortGoneError."""
        if len(self._waiting) >= MAX_WAITING:
            self._drop(_Waiting(memoryview(data), 0, key), f"{MAX_WAITING} frames wait for the line")
            return
        self._waiting.append(_Waiting(memoryview(data), not_after_ns, key))
        self.flush(now_ns)

    def flush(self, now_ns: int) -> None:
        """Go on with what waits; drop what is too late, whole frames as well as rests. Raises PortGoneError."""
        while self._waiting:
            frame = self._waiting[0]
            if now_ns >= frame.not_after_ns:
                self._waiting.popleft()
                self._drop(frame, f"{len(frame.data)} bytes were left at its deadline")
                continue
            written = self._write(frame.data)
            if written < len(frame.data):
                frame.data = frame.data[written:]
                return
            self._waiting.popleft()
            if frame.key is not None:
                self._on_sent(frame.key)

    def withdraw(self, key: TriggerId) -> None:
        """Forget the frames of this key that wait, the rest of a half-sent one too; they are not reported as dropped."""
        if any(frame.key == key for frame in self._waiting):
            self._waiting = deque(frame for frame in self._waiting if frame.key != key)

    def discard(self) -> None:
        """Forget everything that was not sent, here and in the driver."""
        self._waiting.clear()
        with contextlib.suppress(termios.error, OSError):
            termios.tcflush(self._fd, termios.TCOFLUSH)

    def close(self) -> None:
        """Give the port back; frames still waiting are dropped."""
        while self._waiting:
            self._drop(self._waiting.popleft(), "the port was closed")
        with contextlib.suppress(termios.error, OSError):
            termios.tcflush(self._fd, termios.TCOFLUSH)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._fd, termios.TIOCNXCL)
        with contextlib.suppress(OSError, termios.error, serial.SerialException):
            self._serial.close()

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise self._gone(exc.strerror) from exc

    def _drop(self, frame: _Waiting, why: str) -> None:
        if frame.key is not None:
            self._on_dropped(frame.key, why)

    def _gone(self, seen: object) -> PortGoneError:
        return PortGoneError(
            f"the port {self.path} is gone", seen=seen, remedy="Check cable and adapter; the gate opens it again by itself"
        )


def translate_open(path: str, exc: BaseException) -> LinkError:
    """The one place where the operating system's and pyserial's errors about opening become this project's."""
    number = getattr(exc, "errno", None)
    text = str(exc)
    if number in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        return PortMissingError(f"there is no serial port {path}", seen=text, remedy="Plug the adapter in, or correct gate.port")
    if number in (errno.EBUSY, errno.EWOULDBLOCK) or "exclusively lock" in text:
        remedy = "Stop the other process (a second gate? `fuser` names it), or correct gate.port"
        return PortBusyError(f"another process holds the serial port {path}", seen=text, remedy=remedy)
    remedy = "gate.port must be a serial device that this user may read and write (group dialout)"
    return LinkError(f"the serial port {path} cannot be used", seen=text, remedy=remedy)


def _open(path: str, baudrate: int, parity: Literal["none", "even", "odd"]) -> serial.Serial:
    try:
        return serial.Serial(path, baudrate=baudrate, parity=_PARITY[parity], timeout=0, write_timeout=0, exclusive=True)
    except (OSError, ValueError, termios.error) as exc:
        raise translate_open(path, exc) from exc


def _settle(fd: int) -> None:
    """Ours alone, no hang-up when closed, and nothing left over from before."""
    fcntl.ioctl(fd, termios.TIOCEXCL)
    attributes = termios.tcgetattr(fd)
    attributes[2] &= ~termios.HUPCL
    # With VMIN 1 a read of nothing is EAGAIN, and an empty read can only mean that the device is gone.
    attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
    os.set_blocking(fd, False)
    termios.tcflush(fd, termios.TCIOFLUSH)
