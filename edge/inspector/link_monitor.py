"""What ZeroMQ says about a camera's connections: which one ended, and which failed before it was one."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import zmq

FAILED = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
AT_ONCE = 32
CAUSES: dict[int, str] = {
    zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH: "one side speaks CURVE and the other does not",
    zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: "the keys do not fit each other",
}


class LinkMonitor:
    """Events of `socket`, read without waiting. Its queue has no bound, for a full one would hold up the socket's connections."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes], name: str) -> None:
        self._watched = socket
        self.socket = context.socket(zmq.PAIR)
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.setsockopt(zmq.LINGER, 0)
        socket.monitor(f"inproc://monitor-{name}", FAILED | zmq.EVENT_DISCONNECTED)
        self.socket.connect(f"inproc://monitor-{name}")

    def events(self) -> Iterator[tuple[int, int]]:
        """(event, value) of up to AT_ONCE events; the value of EVENT_DISCONNECTED is the connection's file descriptor."""
        for _ in range(AT_ONCE):
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(parts) == 2 and len(parts[0]) == 6:
                event, value = struct.unpack("=Hi", parts[0])
                yield event, value

    def close(self) -> None:
        """Hear no more."""
        self._watched.disable_monitor()
        self.socket.close()


def cause_of(event: int, value: int) -> str:
    """Why a handshake failed, in words; empty for an event that is none."""
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return f"the other side refused the key (status {value})"
    if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
        return CAUSES.get(value & 0xFFFFFFFF, f"ZeroMQ protocol error {value & 0xFFFFFFFF:#010x}")
    return "the handshake was broken off, or took too long" if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL else ""
