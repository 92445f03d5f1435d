"""What a process uses, from /proc: memory, file descriptors, share of a core."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


@dataclass
class Usage:
    """One process, watched from construction on."""

    pid: int
    mb: float = 0.0
    files: int = 0
    _begun: tuple[float, float] = field(init=False)
    _now: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        self._begun = self._now = (time.monotonic(), _cpu_s(self.pid))
        self.look()

    def look(self) -> None:
        """Take a sample; the process has to live."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        self.mb = max(self.mb, int(status.partition("VmHWM:")[2].split()[0]) / 1024)
        self.files = max(self.files, len(list(Path(f"/proc/{self.pid}/fd").iterdir())))
        self._now = (time.monotonic(), _cpu_s(self.pid))

    @property
    def cpu_percent(self) -> float:
        """Share of one core between the first sample and the last."""
        elapsed_s = self._now[0] - self._begun[0]
        return 100 * (self._now[1] - self._begun[1]) / elapsed_s if elapsed_s > 0 else 0.0
