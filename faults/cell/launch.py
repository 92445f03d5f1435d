"""Limits for a process about to start, and for one that runs: the operating system's, not a simulation."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

NOBODY = 65_534
_LIMITED = """
import os, resource, sys
kind, value, user = (int(word) for word in sys.argv[1:4])
resource.setrlimit(kind, (value, value))
if user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
os.execv(sys.argv[4], sys.argv[4:])
"""


def limited(command: Sequence[str], kind: int, value: int, *, user: int = 0) -> tuple[str, ...]:
    """The same command under a limit (`resource.RLIMIT_...`), and as another user if one is named."""
    return (sys.executable, "-S", "-E", "-c", _LIMITED, str(kind), str(value), str(user), *command)


class Ended(NamedTuple):
    """How a process ended; `status` is None when it had not after the time given and was killed."""

    status: int | None
    text: str

    @property
    def clear(self) -> bool:
        """It refused to start with a message for people."""
        return self.status == 1 and "Traceback" not in self.text and "cordon run: " in self.text


def run(command: Sequence[str], *, timeout_s: float = 10.0) -> Ended:
    """Run to its end and give status and standard error."""
    # A file, not a pipe: whatever such a process leaves behind cannot hold the reader.
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            status: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = None
        errors.seek(0)
        return Ended(status, errors.read().decode("utf-8", "replace"))


def limit(pid: int, kind: int, value: int) -> None:
    """Set a limit of a running process; only the soft one, which may be raised again."""
    resource.prlimit(pid, kind, (value, resource.prlimit(pid, kind)[1]))


def status_kb(pid: int, name: str) -> int:
    """A size of a process in kB, such as VmRSS or VmSize."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def open_files(pid: int) -> int:
    """Number of descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> list[int]:
    """Its threads' ids."""
    return [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
