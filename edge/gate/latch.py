"""A durable "no accept until somebody looked": one file beside the records, removed by `cordon records acknowledge`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from edge.errors import StorageError

MAX_BYTES = 64 * 1024
"""Reasons beyond this are not written any more: the first ones say what to look at."""


class Acknowledgement(NamedTuple):
    """Who removed the latch, and the reasons that were read before."""

    who: str
    reasons: tuple[str, ...]


class Latch:
    """The file `<records>.latched`: one reason a line; while it exists, nothing is accepted, across restarts too.

    Acknowledging writes `<records>.acknowledged` (JSON: [who, reasons]) and then removes the latch; the gate puts that
    note into the records and removes it.
    """

    def __init__(self, records: Path) -> None:
        self.path = records.with_name(records.name + ".latched")
        self.note_path = records.with_name(records.name + ".acknowledged")

    def set(self, why: str) -> str:
        """Add a reason and make it durable; returns it as the file has it.

        Raises StorageError; the caller must then stay latched in memory.
        """
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
        return line.decode("ascii").rstrip("\n")

    def reasons(self) -> list[str]:
        """Why nothing is accepted; empty when not latched. A file that cannot be read counts as latched."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as exc:
            return [f"{self.path} cannot be read: {exc.strerror}"]
        return text.decode("ascii", "replace").splitlines() or ["latched without a reason"]

    def acknowledge(self, who: str) -> list[str]:
        """Note who it was, remove the latch, and give the reasons it held (none: it was not latched). Raises StorageError."""
        reasons = self.reasons()
        if not reasons:
            return []
        try:
            replace_durably(self.note_path, msgspec.json.encode(Acknowledgement(who, tuple(reasons))))
            self.path.unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as exc:
            remedy = "Run as the gate's user or as root"
            raise StorageError(f"the latch {self.path} cannot be removed", seen=exc.strerror, remedy=remedy) from exc
        return reasons

    def acknowledged(self) -> Acknowledgement | None:
        """The note of who removed the latch; None without one (or when it cannot be understood: then nobody is named)."""
        note: Acknowledgement | None = None
        with suppress(OSError, msgspec.DecodeError):
            note = msgspec.json.decode(self.note_path.read_bytes(), type=Acknowledgement)
        return note

    def forget_note(self) -> None:
        """The note is in the records now."""
        self.note_path.unlink(missing_ok=True)


def replace_durably(path: Path, content: bytes) -> None:
    """Write a small file so that it holds all of this or what it held before, whatever happens. Raises OSError."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make names created, renamed or removed in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
