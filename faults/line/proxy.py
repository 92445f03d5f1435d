"""A TCP proxy in a thread that passes bytes on, swallows them (half-open), or answers with bytes of its own."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from typing import Literal

Mode = Literal["pass", "swallow", "hostile", "refuse"]


class Proxy:
    """Listens on a free port of 127.0.0.1; `target` is where "pass" leads. `hostile` is sent to whoever connects in that mode."""

    def __init__(self, target: int) -> None:
        self.mode: Mode = "pass"
        self.hostile: list[bytes] = [b""]
        self.connections = 0
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.settimeout(0.1)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._held: list[socket.socket] = []
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """Reset every connection."""
        pairs, self._pairs = self._pairs, []
        held, self._held = self._held, []
        for one in (*(end for pair in pairs for end in pair), *held):
            with contextlib.suppress(OSError):
                one.close()

    def close(self) -> None:
        """End the thread and every connection."""
        self._ending = True
        self._thread.join(5)
        self._listener.close()
        self.cut()

    def _run(self) -> None:
        while not self._ending:
            ends = [end for pair in self._pairs for end in pair]
            try:
                ready, _, _ = select.select([self._listener, *ends], [], [], 0.02)
            except (OSError, ValueError):
                continue  # a connection was cut meanwhile
            if self._listener in ready:
                self._accept()
            self._pass_on(ready)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            caller, _ = self._listener.accept()
            self.connections += 1
            if self.mode == "refuse":
                caller.close()
            elif self.mode == "hostile":
                caller.sendall(self.hostile[self.connections % len(self.hostile)])
                self._held.append(caller)
            else:
                self._pairs.append((caller, socket.create_connection(("127.0.0.1", self._target), timeout=1)))

    def _pass_on(self, ready: list[socket.socket]) -> None:
        for pair in list(self._pairs):
            for end, other in (pair, pair[::-1]):
                if end in ready and not self._shovel(end, other) and pair in self._pairs:
                    self._pairs.remove(pair)
                    pair[0].close()
                    pair[1].close()

    def _shovel(self, end: socket.socket, other: socket.socket) -> bool:
        try:
            data = end.recv(1 << 16)
            if data and self.mode == "pass":
                other.sendall(data)
        except OSError:
            return False
        return bool(data)
