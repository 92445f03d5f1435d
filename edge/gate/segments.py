"""The record file's sealed predecessors: their names, the anchor that ties one file to the one before, and how a new one begins."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from edge.errors import ChainError, DamagedError, RecordError, StorageError
from edge.gate.chain import START, Anchor, anchor_of, last_row
from edge.gate.database import QUARANTINE, connect, create, translated
from edge.gate.latch import sync_folder

_ROWS = r"-(\d{12,})-(\d{12,})"
SIDES = ("-wal", "-shm", "-journal")


class Segment(NamedTuple):
    """A sealed file: complete, never written again; it holds the rows `first` to `last`."""

    path: Path
    first: int
    last: int


def segment_path(live: Path, first: int, last: int) -> Path:
    """`records.db` becomes `records-000000000001-000000150000.db`, so that names sort as the rows do."""
    return live.with_name(f"{live.stem}-{first:012d}-{last:012d}{live.suffix}")


def segments_of(live: Path) -> list[Segment]:
    """All sealed files of this record, oldest first; files put aside are not among them."""
    name = re.compile(rf"{re.escape(live.stem)}{_ROWS}{re.escape(live.suffix)}\Z")
    try:
        files = [(path, name.match(path.name)) for path in live.parent.iterdir()]
    except OSError as exc:
        raise StorageError(f"the folder {live.parent} cannot be read", seen=exc.strerror, remedy="Check the path and its rights") from exc
    return sorted((Segment(path, int(hit[1]), int(hit[2])) for path, hit in files if hit is not None), key=lambda s: (s.first, s.last))


def stands_alone(path: Path) -> bool:
    """True for one file of a record, sealed or put aside, by its name: what came before it lies elsewhere."""
    return re.search(rf"{_ROWS}\Z", path.stem) is not None or ".quarantined-" in path.name


def read_segment(path: Path) -> sqlite3.Connection:
    """A connection to a sealed file, which SQLite then neither locks nor writes beside: it may lie on a read-only medium."""
    return connect(path, immutable=True)


def head_of(segment: Segment) -> bytes:
    """Hash of the last row. Raises DamagedError when the file does not hold what its name says, StorageError when it cannot be read."""
    what = f"the sealed records {segment.path.name} cannot be read"
    with translated(what, segment.path), closing(read_segment(segment.path)) as connection:
        number, head = last_row(connection)
    if number != segment.last:
        raise DamagedError(f"the sealed records {segment.path.name} are not whole", seen=f"last row {number}", remedy=QUARANTINE)
    return head


def next_path(live: Path) -> Path:
    """Where a new live file is made, until one rename gives it its place."""
    return live.with_name(live.name + ".next")


def make_next(live: Path, anchor: Anchor) -> None:
    """Make an empty record file that goes on after `anchor`, and make it durable under its interim name. Raises StorageError."""
    path = next_path(live)
    drop_next(live)
    with translated("a new record file could not be made", path), closing(connect(path)) as connection:
        # Nothing of it counts before the sync and the rename below, so SQLite need not sync on its way.
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        create(connection, anchor)
    try:
        descriptor = os.open(path, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise StorageError("a new record file could not be made", seen=exc.strerror, remedy=f"Check the disk under {path}") from exc


def drop_next(live: Path) -> None:
    """Remove an interim file that came to nothing. Raises StorageError, as on a read-only disk even when there is none."""
    path = next_path(live)
    try:
        for suffix in ("", *SIDES):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except OSError as exc:
        raise StorageError(f"{path} cannot be removed", seen=exc.strerror, remedy="Check the folder's rights and the disk") from exc


def rename_durably(old: Path, new: Path) -> None:
    """Rename and make it durable. Raises StorageError."""
    try:
        # First the names as they are: a journal whose removal came after the rename would be taken for the next file's own.
        sync_folder(new.parent)
        old.rename(new)
        sync_folder(new.parent)
    except OSError as exc:
        raise StorageError(f"{old} cannot be renamed", seen=exc.strerror, remedy="Check the folder's rights and the disk") from exc


def settle(live: Path) -> None:
    """Finish or undo what a rotation or a first start left half done; afterwards there is a live file.

    Raises DamagedError when the live file is gone or empty although it held rows.
    """
    if live.exists():
        if live.stat().st_size == 0:
            raise DamagedError(f"the record file {live} is empty", seen="0 bytes", remedy=QUARANTINE)
        drop_next(live)
        return
    sealed = segments_of(live)
    if sealed and _begins_after(next_path(live), sealed[-1].last):
        rename_durably(next_path(live), live)
        return
    if sealed or live.with_name(live.name + "-wal").exists():
        raise DamagedError(f"the record file {live} is gone", seen="others of its files are there", remedy=QUARANTINE)
    begin(live)


def begin(live: Path) -> None:
    """A new live file after the newest sealed one (or after nothing); it takes its place whole or not at all."""
    make_next(live, newest_anchor(live))
    rename_durably(next_path(live), live)


def newest_anchor(live: Path) -> Anchor:
    """Where a new live file has to go on. A sealed file that cannot be read keeps its numbers; the break then shows in `verify`."""
    anchor = START
    for segment in segments_of(live)[-1:]:
        anchor = Anchor(segment.last, anchor.hash)
        with suppress(RecordError):
            anchor = Anchor(segment.last, head_of(segment))
    return anchor


def _begins_after(path: Path, number: int) -> bool:
    """True when the interim file is whole and goes on where the newest sealed one ends."""
    whole = False
    with suppress(sqlite3.Error, ChainError), closing(read_segment(path)) as connection:
        whole = anchor_of(connection).number == number == last_row(connection).number
    return whole
