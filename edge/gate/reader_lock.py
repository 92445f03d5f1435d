"""One small lock between the gate and readers of its records: while somebody copies the live file, the gate leaves its WAL as it is."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 20
"""After this many attempts in a row the gate goes on all the same: a reader that never ends must not let the WAL grow for ever."""


def lock_path(records: Path) -> Path:
    """The file that is locked; the gate makes it, readers never do."""
    return records.with_name(records.name + ".reading")


class ReaderLock:
    """The gate's side. A reader holds the file shared; the gate only ever tries, it never waits."""

    def __init__(self, records: Path) -> None:
        self._fd: int | None = None
        self._refused = 0
        # Without this file (rights, full disk) readers still see that the WAL changed under them, and try again.
        with suppress(OSError):
            self._fd = os.open(lock_path(records), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)

    @contextmanager
    def kept_out(self) -> Iterator[bool]:
        """Gives True while no reader copies (or one did for too long), False when the gate should try again later."""
        free = self._try()
        self._refused = 0 if free else self._refused + 1
        try:
            yield free
        finally:
            if free and self._fd is not None:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _try(self) -> bool:
        if self._fd is None or self._refused >= PATIENCE:
            return True
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextmanager
def reading(records: Path) -> Iterator[None]:
    """The reader's side: waits for a checkpoint under way (milliseconds). Without the gate's file nothing is locked."""
    try:
        descriptor = os.open(lock_path(records), os.O_RDONLY)
    except OSError:
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
