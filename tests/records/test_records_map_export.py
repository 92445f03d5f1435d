"""Exports with a map in them, and those that the release before wrote without the column."""

import csv
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from test_records_export import TIME, a_trigger

from edge.commands import records as command
from edge.gate.rows import VerdictRow
from edge.gate.store import Store
from edge.map_text import RecordedMap, pack
from edge.records.columns import CHAIN, trigger_cells
from edge.records.export import export_sealed, export_triggers, verify_export
from edge.records.formats import READERS, put

MAP = pack(RecordedMap(1, 2, 0.25, b"\x00\xff"))
SCHEMA_2 = Path(__file__).parent / "schema_2"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "records.db"
    with closing(Store(path, boot="boot", config="c" * 64, link="handshake")) as store:
        for number in (1, 2):
            rows = [
                msgspec.structs.replace(row, map=MAP) if isinstance(row, VerdictRow) and number == 2 else row for row in a_trigger(number)
            ]
            store.commit([store.stamp(row, TIME) for row in rows])
        assert store.rotate() is not None
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_export_holds_the_map_and_proves_itself(records: Path, tmp_path: Path, suffix: str) -> None:
    ((_, receipt),) = export_sealed(records, tmp_path / "out", suffix)
    assert verify_export(tmp_path / "out" / receipt.file).rows == 8
    assert export_triggers(records, tmp_path / "triggers.csv") == 2
    with (tmp_path / "triggers.csv").open(newline="") as file:
        assert [row["verdict.map"] for row in csv.DictReader(file)] == ["", MAP]


def test_an_export_of_the_release_before_still_proves_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(SCHEMA_2, tmp_path / "old")
    (path,) = (tmp_path / "old").glob("*.csv")
    assert command(["verify-export", str(path)]) == 0
    assert "rows 1 to 6" in capsys.readouterr().out


def test_a_table_without_the_later_column_reads_as_empty_there(tmp_path: Path) -> None:
    written = [column for column in CHAIN if column.name != "map"]
    cells = tuple("x" if column.kind == "str" else 1 for column in written)
    put(tmp_path / "old.parquet", written, [cells])
    (row,) = READERS["parquet"](tmp_path / "old.parquet", CHAIN)
    assert row[[column.name for column in CHAIN].index("map")] is None
    assert tuple(cell for cell, column in zip(row, CHAIN, strict=True) if column.name != "map") == cells


def test_triggers_of_a_file_of_schema_2_have_no_map() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript((Path(__file__).parents[1] / "gate" / "schema_2" / "live.sql").read_text(encoding="ascii"))
        (cells,) = trigger_cells(connection)
    assert cells[:2] == ("0123456789abcdef", 3)
    assert MAP not in cells
