"""The gate's real process: started as the service manager would, killed, stopped, asked to end, and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

REAL = (sys.executable, "-m", "edge", "run", "gate")
"""`cordon run gate`."""


class GateProcess:
    """One gate at a time; its log is appended to a file beside the configuration."""

    def __init__(self, config: Path, command: Sequence[str] = REAL, *, variables: Mapping[str, str]) -> None:
        self.config = config
        self.log = config.with_name("gate.log")
        self.command = (*command, "--config", str(config))
        self.variables = {**os.environ, **variables}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running gate."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """A gate was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def reap(self) -> None:
        """Wait for the end of one that was killed."""
        if self._process is not None:
            self._process.wait()

    def start(self) -> None:
        """Begin a process; it does not wait until it serves."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log, env=self.variables
            )

    def ended(self) -> int | None:
        """Exit status (negative: signal), or None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """A signal, if it still runs."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self, timeout_s: float = 10.0) -> int:
        """SIGTERM; returns the exit status. A gate that does not end is killed, which the status -9 shows."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def log_text(self) -> str:
        """Everything the gates of this cell logged."""
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
