"""Housekeeping of the recorder's thread: sealing full files, retention, and alarms while there is still room to write them."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge.config import StorageConfig
from edge.errors import StorageError
from edge.gate.disk import MIB, file_bytes, free_bytes
from edge.gate.retention import Retention
from edge.gate.rows import EventRow
from edge.gate.store import Store

LOOK_S = 10.0
"""How often free space is looked at."""
REPEAT_S = 600.0
"""An alarm that goes on is a row this often."""


def event(kind: str, reason: str, detail: str) -> EventRow:
    """A row about the records themselves."""
    now_ns = time.monotonic_ns()
    return EventRow(kind=kind, reason=reason, detail=detail, camera="", count=1, first_ns=now_ns, at_ns=now_ns)


class Keeper:
    """Used by the recorder's thread only. `write` makes a row durable and tells whether it is."""

    def __init__(self, store: Store, storage: StorageConfig, write: Callable[[EventRow], bool]) -> None:
        self._store = store
        self._storage = storage
        self._write = write
        self._retention = Retention(store.path, storage)
        self._looked_s = -LOOK_S
        self.free_bytes = self.live_bytes = -1
        """Room left for records and size of the live file when they were last looked at; -1: not yet, or nobody can say."""
        self._due = False
        """The file is full and waits to be sealed."""
        self._alarms: dict[str, float] = {}
        """When each alarm that goes on was last written."""

    def configured(self, storage: StorageConfig) -> None:
        """From now on by these sizes and ages."""
        self._storage = storage
        self._retention.configured(storage)

    def tidy(self, *, quiet: bool) -> None:
        """Between two triggers: write the WAL into the file, seal the file when it is full, delete at most one old file.

        A full file waits for a quiet moment, one of twice the size only for a moment without an open trigger. Raises RecordError.
        """
        self._store.checkpoint()
        size, limit = self._store.used_bytes(), self._storage.segment_mb * MIB
        self._due = self._due or size >= 2 * limit or (quiet and size >= limit)
        if not self.seal() and quiet:
            self._retain()

    def seal(self) -> bool:
        """Seal a file that is due as soon as no trigger is open in it, and delete at most one old one; False when it has to wait.

        On a line that is never quiet this is right after a disposition. Raises RecordError.
        """
        if not self._due or self._store.open_cases or self._store.rotate() is None:
            return False
        self._due = False
        self._retain()
        return True

    def look(self) -> None:
        """Every ten seconds: is there room? Raises nothing; a row that cannot be written latches as any other."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        self.free_bytes, self.live_bytes = free_bytes(self._store.path.parent), file_bytes(self._store.path)
        free_mib = self.free_bytes / MIB
        text = f"{free_mib:.0f} MiB free for records, alarm_mb is {self._storage.alarm_mb:g}"
        self._alarm("disk", text if free_mib < self._storage.alarm_mb else "")

    def _retain(self) -> None:
        try:
            blocked = self._retention.step(self._store.anchor, lambda text: self._write(event("retention", "", text)))
        except (StorageError, OSError) as exc:
            blocked = str(exc)
        self._alarm("retention", blocked)

    def _alarm(self, kind: str, text: str) -> None:
        """The first row at once, then one every ten minutes, and one when it is over."""
        now_s = time.monotonic()
        last_s = self._alarms.get(kind)
        if not text:
            if self._alarms.pop(kind, None) is not None:
                self._write(event(kind, "", "the alarm is over"))
        elif last_s is None or now_s - last_s >= REPEAT_S:
            self._alarms[kind] = now_s
            self._write(event(kind, "ALARM", text))
