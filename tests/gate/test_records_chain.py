import sqlite3
from collections.abc import Iterator

import pytest

from edge.errors import ChainError
from edge.gate.chain import START, Anchor, anchor_of, check_chain, last_row, rows_after
from edge.gate.database import create
from edge.gate.rows import EventRow, TriggerRow, chained, columns_of, values_of

HASH = bytes(range(32))


@pytest.fixture
def empty() -> Iterator[sqlite3.Connection]:
    """A record file that goes on after row 5."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    create(connection, Anchor(5, HASH))
    yield connection
    connection.close()


@pytest.fixture
def six(empty: sqlite3.Connection) -> sqlite3.Connection:
    """Rows 6 to 11: triggers and events in turn."""
    number, head = 5, HASH
    for step in range(3):
        for row in (
            TriggerRow(session="s", sequence=step, part="p", weld="w", typology=None, opened_by="trigger", opened_ns=5),
            EventRow(kind="k", reason="", detail="", camera="", count=step, first_ns=1, at_ns=2),
        ):
            table = "triggers" if isinstance(row, TriggerRow) else "events"
            number, values = number + 1, (*values_of(row), 7, "handshake")
            head = chained(head, table, number, values)
            names = ", ".join(("id", *columns_of(table), "hash"))
            marks = ", ".join("?" * (len(values) + 2))
            empty.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", (number, *values, head))  # noqa: S608
    return empty


def hash_of(connection: sqlite3.Connection, table: str, number: int) -> bytes:
    found: bytes = connection.execute(f"SELECT hash FROM {table} WHERE id = ?", (number,)).fetchone()[0]  # noqa: S608
    return found


def test_a_chain_that_is_whole_gives_its_last_number_and_hash(six: sqlite3.Connection) -> None:
    assert check_chain(six) == (11, hash_of(six, "events", 11))


@pytest.mark.parametrize("newest", [1, 2, 5, 6, 7, 300])
def test_checking_the_newest_rows_gives_the_same_end(six: sqlite3.Connection, newest: int) -> None:
    assert check_chain(six, newest=newest) == (11, hash_of(six, "events", 11))


def test_a_file_without_rows_ends_at_its_anchor(empty: sqlite3.Connection) -> None:
    assert check_chain(empty) == check_chain(empty, newest=3) == last_row(empty) == (5, HASH)


def test_only_the_newest_rows_are_computed_when_asked_so(six: sqlite3.Connection) -> None:
    six.execute("UPDATE triggers SET part = 'other' WHERE id = 8")
    assert check_chain(six, newest=3).number == 11
    with pytest.raises(ChainError) as found:
        check_chain(six, newest=4)
    assert (found.value.what, found.value.seen) == ("a record was changed", "row 8 in triggers")


def test_a_row_without_its_neighbours_hash_is_not_the_next(six: sqlite3.Connection) -> None:
    six.execute("UPDATE events SET hash = x'00' WHERE id = 7")
    with pytest.raises(ChainError) as found:
        check_chain(six, newest=4)
    assert found.value.seen == "row 8 in triggers"


@pytest.mark.parametrize("newest", [None, 2])
def test_a_removed_row_is_named_with_the_next_one(six: sqlite3.Connection, newest: int | None) -> None:
    six.execute("DELETE FROM triggers WHERE id = 10")
    with pytest.raises(ChainError) as found:
        check_chain(six, newest=newest)
    assert found.value.what == "a record was removed"
    assert found.value.seen == "row 10 is missing, next is events 11"


@pytest.mark.parametrize("change", ["DELETE FROM events WHERE id = 9", "UPDATE events SET hash = 'text' WHERE id = 9"])
def test_the_row_before_the_newest_ones_must_be_there_with_its_hash(six: sqlite3.Connection, change: str) -> None:
    six.execute(change)
    with pytest.raises(ChainError) as found:
        check_chain(six, newest=2)
    assert found.value.seen == "row 9 is missing"


def test_the_newest_row_is_the_last_of_any_table(six: sqlite3.Connection) -> None:
    assert last_row(six) == (11, hash_of(six, "events", 11))
    six.execute("DELETE FROM events WHERE id = 11")
    assert last_row(six) == (10, hash_of(six, "triggers", 10))


def test_rows_come_in_order_with_everything_under_the_hash(six: sqlite3.Connection) -> None:
    found = list(rows_after(six, 8))
    assert [(number, table) for number, table, _, _ in found] == [(9, "events"), (10, "triggers"), (11, "events")]
    assert found[0][2:] == (("k", "", "", "", 1, 1, 2, 7, "handshake"), hash_of(six, "events", 9))


def test_a_file_without_an_anchor_holds_the_chain_from_its_start(empty: sqlite3.Connection) -> None:
    assert anchor_of(empty) == (5, HASH)
    empty.execute("DELETE FROM meta WHERE name LIKE 'anchor%'")
    assert anchor_of(empty) == START == (0, bytes(32))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE meta SET value = -1 WHERE name = 'anchor_number'",
        "UPDATE meta SET value = 'five' WHERE name = 'anchor_number'",
        "UPDATE meta SET value = 'hash' WHERE name = 'anchor_hash'",
        "UPDATE meta SET value = zeroblob(31) WHERE name = 'anchor_hash'",
        "UPDATE meta SET value = zeroblob(33) WHERE name = 'anchor_hash'",
        "DELETE FROM meta WHERE name = 'anchor_number'",
        "DELETE FROM meta WHERE name = 'anchor_hash'",
    ],
)
def test_an_anchor_that_makes_no_sense_is_a_broken_chain(empty: sqlite3.Connection, change: str) -> None:
    empty.execute(change)
    with pytest.raises(ChainError, match="anchor"):
        anchor_of(empty)


def test_an_anchor_at_zero_is_the_start(empty: sqlite3.Connection) -> None:
    empty.execute("UPDATE meta SET value = 0 WHERE name = 'anchor_number'")
    assert anchor_of(empty).number == 0
