"""Reading the records without touching them: is the chain whole, and what happened to a part."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from edge.errors import StorageError
from edge.gate.chain import check_chain
from edge.gate.database import connect


class ChainReport(NamedTuple):
    """Number of rows, and the last hash: note it elsewhere, and rows cut off the end show as well."""

    rows: int
    head: str


def verify_chain(path: Path) -> ChainReport:
    """Compute every hash again. Raises ChainError naming the first broken row, StorageError when the file cannot be read."""
    with _reading(path) as connection:
        number, head = check_chain(connection)
    return ChainReport(number, head.hex())


def read_part(path: Path, part: str) -> list[dict[str, Any]]:
    """Every trigger of a part in order, each with its verdict and disposition (keys prefixed `verdict.` and `disposition.`)."""
    with _reading(path) as connection:
        connection.row_factory = sqlite3.Row
        triggers = connection.execute("SELECT * FROM triggers WHERE part = ? ORDER BY id", (part,)).fetchall()
        return [_whole(connection, trigger) for trigger in triggers]


def _whole(connection: sqlite3.Connection, trigger: sqlite3.Row) -> dict[str, Any]:
    found = {name: trigger[name] for name in trigger.keys() if name != "hash"}  # noqa: SIM118 - iterating a Row gives its values
    for name, table in (("verdict", "verdicts"), ("disposition", "dispositions")):
        query = f"SELECT * FROM {table} WHERE session = ? AND sequence = ?"  # noqa: S608
        row = connection.execute(query, (trigger["session"], trigger["sequence"])).fetchone()
        skipped = {"id", "hash", "session", "sequence", "part", "weld"}
        found |= {f"{name}.{key}": row[key] for key in row.keys() if key not in skipped} if row is not None else {}  # noqa: SIM118
    return found


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    connection = None
    try:
        if not path.is_file():
            raise StorageError(f"there is no record file {path}", remedy="Give --records FILE, or --config FILE with gate.records")
        connection = connect(path, readonly=True)
        yield connection
    except sqlite3.Error as exc:
        remedy = "Check the file's rights; if it is damaged, `cordon records quarantine` puts it aside"
        raise StorageError(f"the records {path} cannot be read", seen=exc, remedy=remedy) from exc
    finally:
        if connection is not None:
            connection.close()
