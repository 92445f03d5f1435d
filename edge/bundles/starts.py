"""Starts that never came through: a bundle whose loading kills or hangs the inspector must not do so for ever."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from edge.errors import KnownAnswerError

TRIES = 3
_MOST = 100
_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Starts:
    """Counts in a small file that a reboot forgets; without a path, or where it cannot be written, nothing is counted."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def begin(self, bundle: str) -> None:
        """The active bundle is about to be loaded. Raises KnownAnswerError when the last TRIES such starts just ended."""
        died = self._died(bundle)
        if died >= TRIES:
            remedy = f"Activate another bundle; to try this one again, delete {self._path}"
            raise KnownAnswerError(f"{died} starts with bundle {bundle[:12]} ended before it was proved", remedy=remedy)
        self._write(f"{bundle} {died + 1}")

    def through(self) -> None:
        """The bundle was proved, or refused with a reason."""
        self._write("")

    def _died(self, bundle: str) -> int:
        if self._path is None:
            return 0
        with contextlib.suppress(OSError, ValueError):
            file = os.open(self._path, os.O_RDONLY | _FLAGS)
            try:
                name, count = os.read(file, _MOST).decode("ascii").split()
            finally:
                os.close(file)
            return int(count) if name == bundle else 0
        return 0

    def _write(self, text: str) -> None:
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)
            try:
                os.write(file, text.encode())
            finally:
                os.close(file)
