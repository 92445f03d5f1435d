"""A durable "no accept until somebody looked": one file beside the records, removed by `cordon records acknowledge`."""

from __future__ import annotations

import os
from pathlib import Path

from edge.errors import StorageError

MAX_BYTES = 64 * 1024
"""Reasons beyond this are not written any more: the first ones say what to look at."""


class Latch:
    """The file `<records>.latched`: one reason a line; while it exists, nothing is accepted, across restarts too."""

    def __init__(self, records: Path) -> None:
        self.path = records.with_name(records.name + ".latched")

    def set(self, why: str) -> None:
        """Add a reason and make it durable. Raises StorageError; the caller must then stay latched in memory."""
        line = why[:500].encode("unicode_escape") + b"\n"
        try:
            with self.path.open("ab") as file:
                if file.tell() + len(line) <= MAX_BYTES:
                    file.write(line)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self.path.parent)
        except OSError as exc:
            raise StorageError(f"the latch {self.path} cannot be written", seen=exc.strerror, remedy="Check disk and rights") from exc

    def reasons(self) -> list[str]:
        """Why nothing is accepted; empty when not latched. A file that cannot be read counts as latched."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as exc:
            return [f"{self.path} cannot be read: {exc.strerror}"]
        return text.decode("ascii", "replace").splitlines() or ["latched without a reason"]

    def clear(self) -> list[str]:
        """Acknowledge: remove the file; returns the reasons it held. Raises StorageError."""
        reasons = self.reasons()
        try:
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as exc:
            remedy = "Run as the gate's user or as root"
            raise StorageError(f"the latch {self.path} cannot be removed", seen=exc.strerror, remedy=remedy) from exc
        return reasons


def sync_folder(folder: Path) -> None:
    """Make names created, renamed or removed in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
