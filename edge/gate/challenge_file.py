"""The challenge that was passed last, in a file beside the records: kept across restarts, gone as soon as it counts no more."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.gate.case import Kept
from edge.gate.latch import replace_durably, sync_folder

if TYPE_CHECKING:
    from edge.gate.challenge import Passed  # loaded where there is a file

MAX_BYTES = 64 * 1024


class ChallengeFile:
    """`<records>.challenge` (JSON)."""

    def __init__(self, records: Path) -> None:
        self.path = records.with_name(records.name + ".challenge")

    def load(self) -> Passed | str | None:
        """What an earlier process left; None: nothing, a text: why it cannot be used. Never raises."""
        try:
            with self.path.open("rb") as file:
                content = file.read(MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as exc:
            return f"{self.path.name} cannot be used ({exc})"
        from edge.gate.challenge import Passed  # noqa: PLC0415 - milliseconds that a gate without such parts need not spend

        try:
            return msgspec.json.decode(content, type=Passed)
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            return f"{self.path.name} cannot be used ({exc})"

    def keep(self, content: bytes | None) -> None:
        """Make this durable, or (None) that nothing counts. Raises OSError; what was there before may then still be there."""
        if content is not None:
            replace_durably(self.path, content)
            return
        with suppress(FileNotFoundError):
            self.path.unlink()
            sync_folder(self.path.parent)


class ChallengeKeeper:
    """The recorder's side of it, for its thread only: what cannot be written is tried again."""

    def __init__(self, file: ChallengeFile) -> None:
        self._file = file
        self._wanted: Kept | None = None
        self._told = False

    @property
    def waiting(self) -> bool:
        """True while something is not durable yet."""
        return self._wanted is not None

    def want(self, kept: Kept) -> None:
        """From now on this is what is to be kept; what was asked for before does not matter any more."""
        self._wanted = kept

    def work(self, *, passed: bool) -> str:
        """Make durable that a challenge was `passed`, or that none counts; returns what went wrong, the first time."""
        if self._wanted is None or (self._wanted.content is not None) is not passed:
            return ""
        try:
            self._file.keep(self._wanted.content)
        except OSError as exc:
            told, self._told = self._told, True
            return "" if told else f"{self._file.path.name} cannot be changed ({exc.strerror}); tried again until it can"
        self._wanted, self._told = None, False
        return ""
