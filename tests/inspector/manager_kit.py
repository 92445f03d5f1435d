"""A service manager's end of the notify socket, for real processes."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

WATCHDOG_S = 0.4


class Manager:
    """Listens in `folder`; `environment` is what systemd would give to a unit with WatchdogSec=400ms."""

    def __init__(self, folder: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "notify"))
        self.socket.settimeout(0.05)
        self.environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
        self.heard: list[str] = []

    def listen(self, seconds: float) -> list[str]:
        """What comes within this time."""
        before, until = len(self.heard), time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                self.heard.append(self.socket.recv(4096).decode())
            except TimeoutError:
                continue
        return self.heard[before:]

    def wait(self, text: str, seconds: float = 20.0) -> None:
        """Until a message contains `text`."""
        until = time.monotonic() + seconds
        while not any(text in message for message in self.listen(0.05)):
            assert time.monotonic() < until, f"no {text!r} came; heard {self.heard[-5:]}"

    def drain(self) -> None:
        """Forget what waits."""
        self.listen(0.1)

    def fed(self, seconds: float = 1.5 * WATCHDOG_S) -> bool:
        """Was the watchdog fed within this time?"""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if "WATCHDOG=1" in self.listen(0.05):
                return True
        return False

    def close(self) -> None:
        self.socket.close()
