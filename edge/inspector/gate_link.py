"""The inspector's end of the unix socket to the gate: connects for ever, never blocks, and says what it could not deliver."""

from __future__ import annotations

import errno
import socket
import time
from pathlib import Path

from edge.contract import MAX_MESSAGE_BYTES, ToGate, ToInspector, decode_to_inspector, encode

FIRST_RETRY_S = 0.02
LAST_RETRY_S = 0.5
_ABSENT = (errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN, errno.EACCES)
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Strangers at a camera's port may hold every descriptor until their handshakes are over."""


class GateLink:
    """A SOCK_SEQPACKET connection to the gate's socket at `path`, one message per packet."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._socket: socket.socket | None = None
        self._retry_s, self._next_try_s = FIRST_RETRY_S, 0.0
        self.undelivered = 0
        """Messages that the gate did not take: away, or not reading."""

    @property
    def connected(self) -> bool:
        """Is there a connection, as far as is known?"""
        return self._socket is not None

    def fileno(self) -> int:
        """The descriptor to wait on; -1 while not connected."""
        return -1 if self._socket is None else self._socket.fileno()

    def connect(self) -> bool:
        """Try once if the back-off allows it. True when this call made the connection. Raises OSError for what waiting cannot cure."""
        if self._socket is not None or time.monotonic() < self._next_try_s:
            return False
        try:
            connection = _connected(self._path)
        except OSError as exc:
            if exc.errno not in (*_ABSENT, *_FULL):
                raise
            self._next_try_s = time.monotonic() + self._retry_s
            self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
            return False
        self._socket, self._retry_s = connection, FIRST_RETRY_S
        return True

    def send(self, message: ToGate) -> bool:
        """Hand one packet to the kernel; False when the gate is away or not reading, and then the message is dropped and counted."""
        if self._socket is not None:
            try:
                self._socket.send(encode(message), socket.MSG_NOSIGNAL)
            except BlockingIOError:
                pass
            except OSError:
                self.close()
            else:
                return True
        self.undelivered += 1
        return False

    def receive(self) -> ToInspector | None:
        """The next message, None when there is none or the gate went away. Raises ContractError."""
        if self._socket is None:
            return None
        try:
            packet = self._socket.recv(MAX_MESSAGE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            packet = b""
        if not packet:
            self.close()
            return None
        return decode_to_inspector(packet)

    def close(self) -> None:
        """Drop the connection; `connect` may make a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection
