"""Reading the live record file through a copy: the gate's connection to it stays the only one there ever is."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from edge.errors import StorageError
from edge.gate.database import connect
from edge.gate.reader_lock import reading

ATTEMPTS = 50
PAUSE_S = 0.02
WAL_HEADER = 32
"""Bytes; they hold two random numbers that are new whenever SQLite starts the WAL again from its beginning."""


@contextmanager
def snapshot(live: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a consistent copy of the live file, in a temporary folder (TMPDIR) as large as the file.

    SQLite before 3.51.3 can corrupt a database when two connections reset its WAL at the same time, so nobody but the gate opens the
    file itself. Raises StorageError when it cannot be copied, sqlite3.Error when the copy is no database.
    """
    with tempfile.TemporaryDirectory(prefix="cordon-records-") as folder:
        copy = Path(folder) / "records.db"
        _copy(live, copy)
        with closing(connect(copy)) as connection:
            yield connection


def _copy(live: Path, copy: Path) -> None:
    try:
        for _ in range(ATTEMPTS):
            with reading(live):
                if _copied(live, copy):
                    return
            time.sleep(PAUSE_S)
    except OSError as exc:
        remedy = f"Check the rights of the records, and the free space in {copy.parent.parent} (another folder: TMPDIR)"
        raise StorageError(f"the records {live} cannot be copied for reading", seen=exc.strerror, remedy=remedy) from exc
    raise StorageError(f"the records {live} changed all the time while they were copied", seen=f"{ATTEMPTS} attempts", remedy="Try again")


def _copied(live: Path, copy: Path) -> bool:
    """Copy file, then WAL; False when the WAL was started again, or the file exchanged, meanwhile.

    In this order the WAL's copy holds every page that a checkpoint may have been writing while the file was copied.
    """
    wal, wal_copy = (path.with_name(path.name + "-wal") for path in (live, copy))
    before = _state(live, wal)
    if not before:
        return False
    shutil.copyfile(live, copy)
    try:
        shutil.copyfile(wal, wal_copy)
    except FileNotFoundError:
        wal_copy.unlink(missing_ok=True)
    return _state(live, wal) == before


def _state(live: Path, wal: Path) -> tuple[object, ...]:
    """What changes when a copy made across the change would be wrong; empty while there is no live file (a new one is put in its place)."""
    try:
        status = live.stat()
    except FileNotFoundError:
        return ()
    try:
        with wal.open("rb") as file:
            header = file.read(WAL_HEADER)
    except FileNotFoundError:
        header = b""
    # Without a WAL the file itself must not have changed; with one, only a checkpoint changes it.
    return (status.st_ino, header) if header else (status.st_ino, status.st_size, status.st_mtime_ns)
