"""How Cordon opens a record file with SQLite: the connection, the tables, and SQLite's errors as this project's."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.errors import CordonError, DamagedError, StorageError
from edge.gate.chain import START, Anchor
from edge.gate.rows import TABLES, additions, schema_of

SCHEMA_VERSION = 3
EXTENDED_VERSION = 2
"""Files of this schema are given the columns that came later; their rows stay as they are and hash as ever."""
BUSY_S = 5.0
QUARANTINE = "Keep the file as evidence; a gate that starts puts it aside and begins a new one, and so does `cordon records quarantine`"
_FULL = ("disk is full", os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
_ENVIRONMENT = (
    "database is locked",
    "database table is locked",
    "locking protocol",
    "disk I/O error",
    "unable to open database file",
    "database or disk is full",
    "access permission denied",
    "interrupted",
)
"""SQLite's messages for what is wrong around the file: disk, rights, another process. Its codes need Python 3.11."""


def connect(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode; `immutable` is for files nobody writes any more: nothing is locked, created or changed."""
    uri = f"{path.resolve().as_uri()}?{'mode=ro&immutable=1' if immutable else 'mode=rwc'}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False)


def create(connection: sqlite3.Connection, anchor: Anchor = START) -> None:
    """Make the tables in an empty file, which goes on after `anchor`; check those of any other, and extend those of schema 2.

    Raises DamagedError for another release's file, StorageError for one that is not Cordon's.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall())
    if not found and version == 0:
        _make(connection, anchor)
    elif not {*TABLES, "meta"} & set(found):
        remedy = "Give gate.records a file of its own"
        raise StorageError("the record file is not a record file of Cordon", seen=f"tables {sorted(found)}", remedy=remedy)
    elif version == EXTENDED_VERSION and "meta" in found and all(found.get(table) == schema_of(table, later=False) for table in TABLES):
        _extend(connection)
    elif version != SCHEMA_VERSION or any(found.get(table) != schema_of(table) for table in TABLES) or "meta" not in found:
        seen = f"schema {version} or its tables, not {SCHEMA_VERSION}"
        raise DamagedError("the record file is of another release", seen=seen, remedy=QUARANTINE)


def _make(connection: sqlite3.Connection, anchor: Anchor) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for table in TABLES:
        connection.execute(schema_of(table))
    connection.execute("CREATE INDEX triggers_part ON triggers (part)")
    connection.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value)")
    meta = {"checkpoints": 0, "anchor_number": anchor.number, "anchor_hash": anchor.hash}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _extend(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in additions():
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


@contextmanager
def translated(what: str, path: Path) -> Iterator[None]:
    """The one place where SQLite's errors become this project's: DamagedError for the file itself, StorageError for what is around it."""
    try:
        yield
    except sqlite3.Error as exc:
        if is_damage(exc, path):
            raise DamagedError(what, seen=exc, remedy=QUARANTINE) from exc
        raise StorageError(what, seen=exc, remedy=f"Check free space, rights and the disk under {path}") from exc


def is_full(exc: CordonError) -> bool:
    """True when the disk had no room for what failed."""
    return any(text in str(exc.seen) for text in _FULL)


def is_damage(exc: sqlite3.Error, path: Path) -> bool:
    """True when the file's own content is at fault, not the disk, its rights or another process."""
    if isinstance(exc, sqlite3.IntegrityError):
        return False
    if "readonly" in str(exc):
        # A header with altered format numbers reads as write-protected; so does a file without rights.
        return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    return not str(exc).startswith(_ENVIRONMENT)
