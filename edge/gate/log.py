"""Log lines that never make the caller wait: a bounded queue, one thread that writes, and a count of what was dropped."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from queue import Empty, Full, Queue

STDERR = 2
MAX_WAITING = 512
MAX_LINE = 500


class Log:
    """Writes to stderr from its own thread; a full queue drops lines and says how many."""

    def __init__(self, name: str) -> None:
        self.dropped = 0
        self._name = name
        self._queue: Queue[str | None] = Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """One line; control characters are escaped, so that nobody can forge a second one."""
        line = text[:MAX_LINE].encode("unicode_escape").decode("ascii")
        try:
            self._queue.put_nowait(f"{time.strftime('%H:%M:%S')} {self._name}: {line}\n")
        except Full:
            self.dropped += 1

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what waits, unless the reader of stderr is stuck."""
        try:
            self._queue.put(None, timeout=timeout_s)
        except Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        told = 0
        while True:
            try:
                line = self._queue.get(timeout=1.0)
            except Empty:
                line = ""
            if line is None:
                return
            if self.dropped > told:
                line += f"{self._name}: {self.dropped - told} log lines were dropped\n"
                told = self.dropped
            if line:
                _write(line)


def _write(line: str) -> None:
    # Not through sys.stderr: its lock, held by a write that nobody reads, would stand in the way of the interpreter's exit.
    with contextlib.suppress(OSError):
        os.write(STDERR, line.encode("ascii"))
