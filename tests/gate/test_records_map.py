"""The map in the record: bound into the chain, checked apart from the verdict, and absent from files of the release before."""

import base64
import math
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from gate_kit import Driven, a_report
from hypothesis import given
from hypothesis import strategies as st
from test_records import a_disposition, a_store, a_trigger, a_verdict

from edge.contract import Outcome, TriggerId, decode_to_gate, encode
from edge.errors import ChainError
from edge.gate.audit import read_part, verify_chain
from edge.gate.maps import with_map
from edge.gate.segments import segment_path
from edge.map_text import MAX_COLUMNS, MAX_ROWS, RecordedMap, pack, unpack

SCHEMA_2 = Path(__file__).parent / "schema_2"
MAP = pack(RecordedMap(2, 3, 1.5, bytes([0, 1, 2, 3, 4, 255])))
BROKEN = [
    math.nan,
    7,
    b"2x3 1.5 AAEC",
    ["2x3"],
    {"cells": MAP},
    "",
    "2x3 1.5",
    "2x3 nan AAECAwT/",
    "2x3 -1 AAECAwT/",
    "2x3 1e999 AAECAwT/",
    "2x3 1.5 AAECAw==",
    "3x2 1.5 AAECAwT/AA==",
    "2x3 1.5 AAECA*T/",
    "2x3 1.5 AAECAwT/\n",
    f"17x3 1.5 {base64.b64encode(bytes(51)).decode()}",
    f"2x45 1.5 {base64.b64encode(bytes(90)).decode()}",
    f"16x44 1.5 {base64.b64encode(bytes(50_000 // 2)).decode()}",
]


@given(st.integers(1, MAX_ROWS), st.integers(1, MAX_COLUMNS), st.floats(0, 1e30), st.randoms())
def test_a_map_comes_back_as_it_was_packed(rows: int, columns: int, peak: float, random: object) -> None:
    found = RecordedMap(rows, columns, peak, bytes(random.randrange(256) for _ in range(rows * columns)))  # type: ignore[attr-defined]
    text = pack(found)
    assert unpack(text)._replace(peak=peak) == found
    assert unpack(text).peak == pytest.approx(peak, rel=1e-5)
    assert len(text) < 1_000


@pytest.mark.parametrize("value", BROKEN, ids=lambda value: repr(value)[:24])
def test_anything_else_is_no_map(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpack(value)


@pytest.mark.parametrize("outcome", [Outcome.ACCEPT, Outcome.REJECT], ids=str)
@pytest.mark.parametrize("value", [None, MAP, *BROKEN], ids=lambda value: repr(value)[:24])
def test_no_map_changes_a_verdict_or_holds_it_up(value: object, outcome: Outcome) -> None:
    told = []
    for carried in (None, value):
        cell = Driven().ready()
        key = cell.trigger(1)
        packet = encode(a_report(key, received_ns=cell.now, score=0.1 if outcome is Outcome.ACCEPT else 0.9, map=carried))
        cell.tell(decode_to_gate(packet))
        (row,) = cell.verdict_rows
        told.append((row.outcome, row.reason, row.score, [message.outcome for message in cell.verdicts], cell.now))
        events = [event for event in cell.events if event.kind == "map"]
        assert (row.map, len(events)) == ((carried, 0) if carried in (None, MAP) else (None, 1))
    assert told[0] == told[1]
    assert told[0][0] == outcome.value


def test_why_there_is_no_map_is_noted() -> None:
    cell = Driven().ready()
    cell.tell(a_report(cell.trigger(1), map_note="T2-0 gives no map"))
    assert [(event.kind, event.detail) for event in cell.events if event.kind == "map"] == [("map", "T2-0 gives no map")]


def test_a_verdict_without_a_report_has_no_map() -> None:
    row = a_verdict(1)
    assert with_map(row, None) == (row, "")
    assert with_map(row, a_report(TriggerId("s", 1), map=MAP))[0].map == MAP


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "r.db"
    with closing(a_store(path)) as store:
        for number, value in ((1, None), (2, MAP), (3, None)):
            row = msgspec.structs.replace(a_verdict(number), map=value)
            store.commit([store.stamp(one, 7) for one in (a_trigger(number), row, a_disposition(number))])
    return path


@pytest.mark.parametrize(("number", "value"), [(2, None), (2, MAP.replace("1.5", "1.6")), (2, ""), (1, MAP), (3, "")])
def test_the_chain_holds_the_map(path: Path, number: int, value: str | None) -> None:
    assert verify_chain(path).rows == 9
    assert [row["verdict.map"] for row in read_part(path, "P1")] == [None, MAP, None]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE verdicts SET map = ? WHERE sequence = ?", (value, number))
    with pytest.raises(ChainError, match="was changed"):
        verify_chain(path)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A sealed and a live file as the release before wrote them: schema 2, no maps."""
    live = tmp_path / "r.db"
    for file, dump in ((segment_path(live, 1, 6), "sealed"), (live, "live")):
        with closing(sqlite3.connect(file)) as connection:
            connection.executescript((SCHEMA_2 / f"{dump}.sql").read_text(encoding="ascii"))
    return live


def test_files_of_the_release_before_are_read_and_proved_as_they_are(old: Path) -> None:
    sealed = segment_path(old, 1, 6)
    before = sealed.read_bytes()
    report = verify_chain(old)
    assert (report.rows, report.files, report.head[:16]) == (8, 2, "dfe47110e38d5c3c")
    assert [row["sequence"] for row in read_part(old, "P1")] == [1, 2, 3]
    assert sealed.read_bytes() == before


def test_a_live_file_of_the_release_before_goes_on_with_maps(old: Path) -> None:
    with closing(a_store(old)) as store:
        row = msgspec.structs.replace(a_verdict(4), map=MAP)
        store.commit([store.stamp(one, 7) for one in (a_disposition(3), a_trigger(4), row, a_disposition(4))])
        assert verify_chain(old).rows == 12
    assert [row.get("verdict.map") for row in read_part(old, "P1")] == [None, None, None, MAP]
    with closing(a_store(old)) as store:
        assert store.number == 12
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE verdicts SET score = 0.5 WHERE sequence = 3")
    with pytest.raises(ChainError, match="was changed"):
        verify_chain(old)
