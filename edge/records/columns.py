"""The columns of an exported file: every row of the chain with the columns of all four tables, or one line for every trigger."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

from edge.errors import ChainError
from edge.gate.chain import lacking, rows_after
from edge.gate.rows import LATER, STAMPS, TABLES, Value, columns_of

Kind = Literal["int", "float", "str"]
Cells: TypeAlias = "tuple[Value, ...]"
REMEDY = "The file was altered or cut after it was written; export it again from the records"


class Column(NamedTuple):
    """One column of an exported file; `optional` says whether a cell may be empty."""

    name: str
    kind: Kind
    optional: bool


def _annotated(table: str, name: str) -> Column:
    if name in STAMPS[table]:
        return Column(name, "int" if name == "wall_ns" else "str", optional=False)
    text = str(TABLES[table].__annotations__[name])
    kind: Kind = "int" if text.startswith("int") else "float" if text.startswith("float") else "str"
    # SQLite keeps a number that is not finite as NULL, so every float may be missing.
    return Column(name, kind, optional="None" in text or kind == "float")


def _chain_columns() -> tuple[Column, ...]:
    found: dict[str, Column] = {}
    for table in TABLES:
        for name in columns_of(table):
            found.setdefault(name, Column(name, _annotated(table, name).kind, optional=True))
    return (
        Column("id", "int", optional=False),
        Column("table", "str", optional=False),
        *found.values(),
        Column("hash", "str", optional=False),
    )


CHAIN: tuple[Column, ...] = _chain_columns()
"""Rows of the chain in order: number, table, the columns of all tables (empty where a table has none), hash in hex."""
LATER_NAMES = frozenset(name for names in LATER.values() for name in names)
"""Columns that files exported by earlier releases do not have; they were empty then."""
_AT = {column.name: place for place, column in enumerate(CHAIN)}
_PLACES = {table: tuple(_AT[name] for name in columns_of(table)) for table in TABLES}


def chain_cells(connection: sqlite3.Connection, after: int) -> Iterator[Cells]:
    """Every row after this number, as cells of CHAIN."""
    blank: list[Value] = [None] * len(CHAIN)
    for number, table, values, digest in rows_after(connection, after):
        cells = blank.copy()
        cells[0], cells[1], cells[-1] = number, table, digest.hex()
        for place, value in zip(_PLACES[table], values, strict=True):
            cells[place] = value
        yield tuple(cells)


def chain_row(cells: Cells) -> tuple[int, str, tuple[Value, ...], bytes]:
    """Number, table, values and hash of a row that was exported. Raises ChainError when it cannot be one."""
    number, table, digest = cells[0], cells[1], cells[-1]
    if not isinstance(number, int) or table not in _PLACES or not isinstance(digest, str):
        raise ChainError("an exported row cannot be read", seen=f"id {number!r}, table {table!r}", remedy=REMEDY)
    values = tuple(cells[place] for place in _PLACES[str(table)])
    try:
        return number, str(table), values, bytes.fromhex(digest)
    except ValueError as exc:
        raise ChainError("an exported row cannot be read", seen=f"row {number}, hash {digest[:80]!r}", remedy=REMEDY) from exc


_JOINED = {"verdict": "verdicts", "disposition": "dispositions"}
_KEYS = ("session", "sequence", "part", "weld")
TRIGGERS: tuple[Column, ...] = (
    *(_annotated("triggers", name) for name in columns_of("triggers")),
    *(
        Column(f"{prefix}.{name}", _annotated(table, name).kind, optional=True)
        for prefix, table in _JOINED.items()
        for name in columns_of(table)
        if name not in _KEYS
    ),
)
"""One line for every trigger with its verdict and its disposition; empty where one is not there yet."""


def trigger_cells(connection: sqlite3.Connection, *, since_ns: int = 0, until_ns: int = 2**63 - 1) -> Iterator[Cells]:
    """The triggers of one file whose wall clock lies in [since, until), oldest first, as cells of TRIGGERS."""
    chosen = [f"t.{name}" for name in columns_of("triggers")]
    missing = {table: lacking(connection, table) for table in _JOINED.values()}
    chosen += [
        "NULL" if name in missing[table] else f"{prefix[0]}.{name}"
        for prefix, table in _JOINED.items()
        for name in columns_of(table)
        if name not in _KEYS
    ]
    query = (
        f"SELECT {', '.join(chosen)} FROM triggers t LEFT JOIN verdicts v USING (session, sequence)"  # noqa: S608
        " LEFT JOIN dispositions d USING (session, sequence) WHERE t.wall_ns >= ? AND t.wall_ns < ? ORDER BY t.id"
    )
    yield from connection.execute(query, (since_ns, until_ns))
