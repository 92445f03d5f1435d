"""Room on the disk: how much is free, and a file that keeps some for the records of the time when nothing is free any more."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from edge.errors import CordonError
from edge.gate.database import is_full

MIB = 1024 * 1024


def free_bytes(folder: Path) -> int:
    """What a process without special rights may still write there; 0 when nobody can say."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def file_bytes(path: Path) -> int:
    """Size of a file; -1 when nobody can say."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


class Reserve:
    """`<records>.reserve`: allocated while all is well, given back to the file system when the disk is full; 0 bytes: no reserve."""

    def __init__(self, records: Path, size: int) -> None:
        self.path = records.with_name(records.name + ".reserve")
        self.bytes = size

    @property
    def held(self) -> bool:
        """True while the whole reserve is really allocated (a sparse copy of it is none)."""
        if not self.bytes:
            return True
        try:
            status = self.path.stat()
        except OSError:
            return False
        return status.st_size >= self.bytes and status.st_blocks * 512 >= self.bytes

    def make(self) -> bool:
        """Allocate it; False when that would leave less than its own size free, or the disk refuses."""
        if self.held:
            return True
        self.release()
        # With no room beyond it, the next row would use it up at once, and the gate would go to and fro.
        if free_bytes(self.path.parent) < 2 * self.bytes:
            return False
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self.bytes)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError:
            self.release()
        return self.held

    def release_for(self, exc: CordonError) -> bool:
        """Give it back when this failed for want of room; True when that made some.

        SQLite has no room for its shared memory either and calls that an input/output error: so free space is asked too.
        """
        return (is_full(exc) or free_bytes(self.path.parent) < self.bytes) and self.release()

    def release(self) -> bool:
        """Give it back; True when there was something to give."""
        had = self.bytes > 0 and self.path.exists()
        with suppress(OSError):
            self.path.unlink()
        return had
