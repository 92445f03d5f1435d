"""The hash chain of a record file: where it starts, every hash computed again, and the first break named."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from heapq import merge
from typing import Any, NamedTuple

from edge.errors import ChainError
from edge.gate.rows import GENESIS, TABLES, chained, columns_of, later_columns

REMEDY = "Keep the file as evidence, compare with the last copy, and run `cordon records quarantine` to go on with a new one"


class Anchor(NamedTuple):
    """Number and hash of the last row before a file: what its first row is chained to."""

    number: int
    hash: bytes


START = Anchor(0, GENESIS)
"""Before the very first row."""


def anchor_of(connection: sqlite3.Connection) -> Anchor:
    """The anchor in the file's `meta`; a file without one holds the chain from its start. Raises ChainError when it makes no sense."""
    found = dict(connection.execute("SELECT name, value FROM meta WHERE name IN ('anchor_number', 'anchor_hash')").fetchall())
    if not found:
        return START
    number, head = found.get("anchor_number"), found.get("anchor_hash")
    if not isinstance(number, int) or not isinstance(head, bytes) or number < 0 or len(head) != len(GENESIS):
        raise ChainError("the anchor of a record file was changed", seen=f"number {number!r}", remedy=REMEDY)
    return Anchor(number, head)


def check_chain(connection: sqlite3.Connection, *, newest: int | None = None) -> Anchor:
    """Compute every hash again (or those of the `newest` rows); returns last number and hash. Raises ChainError at the first break."""
    anchor = anchor_of(connection)
    number, previous = anchor
    if newest is not None:
        last = last_row(connection).number
        if last - newest > anchor.number:
            number, previous = last - newest, _hash_at(connection, last - newest)
    for found, table, values, stored in rows_after(connection, number):
        number += 1
        if found != number:
            raise ChainError("a record was removed", seen=f"row {number} is missing, next is {table} {found}", remedy=REMEDY)
        previous = chained(previous, table, number, values)
        if previous != stored:
            raise ChainError("a record was changed", seen=f"row {number} in {table}", remedy=REMEDY)
    return Anchor(number, previous)


def last_row(connection: sqlite3.Connection) -> Anchor:
    """Number and hash of the newest row, or of the last one before this file."""
    rows = [connection.execute(f"SELECT id, hash FROM {table} ORDER BY id DESC LIMIT 1").fetchone() for table in TABLES]  # noqa: S608
    return max((Anchor(*row) for row in rows if row is not None), default=anchor_of(connection))


def rows_after(connection: sqlite3.Connection, number: int) -> Iterator[tuple[int, str, tuple[Any, ...], bytes]]:
    """Every row after this number, in order: number, table, values in the order of its columns, hash as stored."""
    return merge(*(_table_after(connection, table, number) for table in TABLES), key=lambda row: row[0])


def _table_after(connection: sqlite3.Connection, table: str, number: int) -> Iterator[tuple[int, str, tuple[Any, ...], bytes]]:
    missing = lacking(connection, table)
    columns = ", ".join("NULL" if name in missing else name for name in columns_of(table))
    query = f"SELECT id, {columns}, hash FROM {table} WHERE id > ? ORDER BY id"  # noqa: S608
    for row in connection.execute(query, (number,)):
        yield row[0], table, row[1:-1], row[-1]


def lacking(connection: sqlite3.Connection, table: str) -> frozenset[str]:
    """Later columns that this file, sealed under schema 2, does not have: NULL in every row."""
    if not later_columns(table):
        return frozenset()
    return frozenset(later_columns(table)) - {name for (name,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}


def _hash_at(connection: sqlite3.Connection, number: int) -> bytes:
    for table in TABLES:
        for (found,) in connection.execute(f"SELECT hash FROM {table} WHERE id = ?", (number,)):  # noqa: S608
            if isinstance(found, bytes):
                return found
    raise ChainError("a record was removed", seen=f"row {number} is missing", remedy=REMEDY)
