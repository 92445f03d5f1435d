"""Which sealed record files may be deleted; the row that says so is durable before the file goes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from edge.config import StorageConfig
from edge.errors import RecordError, StorageError
from edge.gate.chain import Anchor, anchor_of
from edge.gate.database import translated
from edge.gate.disk import MIB
from edge.gate.exported import is_exported, marker_path
from edge.gate.latch import sync_folder
from edge.gate.rows import TABLES
from edge.gate.segments import Segment, read_segment, segments_of

NS_PER_DAY = 24 * 3600 * 10**9
AGE_PAUSE_S = 600.0
"""Between two deletions by age: a wall clock that jumped ahead must not empty the disk before somebody sees it."""


def deletion_text(last: Anchor) -> str:
    """How the row of a deletion names the end of what was deleted; `verify` looks for it."""
    return f"deleted up to row {last.number}, hash {last.hash.hex()}"


class Retention:
    """Deletes the oldest sealed file when `keep_mb` or `keep_days` is exceeded, one at a time, in order, and never the live one."""

    def __init__(self, live: Path, storage: StorageConfig) -> None:
        self._live = live
        self._storage = storage
        self._aged_s = -AGE_PAUSE_S

    def configured(self, storage: StorageConfig) -> None:
        """From now on by these sizes and ages."""
        self._storage = storage

    def step(self, anchor: Anchor, write: Callable[[str], bool]) -> str:
        """Delete at most one file: `write` makes the text of a row durable first (False: it could not, so nothing is deleted).

        `anchor` is the live file's. Returns why a file that should go may not go, else "".
        """
        sealed = segments_of(self._live)
        why = self._why(sealed) if sealed else ""
        if not why:
            return ""
        oldest = sealed[0]
        exported = is_exported(oldest)
        if self._storage.exported_only and not exported:
            return f"{oldest.path.name} should be deleted ({why}) but was not exported"
        # What the next file is chained to: `verify` then finds this row when it asks what came before the oldest file.
        last = anchor if len(sealed) == 1 else _anchor(sealed[1])
        text = f"{deletion_text(last)}: {oldest.path.name} from row {oldest.first}, {'exported' if exported else 'not exported'}, {why}"
        if not write(text):
            return ""
        self._delete(oldest)
        if why.startswith("older"):
            self._aged_s = time.monotonic()
        return ""

    def _why(self, sealed: list[Segment]) -> str:
        size = sum(segment.path.stat().st_size for segment in sealed)
        if self._storage.keep_mb and size > self._storage.keep_mb * MIB:
            return f"{size / MIB:.0f} MiB of sealed records, keep_mb is {self._storage.keep_mb:g}"
        may_age = self._storage.keep_days and time.monotonic() - self._aged_s >= AGE_PAUSE_S
        old = may_age and _newest_wall_ns(sealed[0]) < time.time_ns() - int(self._storage.keep_days * NS_PER_DAY)
        return f"older than keep_days, which is {self._storage.keep_days:g}" if old else ""

    def _delete(self, segment: Segment) -> None:
        """The marker goes last: without it, a file that a power cut left would never be deleted."""
        try:
            segment.path.unlink()
            sync_folder(segment.path.parent)
            marker_path(segment).unlink(missing_ok=True)
        except OSError as exc:
            remedy = "Check the folder's rights"
            raise StorageError(f"{segment.path} cannot be deleted", seen=exc.strerror, remedy=remedy) from exc


def _anchor(segment: Segment) -> Anchor:
    what = f"the sealed records {segment.path.name} cannot be read"
    with translated(what, segment.path), closing(read_segment(segment.path)) as connection:
        return anchor_of(connection)


def _newest_wall_ns(segment: Segment) -> int:
    """Wall clock of the newest rows; a file that cannot be read counts as new."""
    newest = time.time_ns()
    with suppress(sqlite3.Error, RecordError), closing(read_segment(segment.path)) as connection:
        queries = [f"SELECT wall_ns FROM {table} ORDER BY id DESC LIMIT 1" for table in TABLES]  # noqa: S608
        newest = max((wall_ns for query in queries for (wall_ns,) in connection.execute(query)), default=newest)
    return newest
