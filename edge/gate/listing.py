"""Which files make up a record: the rows in each, how large it is, when it was written, and whether it was exported."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from edge.gate.audit import open_for_reading
from edge.gate.chain import anchor_of, last_row
from edge.gate.exported import is_exported
from edge.gate.rows import TABLES
from edge.gate.segments import read_segment


class Listed(NamedTuple):
    """One file; `first` is above `last` while it has no rows, and the wall clock is None then."""

    path: Path
    first: int
    last: int
    bytes: int
    oldest_wall_ns: int | None
    newest_wall_ns: int | None
    exported: bool
    sealed: bool

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return self.last - self.first + 1


def list_files(path: Path) -> list[Listed]:
    """Every file of the record, oldest first, the live one last. Raises StorageError."""
    found = []
    with open_for_reading(path) as records:
        for segment in records.sealed:
            with closing(read_segment(segment.path)) as connection:
                found.append(_listed(connection, segment.path, exported=is_exported(segment), sealed=True))
        if records.live is not None:
            found.append(_listed(records.live, path, exported=False, sealed=False))
    return found


def _listed(connection: sqlite3.Connection, path: Path, *, exported: bool, sealed: bool) -> Listed:
    first, last = anchor_of(connection).number + 1, last_row(connection).number
    oldest, newest = _walls(connection, "ASC"), _walls(connection, "DESC")
    return Listed(
        path, first, last, path.stat().st_size, min(oldest, default=None), max(newest, default=None), exported=exported, sealed=sealed
    )


def _walls(connection: sqlite3.Connection, order: str) -> list[int]:
    """Wall clock at one end of each table."""
    found = [connection.execute(f"SELECT wall_ns FROM {table} ORDER BY id {order} LIMIT 1").fetchone() for table in TABLES]  # noqa: S608
    return [row[0] for row in found if row is not None]
