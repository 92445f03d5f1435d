"""The unix socket where the inspector connects: one connection, the newest wins, and only from the same user or root."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from pathlib import Path

from edge.contract import MAX_MESSAGE_BYTES, ToGate, ToInspector, decode_to_gate, encode
from edge.errors import ConfigError, ContractError

MAX_PER_STEP = 64
"""Packets taken from the inspector in one go, so that a flood cannot starve the robot."""


class InspectorSocket:
    """Listens, accepts, reads and writes packets without ever blocking."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = _listen(path)
        self.connection: socket.socket | None = None
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def accept(self) -> socket.socket:
        """A waiting connection whose peer may be the inspector; `adopt` makes it the one. Raises ConnectionError otherwise."""
        try:
            peer, _ = self.listener.accept()
        except BlockingIOError as exc:
            raise ConnectionError("the peer went away") from exc
        except OSError as exc:
            self._turn_away()
            raise ConnectionError(f"an inspector was turned away: {exc.strerror}") from exc
        _, uid, _ = struct.unpack("iII", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII")))
        if uid not in (0, os.getuid()):
            peer.close()
            raise ConnectionError(f"user {uid} may not connect as inspector")
        peer.setblocking(False)
        return peer

    def _turn_away(self) -> None:
        """With no descriptor left, who knocks would stay in the queue and polling never wait: answer with the spare one, and hang up."""
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self.listener.accept()[0].close()
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def adopt(self, peer: socket.socket) -> None:
        """Make this connection the one and only."""
        self.drop()
        self.connection = peer

    def receive(self) -> list[ToGate]:
        """Packets waiting, at most 64. Raises ContractError for one that does not fit, ConnectionError at the end."""
        messages: list[ToGate] = []
        while self.connection is not None and len(messages) < MAX_PER_STEP:
            try:
                packet = self.connection.recv(MAX_MESSAGE_BYTES + 1)
            except BlockingIOError:
                break
            if not packet:
                if messages:
                    break
                raise ConnectionError("the inspector closed the connection")
            if len(packet) > MAX_MESSAGE_BYTES:
                remedy = "Run gate and inspector from the same release"
                raise ContractError("a packet of the inspector is too large", seen=f"more than {MAX_MESSAGE_BYTES} bytes", remedy=remedy)
            messages.append(decode_to_gate(packet))
        return messages

    def tell(self, message: ToInspector) -> bool:
        """Send one packet; False when the inspector does not take it now (it is a hint, nothing waits for it)."""
        if self.connection is None:
            return False
        try:
            self.connection.send(encode(message))
        except OSError:
            return False
        return True

    def drop(self) -> None:
        """End the connection, if any."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def close(self) -> None:
        """Stop listening and remove the socket's file."""
        self.drop()
        self.listener.close()
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self.path.unlink()


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        listener.bind(str(path))
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        listener.listen(4)
    except OSError as exc:
        listener.close()
        raise ConfigError(f"gate.socket {path} cannot be used", seen=exc.strerror, remedy="Check the folder and its rights") from exc
    except ConfigError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _remove_stale(path: Path) -> None:
    """Remove a socket nobody listens on any more; anything else at this path is left alone."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise ConfigError(
            f"gate.socket {path} is not a socket", seen=stat.filemode(kind), remedy="Choose another path; the file was left alone"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise ConfigError(f"another gate listens on {path}", remedy="Stop it, or give this gate its own gate.socket")
