"""Who may come in: answers ZeroMQ's questions about connections (ZAP, RFC 27) in the inspector's own loop, without a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import zmq

from edge.z85 import encode_z85

ADDRESS = "inproc://zeromq.zap.01"
VERSION = b"1.0"
AT_ONCE = 8
"""Questions answered in one go, some 15 microseconds each: a frame never waits for a crowd at the door."""
PARTS = 9
"""Of a question about CURVE behind the peer's address: empty, version, request, domain, address, identity, mechanism, key."""
KEY_BYTES = 32


class Porter:
    """Lets in whoever proves one of `keys` (32 bytes each) for `domain`, and names him `domain`; everybody else is told to `refused`.

    While nobody calls `answer`, and once it is closed, nobody comes in: sockets that ask here must set ZAP_ENFORCE_DOMAIN.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], domain: str, keys: Iterable[bytes], refused: Callable[[str], None]) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ADDRESS)
        self._domain, self._keys, self._refused = domain.encode(), frozenset(keys), refused

    def answer(self) -> None:
        """Answer up to AT_ONCE questions; never waits."""
        for _ in range(AT_ONCE):
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._reply(parts)

    def close(self) -> None:
        """Nobody comes in any more."""
        self.socket.close()

    def _reply(self, parts: list[bytes]) -> None:
        why = self._why_not(parts)
        # 300 and not 400: a camera that is refused asks again, so that it comes in once its key is entered here; and until the time for
        # the handshake is over its connection is held, which slows everybody down who tries keys.
        status, user = (b"300", b"") if why else (b"200", self._domain)
        if why:
            self._refused(why)
        if len(parts) > 3:
            self.socket.send_multipart([parts[0], b"", VERSION, parts[3], status, b"refused" if why else b"OK", user, b""])

    def _why_not(self, parts: list[bytes]) -> str:
        if len(parts) != PARTS or parts[2] != VERSION or parts[7] != b"CURVE" or len(parts[8]) != KEY_BYTES:
            return "a question that is not about CURVE"
        if parts[4] != self._domain:
            return f"a question for {parts[4][:24]!r}"
        if parts[8] not in self._keys:
            return f"{parts[5][:40].decode('ascii', 'replace')} with the unknown key {encode_z85(parts[8])}"
        return ""
