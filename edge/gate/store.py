"""The record file: SQLite in WAL mode, synced at every commit, one connection, every row chained to the one before."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from edge.errors import ChainError, DamagedError, StorageError
from edge.gate.chain import Anchor, anchor_of, check_chain, last_row
from edge.gate.database import QUARANTINE, connect, create, translated
from edge.gate.leftovers import closing_rows
from edge.gate.newest import NewestRow
from edge.gate.reader_lock import ReaderLock
from edge.gate.rows import STAMPS, TABLES, DispositionRow, Row, TriggerRow, Value, chained, clean, columns_of, later_values, values_of
from edge.gate.rows import table_of as name_of
from edge.gate.segments import Segment, drop_next, make_next, next_path, rename_durably, segment_path, segments_of, settle

TAIL = 256
"""Rows whose hashes are computed again when the file is opened."""
QUICK_CHECK_BYTES = 256 * 1024 * 1024
"""Above this size the start relies on the tail alone; after a failed write the whole file is always checked."""
RESERVE_BYTES = 2 * 1024 * 1024
"""The WAL is grown to this once and then written over, so that a commit need not sync the file's size."""


class Stamped(NamedTuple):
    """A row with its place in the chain."""

    number: int
    table: str
    values: tuple[Value, ...]
    hash: bytes


