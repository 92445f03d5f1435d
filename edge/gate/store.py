"""The record file: SQLite in WAL mode, synced at every commit, one connection, every row chained to the one before."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from heapq import merge
from pathlib import Path
from typing import IO, Any, NamedTuple

from edge.contract import Outcome, Reason
from edge.errors import ChainError, StorageError
from edge.gate.rows import (
    GENESIS,
    STAMPS,
    TABLES,
    Disposition,
    DispositionRow,
    EventRow,
    Row,
    Value,
    VerdictRow,
    chained,
    clean,
    columns_of,
    schema_of,
    values_of,
)
from edge.gate.rows import table_of as name_of

SCHEMA_VERSION = 2
TAIL = 256
"""Rows whose hashes are computed again when the file is opened."""
LOOK_BACK = 10_000
"""Newest triggers searched for ones that a dead gate left open."""
QUICK_CHECK_BYTES = 256 * 1024 * 1024
"""Above this size the start relies on the tail alone; after a failed write the whole file is always checked."""
RESERVE_BYTES = 2 * 1024 * 1024
"""The WAL is grown to this once and then written over, so that a commit need not sync the file's size."""
BUSY_S = 5.0
QUARANTINE = "Stop the gate, run `cordon records quarantine`, which renames the file and starts a new one, and start the gate again"


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
        self._lock = _lock(path)
        self._connection: sqlite3.Connection | None = None
        self._insert = {table: _insert_statement(table) for table in TABLES}
        try:
            self._open(whole=path.exists() and path.stat().st_size < QUICK_CHECK_BYTES)
            self._grow()
            self.number, self.head = self._last()
        except BaseException:
            self.close()
            raise

    def stamp(self, row: Row, wall_ns: int) -> Stamped:
        """Give a row its number and hash; the caller commits it, or keeps it until it can."""
        table = name_of(row)
        stamps = {"wall_ns": wall_ns, **self._stamp_values}
        values = (*values_of(row), *(clean(stamps[name]) for name in STAMPS[table]))
        self.number += 1
        self.head = chained(self.head, table, self.number, values)
        return Stamped(self.number, table, values, self.head)

    def commit(self, rows: Sequence[Stamped]) -> None:
        """One durable transaction. Raises StorageError when it is not certain that all of it is on disk."""
        connection = self._connected()
        with self._translated("a record could not be written"):
            connection.execute("BEGIN IMMEDIATE")
            for row in rows:
                connection.execute(self._insert[row.table], (row.number, *row.values, row.hash))
            connection.execute("COMMIT")

    def recover(self, kept: Sequence[Stamped]) -> None:
        """After a failed commit: open again, check everything, and write what is not on disk. Raises StorageError or ChainError."""
        # Closing checkpoints, and so writes and syncs once more what a failed sync may have left in the page cache only.
        self._disconnect()
        self._open(whole=True)
        self._grow()
        number, head = self._last()
        on_disk = {row.number: row.hash for row in kept if row.number <= number}
        if number in on_disk and on_disk[number] != head:
            raise ChainError("a record on disk is not the one that was written", seen=f"row {number}", remedy=QUARANTINE)
        missing = [row for row in kept if row.number > number]
        if missing and missing[0].number != number + 1:
            raise ChainError("records are missing before the ones kept in memory", seen=f"last row {number}", remedy=QUARANTINE)
        if missing:
            self.commit(missing)

    def checkpoint(self) -> None:
        """Move the WAL into the file and start it again from its beginning (not while a trigger is open)."""
        connection = self._connected()
        with self._translated("the records could not be checkpointed"):
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            # The first commit after a checkpoint also syncs the WAL's new header; better now than with a verdict.
            connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'")

    def leftovers(self, now_ns: int) -> list[Row]:
        """Rows that close what an earlier gate left open: triggers without verdict, verdicts without disposition."""
        with self._translated("the records could not be read"):
            undecided = self._connected().execute(_NEWEST_WITHOUT.format(LOOK_BACK, "verdicts")).fetchall()
            unclosed = self._connected().execute(_NEWEST_WITHOUT.format(LOOK_BACK, "dispositions")).fetchall()
        return [*(_late_verdict(found, now_ns) for found in undecided), *(_late_disposition(found, now_ns) for found in unclosed)]

    def close(self) -> None:
        """Checkpoint and close."""
        self._disconnect()
        self._lock.close()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageError("the records are not open", seen=self.path, remedy="Wait for the store to be checked, or restart the gate")
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with self._translated("the records could not be closed"):
                connection.close()

    def _open(self, *, whole: bool) -> None:
        with self._translated("the records could not be opened"):
            connection = connect(self.path)
            self._connection = connection
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
            connection.execute("PRAGMA journal_size_limit = -1").fetchall()
            _create(connection)
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if whole else "ok"
            if found != "ok":
                raise StorageError(f"the records {self.path} are damaged", seen=found, remedy=QUARANTINE)
            check_chain(connection, newest=TAIL)

    def _last(self) -> tuple[int, bytes]:
        with self._translated("the records could not be read"):
            rows = [self._connected().execute(f"SELECT id, hash FROM {table} ORDER BY id DESC LIMIT 1").fetchone() for table in TABLES]  # noqa: S608
        return max((row for row in rows if row is not None), default=(0, GENESIS))

    def _grow(self) -> None:
        connection = self._connected()
        with self._translated("no room could be reserved for records"):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("CREATE TABLE reserve (filler BLOB)")
            connection.execute("INSERT INTO reserve VALUES (zeroblob(?))", (RESERVE_BYTES,))
            connection.execute("DROP TABLE reserve")
            connection.execute("COMMIT")
        self.checkpoint()

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        """The one place where SQLite's errors become this project's."""
        try:
            yield
        except sqlite3.Error as exc:
            corrupt = isinstance(exc, sqlite3.DatabaseError) and not isinstance(exc, sqlite3.OperationalError)
            remedy = QUARANTINE if corrupt else f"Check free space, rights and the disk under {self.path}"
            raise StorageError(what, seen=exc, remedy=remedy) from exc


