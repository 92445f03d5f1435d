import hashlib
import math

import pytest

from edge.gate.rows import (
    GENESIS,
    MAX_TEXT,
    TABLES,
    Disposition,
    DispositionRow,
    EventRow,
    Row,
    TriggerRow,
    VerdictRow,
    chained,
    clean,
    columns_of,
    later_columns,
    schema_of,
    table_of,
    values_of,
)

_KEY = "session TEXT NOT NULL, sequence INTEGER NOT NULL, "
_TEXTS = " TEXT NOT NULL, "
SCHEMAS = {
    "triggers": f"{_KEY}part TEXT NOT NULL, weld TEXT NOT NULL, typology TEXT, recipe TEXT NOT NULL, opened_by TEXT NOT NULL,"
    " opened_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL, link TEXT NOT NULL, hash BLOB NOT NULL, UNIQUE (session, sequence)",
    "verdicts": f"{_KEY}part TEXT NOT NULL, weld TEXT NOT NULL, typology TEXT, outcome TEXT NOT NULL, reason TEXT NOT NULL,"
    " detail TEXT NOT NULL, score REAL, threshold REAL, members TEXT NOT NULL, bundle TEXT NOT NULL, backend TEXT NOT NULL,"
    " camera TEXT NOT NULL, counter INTEGER, payload_hash TEXT NOT NULL, opened_ns INTEGER NOT NULL, captured_ns INTEGER,"
    " received_ns INTEGER, prepared_ns INTEGER, scored_ns INTEGER, decided_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL,"
    " link TEXT NOT NULL, boot TEXT NOT NULL, config TEXT NOT NULL, hash BLOB NOT NULL, map TEXT, UNIQUE (session, sequence)",
    "dispositions": f"{_KEY}sent TEXT NOT NULL, sent_reason TEXT NOT NULL, done TEXT NOT NULL, detail TEXT NOT NULL, sent_ns INTEGER,"
    " closed_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL, link TEXT NOT NULL, hash BLOB NOT NULL, UNIQUE (session, sequence)",
    "events": "kind TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, camera TEXT NOT NULL, count INTEGER NOT NULL,"
    " first_ns INTEGER NOT NULL, at_ns INTEGER NOT NULL, wall_ns INTEGER NOT NULL, link TEXT NOT NULL, hash BLOB NOT NULL",
}


@pytest.mark.parametrize("table", SCHEMAS)
def test_the_tables_are_those_of_schema_3_and_without_what_came_later_of_schema_2(table: str) -> None:
    assert schema_of(table) == f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {SCHEMAS[table]})"
    assert schema_of(table, later=False) == schema_of(table).replace(", map TEXT", "")


@pytest.mark.parametrize("table", SCHEMAS)
def test_the_columns_under_the_hash_are_all_but_the_number_and_the_hash(table: str) -> None:
    names = [column.split()[0] for column in SCHEMAS[table].split(", UNIQUE")[0].split(", ")]
    assert columns_of(table) == tuple(name for name in names if name != "hash")
    assert later_columns(table) == (("map",) if table == "verdicts" else ())


def test_there_are_four_kinds_of_rows() -> None:
    assert list(TABLES.items()) == [
        ("triggers", TriggerRow),
        ("verdicts", VerdictRow),
        ("dispositions", DispositionRow),
        ("events", EventRow),
    ]


def test_a_disposition_is_one_of_nine_words() -> None:
    words = "ACCEPTED REJECTED TIMEOUT MISMATCH SUPERSEDED SESSION_LOST UNCONFIRMED REFUSED GATE_RESTARTED"
    assert [disposition.value for disposition in Disposition] == words.split()


def test_a_row_is_hashed_over_the_hash_before_and_its_canonical_json() -> None:
    expected = hashlib.sha256(GENESIS + b'["events",7,"a",null,0.5,-3]').digest()
    assert chained(GENESIS, "events", 7, ("a", None, 0.5, -3)) == expected
    assert bytes(32) == GENESIS


def test_a_later_column_is_hashed_only_where_it_holds_something() -> None:
    assert chained(GENESIS, "verdicts", 7, ("a", 1, None)) == hashlib.sha256(GENESIS + b'["verdicts",7,"a",1]').digest()
    assert chained(GENESIS, "verdicts", 7, ("a", 1, "")) == hashlib.sha256(GENESIS + b'["verdicts",7,"a",1,""]').digest()
    assert chained(GENESIS, "verdicts", 7, ("a", None, "m")) == hashlib.sha256(GENESIS + b'["verdicts",7,"a",null,"m"]').digest()
    assert chained(GENESIS, "verdicts", 7, ("a", None, None)) == hashlib.sha256(GENESIS + b'["verdicts",7,"a",null]').digest()
    assert chained(GENESIS, "triggers", 7, ("a", None)) == hashlib.sha256(GENESIS + b'["triggers",7,"a",null]').digest()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("x" * (MAX_TEXT + 1), "x" * 2_000),
        ("ü" * (MAX_TEXT + 1), "ü" * 2_000),
        ("a\ud800b", "a\\ud800b"),
        (2**63 - 1, 2**63 - 1),
        (2**63, 2**63 - 1),
        (-(2**63), -(2**63)),
        (-(2**63) - 1, -(2**63)),
        (math.nan, None),
        (-math.inf, None),
        (0.25, 0.25),
        (b"bytes", None),
        (None, None),
    ],
)
def test_a_value_is_kept_as_sqlite_gives_it_back(value: object, kept: object) -> None:
    assert clean(value) == kept


def test_minus_zero_which_sqlite_does_not_keep_becomes_zero() -> None:
    value = clean(-0.0)
    assert isinstance(value, float)
    assert math.copysign(1, value) == 1


def test_whole_numbers_in_a_column_of_numbers_become_floats_and_no_others_do() -> None:
    row = VerdictRow(
        session="s", sequence=1, part="p", weld="w", typology=None, outcome="ACCEPT", reason="OK", detail="", score=1, threshold=2.0,
        counter=3, opened_ns=4, decided_ns=5,
    )  # fmt: skip
    assert [(type(value), value) for value in values_of(row)] == [
        (type(value), value)
        for value in ("s", 1, "p", "w", None, "ACCEPT", "OK", "", 1.0, 2.0, "[]", "", "", "", 3, "", 4, None, None, None, None, 5)
    ]


def test_a_verdict_without_a_frame_names_none() -> None:
    row = VerdictRow(
        session="s", sequence=1, part="p", weld="w", typology=None, outcome="REJECT", reason="x", detail="", opened_ns=4, decided_ns=5
    )
    assert (row.score, row.threshold, row.counter, row.captured_ns, row.scored_ns) == (None,) * 5
    assert table_of(row) == "verdicts"


@pytest.mark.parametrize("kind", TABLES.values())
def test_a_row_cannot_be_changed_and_is_given_by_name(kind: type[Row]) -> None:
    assert kind.__struct_config__.frozen
    assert kind.__match_args__ == ()
