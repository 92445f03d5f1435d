"""The recorder's side of the latch: reasons become durable, and a removed latch becomes a row before anything is accepted."""

from __future__ import annotations

import time
from contextlib import suppress

from edge.contract import Reason
from edge.errors import StorageError
from edge.gate.latch import Latch
from edge.gate.rows import EventRow

POLL_S = 0.5
"""How often somebody who is latched looks whether a person acknowledged."""


class LatchWatch:
    """Used by the recorder's thread only, after `start`."""

    def __init__(self, latch: Latch) -> None:
        self._latch = latch
        self._known: tuple[str, ...] = ()
        """Reasons in the file that the records do not call acknowledged yet."""
        self._unsaved: list[str] = []
        self._unseen: list[str] = []
        """Reasons that the person who acknowledged had not read."""
        self._note_left = False
        """Somebody acknowledged while no gate ran, and no row says so yet."""
        self._due_s = time.monotonic()

    @property
    def latched(self) -> bool:
        """True while nothing may be accepted (or a note of an acknowledgement waits for its row)."""
        return bool(self._known or self._unsaved or self._note_left)

    def start(self) -> tuple[str, ...]:
        """The reasons an earlier run left."""
        self._known = tuple(self._latch.reasons())
        self._note_left = not self._known and self._latch.acknowledged() is not None
        return self._known

    def add(self, why: str) -> None:
        """Latch for one more reason."""
        self._unsaved.append(why)

    def store(self) -> None:
        """Make new reasons durable; what cannot be written is kept in memory and tried again."""
        with suppress(StorageError):
            while self._unsaved:
                saved = self._latch.set(self._unsaved[0])
                self._known = (*self._known, saved)
                del self._unsaved[0]

    def removed(self) -> EventRow | None:
        """The row that says who removed the latch, when it is gone; looks only so often."""
        now_s = time.monotonic()
        if not self.latched or self._unsaved or now_s < self._due_s:
            return None
        self._due_s = now_s + 0.8 * POLL_S
        if self._latch.reasons():
            return None
        note = self._latch.acknowledged()
        who = note.who if note is not None else "somebody who removed the file without `cordon records acknowledge`"
        reasons = note.reasons if note is not None else self._known
        # A reason set while the person read the others is not acknowledged: it goes back.
        self._unseen = [reason.encode("ascii").decode("unicode_escape") for reason in self._known if reason not in reasons]
        now_ns = time.monotonic_ns()
        text = f"acknowledged by {who}: {'; '.join(reasons)}"
        return EventRow(kind="latch", reason=Reason.LATCHED.value, detail=text, camera="", count=1, first_ns=now_ns, at_ns=now_ns)

    def finish(self) -> bool:
        """The row is durable; False when reasons are left that nobody has seen yet."""
        was_latched = bool(self._known)
        with suppress(OSError):
            self._latch.forget_note()
        self._known, self._note_left, self._unsaved = (), False, [*self._unseen, *self._unsaved]
        self.store()
        return was_latched and not self.latched
