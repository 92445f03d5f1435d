"""Reading the records without touching them: is the chain whole, and what happened to a part, over all of their files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from edge.errors import ChainError, StorageError
from edge.gate.chain import REMEDY, Anchor, anchor_of, check_chain
from edge.gate.reader_lock import reading
from edge.gate.retention import deletion_text
from edge.gate.segments import Segment, read_segment, segments_of, stands_alone
from edge.gate.snapshot import snapshot


class ChainReport(NamedTuple):
    """Number of rows, and the last hash: note it elsewhere, and rows cut off the end show as well."""

    rows: int
    head: str
    first: int = 1
    """Number of the oldest row; above 1 when retention deleted older files."""
    files: int = 1


class Records(NamedTuple):
    """The files of one record at one moment."""

    sealed: list[Segment]
    live: sqlite3.Connection | None
    """A copy of the live file; None when there is none (the gate ended while it began a new one)."""


def verify_chain(path: Path) -> ChainReport:
    """Compute every hash of every file again.

    Raises ChainError naming the first broken row, missing rows, or deleted files without a row that says so;
    StorageError when a file cannot be read.
    """
    with open_for_reading(path) as records:
        spans: list[tuple[Anchor, Anchor]] = []
        for connection, name in _each(records, path):
            with _named(name):
                spans.append((anchor_of(connection), _verified(connection, spans[-1][1] if spans else None, name)))
        first, last = spans[0][0], spans[-1][1]
        if first.number and not stands_alone(path):
            _require_deletion(records, first)
    return ChainReport(last.number - first.number, last.hash.hex(), first.number + 1, len(spans))


def read_part(path: Path, part: str) -> list[dict[str, Any]]:
    """Every trigger of a part in order, each with its verdict and disposition (keys prefixed `verdict.` and `disposition.`)."""
    found: list[dict[str, Any]] = []
    with open_for_reading(path) as records:
        for connection, name in _each(records, path):
            connection.row_factory = sqlite3.Row
            with _named(name):
                triggers = connection.execute("SELECT * FROM triggers WHERE part = ? ORDER BY id", (part,)).fetchall()
                found += [_whole(connection, trigger) for trigger in triggers]
    return found


def of_demonstration(path: Path) -> bool:
    """Did a gate that judged by the demonstration's bundle ever write here? Raises StorageError."""
    with open_for_reading(path) as records:
        for connection, name in _each(records, path):
            with _named(name):
                if connection.execute("SELECT 1 FROM events WHERE kind = 'demonstration' LIMIT 1").fetchone():
                    return True
    return False


@contextmanager
def open_for_reading(path: Path) -> Iterator[Records]:
    """All files of a record as of now: the live one as a copy, and the sealed ones before it. Raises StorageError."""
    try:
        if _is_file(path):
            with snapshot(path) as live:
                # Sealed after the copy was made: the copy holds these rows itself.
                until = anchor_of(live).number
                yield Records([segment for segment in segments_of(path) if segment.last <= until], live)
            return
        sealed = segments_of(path) if path.parent.is_dir() else []
        if not sealed:
            raise StorageError(f"there is no record file {path}", remedy="Give --records FILE, or --config FILE with gate.records")
        yield Records(sealed, None)
    except sqlite3.Error as exc:
        remedy = "Check the file's rights; if it is damaged, `cordon records quarantine` puts it aside"
        raise StorageError(f"the records {path} cannot be read", seen=exc, remedy=remedy) from exc


def _is_file(path: Path) -> bool:
    try:
        # Under the lock the moment in which a rotation renames is over.
        with reading(path):
            return path.is_file()
    except OSError as exc:
        raise StorageError(f"the records {path} cannot be read", seen=exc.strerror, remedy="Check the rights of file and folder") from exc


def _each(records: Records, path: Path) -> Iterator[tuple[sqlite3.Connection, str]]:
    for segment in records.sealed:
        with closing(read_segment(segment.path)) as connection:
            yield connection, segment.path.name
    if records.live is not None:
        yield records.live, path.name


def _verified(connection: sqlite3.Connection, before: Anchor | None, name: str) -> Anchor:
    anchor = anchor_of(connection)
    if before is not None and anchor != before:
        if anchor.number != before.number:
            seen = f"rows {before.number + 1} to {anchor.number} before {name}"
            raise ChainError("records are missing", seen=seen, remedy=REMEDY)
        raise ChainError(f"{name} does not go on where the file before it ends", seen=f"row {anchor.number}", remedy=REMEDY)
    try:
        return check_chain(connection)
    except ChainError as exc:
        raise ChainError(exc.what, seen=f"{exc.seen} of {name}", remedy=exc.remedy) from exc


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Which of the files it was that SQLite could not read."""
    try:
        yield
    except sqlite3.Error as exc:
        raise StorageError(f"the records {name} cannot be read", seen=exc, remedy=REMEDY) from exc


def _require_deletion(records: Records, first: Anchor) -> None:
    """Rows before the oldest file may only be missing when a row of the chain says that they were deleted, and up to which hash."""
    text = deletion_text(first)
    for connection, _ in _each(records, Path()):
        if connection.execute("SELECT 1 FROM events WHERE kind = 'retention' AND instr(detail, ?)", (text,)).fetchone():
            return
    seen = f"rows 1 to {first.number}, and no row says that retention deleted them"
    raise ChainError("the oldest records are missing", seen=seen, remedy=REMEDY)


def _whole(connection: sqlite3.Connection, trigger: sqlite3.Row) -> dict[str, Any]:
    found = {name: trigger[name] for name in trigger.keys() if name != "hash"}  # noqa: SIM118 - iterating a Row gives its values
    for name, table in (("verdict", "verdicts"), ("disposition", "dispositions")):
        query = f"SELECT * FROM {table} WHERE session = ? AND sequence = ?"  # noqa: S608
        row = connection.execute(query, (trigger["session"], trigger["sequence"])).fetchone()
        skipped = {"id", "hash", "session", "sequence", "part", "weld"}
        found |= {f"{name}.{key}": row[key] for key in row.keys() if key not in skipped} if row is not None else {}  # noqa: SIM118
    return found
