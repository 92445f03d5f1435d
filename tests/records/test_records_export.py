import csv
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.commands import records as command
from edge.errors import ChainError, ConfigError, RecordError, StorageError
from edge.gate.exported import is_exported
from edge.gate.rows import DispositionRow, EventRow, TriggerRow, VerdictRow
from edge.gate.segments import segments_of
from edge.gate.store import Store
from edge.records import formats
from edge.records.cli import export_main
from edge.records.columns import CHAIN, Column
from edge.records.export import export_live, export_sealed, export_triggers, receipt_path, verify_export
from edge.records.formats import guarded, unguarded

FORMULAS = ["=1+1", "+x", "-x", "@SUM(A1)", "\t=1", "\r=1", "'quoted", 'a,"b"\nc', "", "ä€\x1b[31m"]
COLUMN = Column("detail", "str", optional=True)
TIME = 1_800_000_000 * 10**9


def a_trigger(number: int, detail: str = "", *, closed: bool = True) -> list[TriggerRow | VerdictRow | DispositionRow | EventRow]:
    key = {"session": "0123456789abcdef", "sequence": number}
    name = {**key, "part": f"P{number % 3}", "weld": "W1", "typology": None if number % 2 else "T2"}
    verdict = VerdictRow(
        **name, outcome="ACCEPT", reason="OK", detail=detail, score=number / 7, threshold=0.5, opened_ns=1, decided_ns=2, counter=number
    )
    done = DispositionRow(**key, sent="ACCEPT", sent_reason="OK", done="ACCEPTED", detail=detail, sent_ns=None, closed_ns=3)
    event = EventRow(kind="noise", reason="", detail=detail, camera="", count=number, first_ns=1, at_ns=2)
    trigger = TriggerRow(**name, opened_by="trigger", opened_ns=1)
    return [trigger, verdict, done, event] if closed else [trigger, event]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Two sealed files and a live one whose last trigger is open; details hold what breaks naive exports."""
    path = tmp_path / "records.db"
    with closing(Store(path, boot="boot", config="c" * 64, link="handshake")) as store:
        for number in range(1, 31):
            rows = a_trigger(number, FORMULAS[number % len(FORMULAS)], closed=number != 30)
            store.commit([store.stamp(row, TIME + number * 10**9) for row in rows])
            if number in (10, 20):
                store.rotate()
    return path


@pytest.fixture(params=["csv", "parquet"])
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_sealed_file_is_exported_once_proved_and_marked(records: Path, tmp_path: Path, suffix: str) -> None:
    done = list(export_sealed(records, tmp_path / "out", suffix))
    assert [(receipt.first, receipt.last) for _, receipt in done] == [(s.first, s.last) for s in segments_of(records)]
    assert done[0][1].head == done[1][1].anchor, "exported files go on where the one before ends"
    assert all(is_exported(segment) for segment in segments_of(records))
    for _, receipt in done:
        report = verify_export(tmp_path / "out" / receipt.file)
        assert (report.first, report.rows, report.head) == (receipt.first, receipt.last - receipt.first + 1, receipt.head)
    assert list(export_sealed(records, tmp_path / "out", suffix)) == []
    assert list((tmp_path / "out").glob("*.part")) == []


def test_the_live_file_is_exported_without_a_mark(records: Path, tmp_path: Path, suffix: str) -> None:
    receipt = export_live(records, tmp_path / "out", suffix)
    assert receipt is not None
    assert verify_export(tmp_path / "out" / receipt.file).rows == receipt.last - receipt.first + 1
    assert not any(is_exported(segment) for segment in segments_of(records))


def test_an_altered_cell_is_found_by_hash_and_by_chain(records: Path, tmp_path: Path) -> None:
    ((_, receipt), *_) = export_sealed(records, tmp_path, "csv")
    path = tmp_path / receipt.file
    original = path.read_bytes()
    path.write_bytes(original.replace(b"ACCEPTED", b"REJECTED", 1))
    with pytest.raises(ChainError, match="not the file that was exported"):
        verify_export(path)
    _trust(path)
    with pytest.raises(ChainError, match="a record was changed"):
        verify_export(path)
    lines = [line + b"\r\n" for line in original.split(b"\r\n")[:-1]]
    for cut, error in ((lines[:-1], "does not end where"), (lines[:1] + lines[2:], "a record is missing"), ([], "other columns")):
        path.write_bytes(b"".join(cut))
        _trust(path)
        with pytest.raises(RecordError, match=error):
            verify_export(path)


def _trust(path: Path) -> None:
    receipt = json.loads(receipt_path(path).read_bytes())
    receipt["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    receipt_path(path).write_text(json.dumps(receipt))


@pytest.mark.parametrize("garbage", [b"", b"PAR1 but not really", bytes(5000)])
def test_a_file_that_is_no_export_is_an_error_not_a_traceback(records: Path, tmp_path: Path, suffix: str, garbage: bytes) -> None:
    ((_, receipt), *_) = export_sealed(records, tmp_path, suffix)
    path = tmp_path / receipt.file
    path.write_bytes(garbage)
    _trust(path)
    with pytest.raises(RecordError):
        verify_export(path)
    receipt_path(path).write_bytes(garbage)
    with pytest.raises(RecordError, match="receipt"):
        verify_export(path)


def test_no_cell_of_a_csv_file_is_a_formula(records: Path, tmp_path: Path) -> None:
    list(export_sealed(records, tmp_path, "csv"))
    export_triggers(records, tmp_path / "t.csv")
    for path in tmp_path.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            cells = [cell for line in csv.reader(file) for cell in line]
        assert any("SUM" in cell for cell in cells)
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r"))]
        assert all(_is_number(cell) for cell in cells if cell.startswith("-"))


def _is_number(cell: str) -> bool:
    return float(cell) < 0


@given(st.none() | st.text() | st.sampled_from(FORMULAS))
def test_every_text_comes_back_from_csv(value: str | None) -> None:
    assert unguarded(guarded(value, COLUMN), COLUMN) == value


@given(st.none() | st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_comes_back_from_csv(value: float | None) -> None:
    column = Column("score", "float", optional=True)
    assert unguarded(guarded(value, column), column) == value


def test_one_line_a_trigger_with_verdict_and_disposition(records: Path, tmp_path: Path) -> None:
    assert export_triggers(records, tmp_path / "t.csv") == 30
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["sequence"]) for line in lines] == list(range(1, 31))
    assert lines[4]["verdict.score"] == repr(5 / 7)
    assert (lines[4]["disposition.done"], lines[4]["link"]) == ("ACCEPTED", "handshake")
    assert lines[29]["verdict.outcome"] == "", "the open one is there too"
    assert export_triggers(records, tmp_path / "some.csv", since_ns=TIME + 5 * 10**9, until_ns=TIME + 8 * 10**9) == 3


def test_parquet_holds_types_that_analysis_tools_know(records: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export_triggers(records, tmp_path / "t.parquet")
    table = parquet.read_table(tmp_path / "t.parquet")
    assert {name: str(table.schema.field(name).type) for name in ("sequence", "part", "verdict.score")} == {
        "sequence": "int64", "part": "string", "verdict.score": "double",
    }  # fmt: skip
    assert table.column("typology").to_pylist()[:2] == [None, "T2"]


def test_a_broken_chain_is_not_marked_as_exported(records: Path, tmp_path: Path) -> None:
    segment = segments_of(records)[0]
    segment.path.chmod(0o644)
    with closing(sqlite3.connect(segment.path)) as connection, connection:
        connection.execute("UPDATE verdicts SET outcome = 'REJECT' WHERE id = 2")
    with pytest.raises(ChainError):
        list(export_sealed(records, tmp_path / "out", "csv"))
    assert not is_exported(segment)


def test_a_full_disk_leaves_neither_a_half_file_nor_a_mark(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(formats.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        list(export_sealed(records, tmp_path / "out", "csv"))
    monkeypatch.undo()
    assert list((tmp_path / "out").iterdir()) == []
    assert not is_exported(segments_of(records)[0])


def test_without_pyarrow_parquet_says_what_to_install(records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(formats, "import_module", absent)
    with pytest.raises(ConfigError, match=r"cordon\[records\]"):
        export_triggers(records, tmp_path / "t.parquet")
    assert list(tmp_path.glob("t.parquet*")) == []


def test_another_suffix_is_refused(records: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.csv or \.parquet"):
        export_triggers(records, tmp_path / "t.xlsx")


def test_the_command_tells_what_it_wrote(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--records", str(records)]
    assert export_main([*common, "--to", str(tmp_path / "out"), "--live"]) == 0
    told = capsys.readouterr().out
    assert "2 sealed files exported" in told
    assert "the live file, which goes on" in told
    assert export_main([*common, "--to", str(tmp_path / "out")]) == 0
    assert "no sealed file waited" in capsys.readouterr().out
    assert (
        export_main([*common, "--triggers", str(tmp_path / "t.csv"), "--since", "2027-01-15T08:00:05Z"[:-1], "--until", "2030-01-01"]) == 0
    )
    assert "26 triggers" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="not a time"):
        export_main([*common, "--triggers", str(tmp_path / "t.csv"), "--since", "yesterday"])


def test_exported_files_are_checked_together(records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(tmp_path / receipt.file) for _, receipt in export_sealed(records, tmp_path, "csv")]
    live = export_live(records, tmp_path, "csv")
    assert live is not None
    files.append(str(tmp_path / live.file))
    assert command(["verify-export", *reversed(files)]) == 0
    assert capsys.readouterr().out.count("whole: rows") == 3
    with pytest.raises(ChainError, match="does not go on"):
        command(["verify-export", files[0], files[2]])
    (tmp_path / "x.txt").write_text("")
    receipt_path(tmp_path / "x.txt").write_bytes(receipt_path(Path(files[0])).read_bytes())
    with pytest.raises(RecordError, match="no exported file"):
        command(["verify-export", str(tmp_path / "x.txt")])


def test_the_gate_may_go_on_while_records_are_exported(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    store = Store(path, boot="boot", config="c" * 64)
    write: Callable[[int], None] = lambda n: store.commit([store.stamp(row, time.time_ns()) for row in a_trigger(n)])  # noqa: E731
    write(1)
    first = export_live(path, tmp_path / "out", "csv")
    write(2)
    second = export_live(path, tmp_path / "out", "csv")
    assert first is not None
    assert second is not None
    assert (first.last, second.last) == (4, 8)
    store.close()


def test_the_columns_are_those_of_all_tables_once() -> None:
    names = [column.name for column in CHAIN]
    assert len(set(names)) == len(names)
    assert {name for kind in (TriggerRow, VerdictRow, DispositionRow, EventRow) for name in msgspec.structs.asdict(
        a_trigger(1)[[TriggerRow, VerdictRow, DispositionRow, EventRow].index(kind)]
    )} <= set(names)  # fmt: skip
