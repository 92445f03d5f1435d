"""One line per step with its seconds, as it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Note:
    """What a step wants to say about its result."""

    text: str = ""


@dataclass(frozen=True)
class Progress:
    """Says who did what and how long it took."""

    say: Callable[[str], None]
    who: str = ""
    started_s: float = field(default_factory=time.monotonic)

    def of(self, who: str) -> Progress:
        """The same voice, for one typology."""
        return Progress(self.say, who)

    @contextmanager
    def step(self, what: str) -> Iterator[Note]:
        """Time the block; the line appears only when it succeeded."""
        note = Note()
        started_s = time.monotonic()
        yield note
        self.say(f"{self.who:<8} {what:<10} {time.monotonic() - started_s:6.2f} s  {note.text}".rstrip())
