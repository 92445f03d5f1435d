"""What ZeroMQ says about a camera's connections: which one ended, and where the other side refused our key."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import zmq

# Protocol errors are not asked for: telling of one overwrites errno inside ZeroMQ 4.3.5, and the connection that broke the protocol
# is then held until its heartbeat times out, where it should be cut at once.
EVENTS = zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH
AT_ONCE = 32


class LinkMonitor:
    """Events of `socket`, read without waiting. Its queue has no bound, for a full one would hold up the socket's connections."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes], name: str) -> None:
        self._watched = socket
        self.socket = context.socket(zmq.PAIR)
        self.socket.setsockopt(zmq.RCVHWM, 0)
        self.socket.setsockopt(zmq.LINGER, 0)
        socket.monitor(f"inproc://monitor-{name}", EVENTS)
        self.socket.connect(f"inproc://monitor-{name}")

    def events(self) -> Iterator[tuple[int, int]]:
        """(EVENT_DISCONNECTED, its file descriptor) or (EVENT_HANDSHAKE_FAILED_AUTH, status); AT_ONCE of them at most."""
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
