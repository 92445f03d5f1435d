"""Writing and reading exported files: CSV that a spreadsheet cannot be tricked with, and Parquet where pyarrow is there."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from edge.errors import ConfigError, RecordError, StorageError
from edge.gate.rows import Value
from edge.records.columns import LATER_NAMES, REMEDY, Cells, Column

FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""A text that begins so gets an apostrophe before it: a spreadsheet would run it as a formula. Reading takes it away again."""
BATCH = 50_000
csv.field_size_limit(min(sys.maxsize, 1 << 24))


def guarded(value: Value, column: Column) -> str:
    """One CSV cell. Empty stands for none; in a column that may be empty, a lone apostrophe is the empty text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return "'" + value if value.startswith(FORMULA) or (not value and column.optional) else value
    return repr(value)


def unguarded(text: str, column: Column) -> Value:
    """The value of a CSV cell. Raises ValueError when it is no number and should be one."""
    if column.kind == "str":
        return None if not text and column.optional else text.removeprefix("'")
    if not text:
        return None
    return int(text) if column.kind == "int" else float(text)


def write_csv(path: Path, columns: Sequence[Column], rows: Iterable[Cells]) -> int:
    """Write and sync; returns the number of rows. Raises OSError."""
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(column.name for column in columns)
        for cells in rows:
            writer.writerow(guarded(value, column) for value, column in zip(cells, columns, strict=True))
            count += 1
        file.flush()
        os.fsync(file.fileno())
    return count


def read_csv(path: Path, columns: Sequence[Column]) -> Iterator[Cells]:
    """The rows of a file that `write_csv` wrote. Raises RecordError when it is not one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file, strict=True)
            written = _written(next(reader, []), columns)
            if written is None:
                raise RecordError(f"{path} has other columns", remedy="It was not written by this release's `cordon records export`")
            for line in reader:
                yield _spread([unguarded(text, column) for text, column in zip(line, written, strict=True)], written, columns)
    except (csv.Error, ValueError) as exc:
        raise RecordError(f"{path} cannot be read", seen=exc, remedy=REMEDY) from exc


def _written(names: Sequence[str], columns: Sequence[Column]) -> Sequence[Column] | None:
    """The columns of a file with these `names`: all, or, of an earlier release, all but the later ones; None for any other."""
    for written in (columns, [column for column in columns if column.name not in LATER_NAMES]):
        if list(names) == [column.name for column in written]:
            return written
    return None


def _spread(cells: Sequence[Value], written: Sequence[Column], columns: Sequence[Column]) -> Cells:
    """A row with nothing in the columns that were not written."""
    if len(written) == len(columns):
        return tuple(cells)
    found = {column.name: cell for column, cell in zip(written, cells, strict=True)}
    return tuple(found.get(column.name) for column in columns)


def _arrow(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as exc:
        remedy = "Install cordon[records], or export with --format csv"
        raise ConfigError("Parquet needs the package pyarrow", seen=exc, remedy=remedy) from exc


def _schema(columns: Sequence[Column]) -> Any:
    arrow = _arrow("pyarrow")
    kinds = {"int": arrow.int64(), "float": arrow.float64(), "str": arrow.string()}
    return arrow.schema([arrow.field(column.name, kinds[column.kind], nullable=column.optional) for column in columns])


def write_parquet(path: Path, columns: Sequence[Column], rows: Iterable[Cells]) -> int:
    """Write and sync; returns the number of rows. Raises OSError, ConfigError without pyarrow."""
    arrow, parquet, schema = _arrow("pyarrow"), _arrow("pyarrow.parquet"), _schema(columns)
    count, source = 0, iter(rows)
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(islice(source, BATCH)):
            cells = [arrow.array(cells, field.type) for cells, field in zip(zip(*batch, strict=True), schema, strict=True)]
            writer.write_table(arrow.table(cells, schema=schema))
            count += len(batch)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return count


def read_parquet(path: Path, columns: Sequence[Column]) -> Iterator[Cells]:
    """The rows of a file that `write_parquet` wrote. Raises RecordError when it is not one."""
    arrow, parquet = _arrow("pyarrow"), _arrow("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path) as file:
            written = _written(file.schema_arrow.names, columns)
            if written is None or not file.schema_arrow.equals(_schema(written)):
                raise RecordError(f"{path} has other columns", remedy="It was not written by this release's `cordon records export`")
            for batch in file.iter_batches(BATCH):
                for cells in zip(*(batch.column(place).to_pylist() for place in range(len(written))), strict=True):
                    yield _spread(cells, written, columns)
    except arrow.ArrowException as exc:
        raise RecordError(f"{path} cannot be read", seen=exc, remedy=REMEDY) from exc


WRITERS = {"csv": write_csv, "parquet": write_parquet}
READERS = {"csv": read_csv, "parquet": read_parquet}


def put(path: Path, columns: Sequence[Column], rows: Iterable[Cells]) -> int:
    """Write a whole file under its name or nothing, in the format of its suffix; returns the number of rows.

    Raises StorageError when the disk does not take it, ConfigError for another suffix or without pyarrow.
    """
    writer = WRITERS.get(path.suffix.removeprefix("."))
    if writer is None:
        raise ConfigError("this format does not exist", seen=path.suffix or path.name, remedy="Name the file .csv or .parquet")
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        count = writer(part, columns, rows)
        part.replace(path)
    except OSError as exc:
        part.unlink(missing_ok=True)
        raise StorageError(f"the export {path} could not be written", seen=exc.strerror, remedy="Check free space and rights") from exc
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return count
