"""The newest frames of a camera by their hash, kept over a restart of the inspector: a frozen camera must not be new again after it."""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path

from edge.errors import ConfigError

REMEMBERED = 16
"""Frames that are known again: a frozen camera may hand out several old buffers in turn."""
DIGITS = 32
"""Of a BLAKE2b-128 hash."""
_SIZE = REMEMBERED * DIGITS
_HASH = re.compile(rb"[0-9a-f]{32}\Z")


class Remembered:
    """The last `REMEMBERED` hashes, in place in a mapped file of 512 bytes: no call of the system while frames are judged.

    The file lies beside the gate's socket, in memory: it outlives the process and not the box's start. What of it is no hash is
    ignored. Without a path, nothing is kept. Raises ConfigError where the file cannot be made.
    """

    def __init__(self, path: Path | None) -> None:
        self._map = None if path is None else _mapped(path)
        kept = b"" if self._map is None else self._map[:]
        slots = [kept[at : at + DIGITS] for at in range(0, _SIZE, DIGITS)]
        self._slots = [slot.decode("ascii") if _HASH.match(slot) else "" for slot in slots]
        self._next = 0

    def __contains__(self, digest: str) -> bool:
        """Was this frame among the newest?"""
        return digest in self._slots

    def add(self, digest: str) -> None:
        """Know this frame from now on, and forget the oldest. `digest` has 32 hex digits."""
        at = self._next
        self._slots[at], self._next = digest, (at + 1) % REMEMBERED
        if self._map is not None:
            self._map[at * DIGITS : (at + 1) * DIGITS] = digest.encode("ascii")

    def close(self) -> None:
        """Leave the file where it is."""
        if self._map is not None:
            self._map.close()
            self._map = None


def _mapped(path: Path) -> mmap.mmap:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, _SIZE)
            return mmap.mmap(descriptor, _SIZE)
        finally:
            os.close(descriptor)
    except OSError as exc:
        remedy = "The inspector's account must be able to write the folder of gate.socket"
        raise ConfigError(f"the frames seen before cannot be kept in {path}", seen=exc.strerror, remedy=remedy) from exc