_NEWEST_WITHOUT = (
    "SELECT t.session, t.sequence, t.part, t.weld, t.typology, t.opened_ns"
    " FROM (SELECT * FROM triggers ORDER BY id DESC LIMIT {}) t LEFT JOIN {} x USING (session, sequence) WHERE x.id IS NULL ORDER BY t.id"
)


def _late_verdict(found: Sequence[Any], now_ns: int) -> VerdictRow:
    session, sequence, part, weld, typology, opened_ns = found
    return VerdictRow(
        session=session,
        sequence=sequence,
        part=part,
        weld=weld,
        typology=typology,
        outcome=Outcome.NO_VERDICT.value,
        reason=Reason.GATE_RESTARTED.value,
        detail="found open when the gate started",
        opened_ns=opened_ns,
        decided_ns=now_ns,
    )


def _late_disposition(found: Sequence[Any], now_ns: int) -> DispositionRow:
    return DispositionRow(
        session=found[0],
        sequence=found[1],
        sent="",
        sent_reason="",
        done=Disposition.GATE_RESTARTED.value,
        detail="what was sent is not known: the gate ended first",
        sent_ns=None,
        closed_ns=now_ns,
    )


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode; `readonly` never creates, changes or checkpoints anything."""
    uri = f"{path.resolve().as_uri()}?mode={'ro' if readonly else 'rwc'}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False)


def check_chain(connection: sqlite3.Connection, *, newest: int | None = None) -> tuple[int, bytes]:
    """Compute every hash again (or those of the `newest` rows); returns last number and hash. Raises ChainError at the first break."""
    number, previous = 0, GENESIS
    if newest is not None:
        last = max(connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0] for table in TABLES)  # noqa: S608
        number = max(0, last - newest)
        previous = _hash_at(connection, number)
    for found, table, values, stored in _rows_after(connection, number):
        number += 1
        if found != number:
            raise ChainError("a record was removed", seen=f"row {number} is missing, next is {table} {found}", remedy=_CHAIN_REMEDY)
        previous = chained(previous, table, number, values)
        if previous != stored:
            raise ChainError("a record was changed", seen=f"row {number} in {table}", remedy=_CHAIN_REMEDY)
    return number, previous


_CHAIN_REMEDY = "Keep the file as evidence, compare with the last copy, and run `cordon records quarantine` to go on with a new one"


def _rows_after(connection: sqlite3.Connection, number: int) -> Iterator[tuple[int, str, tuple[Any, ...], bytes]]:
    return merge(*(_table_after(connection, table, number) for table in TABLES), key=lambda row: row[0])


def _table_after(connection: sqlite3.Connection, table: str, number: int) -> Iterator[tuple[int, str, tuple[Any, ...], bytes]]:
    query = f"SELECT id, {', '.join(columns_of(table))}, hash FROM {table} WHERE id > ? ORDER BY id"  # noqa: S608
    for row in connection.execute(query, (number,)):
        yield row[0], table, row[1:-1], row[-1]


def _hash_at(connection: sqlite3.Connection, number: int) -> bytes:
    if number == 0:
        return GENESIS
    found: Iterable[Any] = (connection.execute(f"SELECT hash FROM {table} WHERE id = ?", (number,)).fetchone() for table in TABLES)  # noqa: S608
    for row in found:
        if row is not None:
            return bytes(row[0])
    raise ChainError("a record was removed", seen=f"row {number} is missing", remedy=_CHAIN_REMEDY)


def _insert_statement(table: str) -> str:
    names = ("id", *columns_of(table), "hash")
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608


def _create(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == SCHEMA_VERSION:
        return
    if version != 0 or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StorageError("the record file is of another release", seen=f"schema {version}, not {SCHEMA_VERSION}", remedy=QUARANTINE)
    connection.execute("BEGIN IMMEDIATE")
    for table in TABLES:
        connection.execute(schema_of(table))
    connection.execute("CREATE INDEX triggers_part ON triggers (part)")
    connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER)")
    connection.execute("INSERT INTO meta VALUES ('checkpoints', 0)")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _lock(path: Path) -> IO[bytes]:
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


def quarantine(path: Path, *, boot: str, config: str) -> Path:
    """Rename a damaged file (with its WAL) and start a new one whose first row says so; returns the new name of the old file."""
    aside = path.with_name(f"{path.name}.quarantined-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")
    with _lock(path):
        if not path.exists():
            raise StorageError(f"there is no record file {path}", remedy="Give --config or --records of the gate that refused to start")
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
    store = Store(path, boot=boot, config=config)
    now_ns = time.monotonic_ns()
    text = f"the records before this are in {aside.name}"
    row = EventRow(kind="records", reason=Reason.RECORD_FAULT.value, detail=text, camera="", count=1, first_ns=now_ns, at_ns=now_ns)
    store.commit([store.stamp(row, time.time_ns())])
    store.close()
    return aside