class Store:
    """The only writer. Opening checks file and tail; raises StorageError (in use, unwritable, corrupt) or ChainError."""

    def __init__(self, path: Path, *, boot: str, config: str, link: str = "") -> None:
        self.path = path
        self._stamp_values = {"boot": boot, "config": config, "link": link}
        self._lock = lock(path)
        self._connection: sqlite3.Connection | None = None
        self._insert = {table: _insert_statement(table) for table in TABLES}
        self._cases: set[tuple[str, int]] = set()
        """Triggers whose disposition was not stamped yet: they and their rows belong into one file."""
        self._reading, self._newest = ReaderLock(path), NewestRow(path)
        try:
            self._begin(whole=False)
            self.number, self.head = self._last()
            self._check_newest()
        except BaseException:
            self.abandon()
            raise

    def stamp(self, row: Row, wall_ns: int, config: str = "") -> Stamped:
        """Give a row its number and hash; the caller commits it, or keeps it until it can. `config`: if not that of the start."""
        table = name_of(row)
        stamps = {"wall_ns": wall_ns, **self._stamp_values}
        if config:
            stamps["config"] = config
        values = (*values_of(row), *(clean(stamps[name]) for name in STAMPS[table]), *later_values(row))
        self._mind_case(row)
        self.number += 1
        self.head = chained(self.head, table, self.number, values)
        return Stamped(self.number, table, values, self.head)

    def commit(self, rows: Sequence[Stamped]) -> None:
        """One durable transaction. Raises StorageError when it is not certain that all of it is on disk."""
        connection = self._connected()
        with translated("a record could not be written", self.path):
            connection.execute("BEGIN IMMEDIATE")
            for row in rows:
                connection.execute(self._insert[row.table], (row.number, *row.values, row.hash))
            connection.execute("COMMIT")
        if rows:
            self._newest.note(Anchor(rows[-1].number, rows[-1].hash))

    def recover(self, kept: Sequence[Stamped]) -> None:
        """After a failure: open again, check everything, and write what is not on disk. Raises StorageError or ChainError."""
        # Closing checkpoints, and so writes and syncs once more what a failed sync may have left in the page cache only.
        self._disconnect()
        self._begin(whole=True)
        number, head = self._last()
        before = kept[0].number - 1 if kept else self.number
        on_disk = {row.number: row.hash for row in kept if row.number <= number}
        if number in on_disk and on_disk[number] != head:
            raise ChainError("a record on disk is not the one that was written", seen=f"row {number}", remedy=QUARANTINE)
        if number < before:
            raise ChainError("records that were durable are missing", seen=f"last row {number}, not {before}", remedy=QUARANTINE)
        missing = [row for row in kept if row.number > number]
        if missing:
            self.commit(missing)

    def checkpoint(self) -> None:
        """Move the WAL into the file and start it again from its beginning (not while a trigger is open)."""
        connection = self._connected()
        with self._reading.kept_out() as free, translated("the records could not be checkpointed", self.path):
            if not free:
                return
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            # The first commit after a checkpoint also syncs the WAL's new header; better now than with a verdict.
            connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'")

    @property
    def anchor(self) -> Anchor:
        """What the live file's first row is chained to."""
        return self._anchor

    @property
    def open_cases(self) -> int:
        """Triggers in the live file whose disposition is not stamped yet."""
        return len(self._cases)

    def used_bytes(self) -> int:
        """What rows take in the live file, without the room that was grown beforehand (and lies in it empty at first)."""
        with translated("the records could not be read", self.path):
            connection = self._connected()
            names = ("page_count", "freelist_count", "page_size")
            pages, free, size = (int(value) for name in names for (value,) in connection.execute(f"PRAGMA {name}"))
        return (pages - free) * size

    def rotate(self) -> Segment | None:
        """Seal the live file and begin a new one; None when that has to wait: a trigger is open, nothing is in it, or it is being read.

        A power cut between any two steps leaves either the old live file, or the sealed one and what becomes the new one
        (`settle` finishes it at the next start). Raises StorageError; `recover` then finishes it too.
        """
        first, last = self._anchor.number + 1, self.number
        if self._cases or last < first:
            return None
        sealed = Segment(segment_path(self.path, first, last), first, last)
        with self._reading.kept_out() as free:
            if not free:
                return None
            make_next(self.path, Anchor(last, self.head))
            if not self._rest():
                drop_next(self.path)
                return None
            self._disconnect()
            rename_durably(self.path, sealed.path)
            rename_durably(next_path(self.path), self.path)
        self._begin(whole=False)
        return sealed

    def _rest(self) -> bool:
        """Write the whole WAL into the file and leave WAL mode: a sealed file is read alone. False when somebody else has it open."""
        with translated("the records could not be checkpointed", self.path):
            found: list[tuple[str]] = self._connected().execute("PRAGMA journal_mode = DELETE").fetchall()
        return found == [("delete",)]

    def leftovers(self, now_ns: int) -> list[Row]:
        """Rows that close what an earlier gate left open: triggers without verdict, verdicts without disposition."""
        with translated("the records could not be read", self.path):
            return closing_rows(self._connected(), now_ns)

    def close(self) -> None:
        """Checkpoint and close."""
        try:
            self._disconnect()
        finally:
            self._release()

    def abandon(self) -> None:
        """Close a store that turned out to be damaged: whatever goes wrong in that is not the news."""
        with suppress(StorageError):
            self._disconnect()
        self._release()

    def _release(self) -> None:
        self._reading.close()
        self._newest.close()
        self._lock.close()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageError("the records are not open", seen=self.path, remedy="Wait for the store to be checked, or restart the gate")
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with translated("the records could not be closed", self.path):
                connection.close()

    def _begin(self, *, whole: bool) -> None:
        settle(self.path)
        self._open(whole=whole or self.path.stat().st_size < QUICK_CHECK_BYTES)
        self._grow()

    def _open(self, *, whole: bool) -> None:
        with translated("the records could not be opened", self.path):
            connection = connect(self.path)
            self._connection = connection
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
            connection.execute("PRAGMA journal_size_limit = -1").fetchall()
            create(connection)
            found = connection.execute("PRAGMA quick_check(1)").fetchall() if whole else [("ok",)]
            if found != [("ok",)]:
                raise DamagedError(f"the records {self.path} are damaged", seen=found, remedy=QUARANTINE)
            self._anchor = anchor_of(connection)
            check_chain(connection, newest=TAIL)
            self._check_anchor()

    def _check_anchor(self) -> None:
        """An old or empty file in the live one's place would fork the chain behind what is sealed."""
        sealed = segments_of(self.path)
        if sealed and sealed[-1].last > self._anchor.number:
            seen = f"it goes on after row {self._anchor.number}, sealed is up to {sealed[-1].last}"
            raise ChainError(f"the record file {self.path} is not the newest", seen=seen, remedy=QUARANTINE)

    def _check_newest(self) -> None:
        """A WAL with a damaged end opens without a word, and without its last rows."""
        noted = self._newest.read()
        if noted is not None and (noted.number > self.number or (noted.number == self.number and noted.hash != self.head)):
            seen = f"row {noted.number} was durable, the last one is {self.number}"
            raise DamagedError(f"the newest records of {self.path} are missing", seen=seen, remedy=QUARANTINE)

    def _mind_case(self, row: Row) -> None:
        if isinstance(row, TriggerRow):
            self._cases.add((row.session, row.sequence))
        elif isinstance(row, DispositionRow):
            self._cases.discard((row.session, row.sequence))

    def _last(self) -> Anchor:
        with translated("the records could not be read", self.path):
            return last_row(self._connected())

    def _grow(self) -> None:
        connection = self._connected()
        with translated("no room could be reserved for records", self.path):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE reserve (filler BLOB)")
            connection.execute("INSERT INTO reserve VALUES (zeroblob(?))", (RESERVE_BYTES,))
            connection.execute("DROP TABLE reserve")
            connection.execute("COMMIT")
        self.checkpoint()


def _insert_statement(table: str) -> str:
    names = ("id", *columns_of(table), "hash")
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


def lock(path: Path) -> IO[bytes]:
    """Hold the right to write this record file, as long as the file returned is open. Raises StorageError when another has it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.with_name(path.name + ".lock").open("wb")
    except OSError as exc:
        raise StorageError(f"the folder of {path} cannot be written", seen=exc.strerror, remedy="Check the path and its rights") from exc
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        file.close()
        raise StorageError(
            f"another gate writes to {path}", seen=exc.strerror, remedy="Stop it, or give this gate its own gate.records"
        ) from exc
    return file
