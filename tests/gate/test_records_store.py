import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from records_kit import descriptors, durable_steps, statements
from test_records import a_disposition, a_store, a_trigger, a_verdict, an_event

import edge.gate.store as store_module
from edge.errors import ChainError, DamagedError, StorageError
from edge.gate.chain import Anchor
from edge.gate.newest import NewestRow
from edge.gate.reader_lock import reading
from edge.gate.rows import GENESIS, chained
from edge.gate.segments import next_path, segments_of
from edge.gate.store import QUICK_CHECK_BYTES, RESERVE_BYTES, TAIL, Stamped, Store, lock

PRAGMAS = ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA wal_autocheckpoint = 0", "PRAGMA journal_size_limit = -1"]
CHECKPOINT = ["PRAGMA wal_checkpoint(PASSIVE)", "UPDATE meta SET value = value + 1 WHERE name = 'checkpoints'"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the live file is."""
    return tmp_path / "r.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """An empty one."""
    store = a_store(path)
    yield store
    store.abandon()


def committed(store: Store, count: int) -> list[Stamped]:
    """This many more events, each durable."""
    rows = [store.stamp(an_event(number), 7) for number in range(count)]
    store.commit(rows)
    return rows


def delete(store: Store, first: int) -> None:
    store._connected().execute("DELETE FROM events WHERE id >= ?", (first,))


def last_on_disk(store: Store) -> int:
    number: int = store._connected().execute("SELECT max(id) FROM events").fetchone()[0]
    return number


def test_the_limits_are_those_that_are_documented() -> None:
    assert (TAIL, QUICK_CHECK_BYTES, RESERVE_BYTES) == (256, 268_435_456, 2_097_152)


def test_a_stamp_gives_number_columns_and_hash(path: Path) -> None:
    store = Store(path, boot="b", config="c", link="push")
    first, second = store.stamp(a_trigger(3), 7), store.stamp(a_verdict(3), 8)
    values = ("0123456789abcdef", 3, "P1", "W1", None, "", "trigger", 5, 7, "push")
    assert first == (1, "triggers", values, chained(GENESIS, "triggers", 1, values))
    assert (second.number, second.table, second.values[-5:]) == (2, "verdicts", (8, "push", "b", "c", None))
    assert second.hash == chained(first.hash, "verdicts", 2, second.values) == store.head
    assert store.number == 2
    store.close()


def test_without_a_link_the_rows_name_none(store: Store) -> None:
    assert store.stamp(an_event(1), 7).values[-1] == ""


def test_all_rows_of_a_commit_are_written_or_none(store: Store) -> None:
    rows = committed(store, 1)
    with pytest.raises(StorageError):
        store.commit([store.stamp(an_event(2), 7), rows[0]])
    store._disconnect()
    store._open(whole=False)
    assert last_on_disk(store) == 1


def test_a_commit_is_one_immediate_transaction_and_its_last_row_is_noted_after_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = statements(monkeypatch, store_module)
    store = a_store(path)
    del given[:]
    monkeypatch.setattr(NewestRow, "note", lambda _self, row: given.append(f"note {row.number} {row.hash.hex()}"))
    rows = committed(store, 3)
    assert [line.split(" (")[0] for line in given] == [
        "BEGIN IMMEDIATE",
        *["INSERT INTO events"] * 3,
        "COMMIT",
        f"note 3 {rows[-1].hash.hex()}",
    ]
    store.commit([])
    assert given[-2:] == ["BEGIN IMMEDIATE", "COMMIT"]
    store.close()


def test_opening_makes_the_settings_checks_the_file_and_grows_the_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = statements(monkeypatch, store_module)
    store = a_store(path)
    assert [line for line in given if line.startswith("PRAGMA") and "user_version" not in line] == [
        *PRAGMAS,
        "PRAGMA quick_check(1)",
        CHECKPOINT[0],
    ]
    assert CHECKPOINT[1] in given
    assert path.with_name("r.db-wal").stat().st_size >= RESERVE_BYTES
    assert not store._connected().in_transaction
    store.close()


def test_only_a_failure_has_a_large_file_checked_as_a_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = a_store(path)
    committed(store, 3)
    store.close()
    given, check = statements(monkeypatch, store_module), "PRAGMA quick_check(1)"
    monkeypatch.setattr(store_module, "QUICK_CHECK_BYTES", path.stat().st_size)
    store = a_store(path)
    assert check not in given
    monkeypatch.setattr(store_module, "QUICK_CHECK_BYTES", 0)
    assert store.rotate() is not None
    assert check not in given
    store.recover([])
    assert given.count(check) == 1
    store.close()
    monkeypatch.setattr(store_module, "QUICK_CHECK_BYTES", path.stat().st_size + 1)
    a_store(path).close()
    assert given.count(check) == 2


def test_a_file_that_the_check_finds_damaged_is_damaged(path: Path) -> None:
    a_store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'meta') WHERE name = 'events'")
    connection.commit()
    connection.close()
    with pytest.raises(DamagedError):
        a_store(path)


def test_only_the_newest_rows_are_computed_at_a_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = a_store(path)
    committed(store, 4)
    store._connected().execute("UPDATE events SET detail = 'other' WHERE id = 2")
    store.close()
    monkeypatch.setattr(store_module, "TAIL", 2)
    a_store(path).close()
    monkeypatch.setattr(store_module, "TAIL", 3)
    with pytest.raises(ChainError, match="row 2 "):
        a_store(path)


def test_a_store_that_cannot_be_opened_lets_go_of_everything(path: Path) -> None:
    path.write_bytes(b"no database" * 999)
    before = descriptors()
    with pytest.raises(DamagedError) as first:
        a_store(path)
    assert descriptors() == before
    with pytest.raises(DamagedError):
        a_store(path)
    assert first.value.__traceback__ is not None


def test_an_empty_file_is_damage_before_any_connection_is_made(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(DamagedError, match="is empty"):
        a_store(path)
    lock(path).close()


def test_a_file_of_another_release_is_not_opened(path: Path) -> None:
    a_store(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(DamagedError, match="another release"):
        a_store(path)


def test_a_rotation_waits_while_somebody_reads(store: Store) -> None:
    committed(store, 1)
    with reading(store.path):
        assert store.rotate() is None
        assert segments_of(store.path) == []


def test_a_rotation_closes_the_old_file_and_puts_the_new_one_in_its_place_itself(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(store, 1)
    old = store._connected()
    monkeypatch.setattr(store_module, "settle", lambda _path: None)
    assert store.rotate() is not None
    assert store.anchor.number == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        old.execute("SELECT 1")


def test_a_closed_store_is_not_open_and_holds_nothing(path: Path) -> None:
    before = descriptors()
    store = a_store(path)
    committed(store, 1)
    store.close()
    assert descriptors() == before
    with pytest.raises(StorageError, match="not open"):
        store.commit([])
    store.abandon()
    a_store(path).close()


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_a_store_that_fails_to_close_lets_others_in_all_the_same(store: Store, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    def fail(_self: Store) -> None:
        raise StorageError("the disk failed", remedy="none")

    monkeypatch.setattr(Store, "_disconnect", fail)
    with suppress(StorageError):
        getattr(store, end)()
        assert end == "abandon"
    lock(store.path).close()


def test_the_recovery_writes_what_is_not_on_disk_and_nothing_twice(store: Store) -> None:
    committed(store, 2)
    kept = committed(store, 3)
    for first in (6, 5, 4, 3):
        delete(store, first)
        store.recover(kept)
        assert last_on_disk(store) == 5
    store.recover([])
    assert last_on_disk(store) == 5


def test_the_recovery_refuses_a_file_that_lacks_what_was_durable(store: Store) -> None:
    committed(store, 2)
    kept = committed(store, 3)
    delete(store, 2)
    with pytest.raises(ChainError) as found:
        store.recover(kept)
    assert (found.value.what, found.value.seen) == ("records that were durable are missing", "last row 1, not 2")
    with pytest.raises(ChainError) as found:
        store.recover([])
    assert found.value.seen == "last row 1, not 5"


def test_the_recovery_refuses_another_row_in_the_place_of_the_last_one(store: Store) -> None:
    kept = committed(store, 3)
    with pytest.raises(ChainError) as found:
        store.recover([*kept[:2], kept[2]._replace(hash=bytes(32))])
    assert (found.value.what, found.value.seen) == ("a record on disk is not the one that was written", "row 3")


def test_the_recovery_opens_the_file_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = statements(monkeypatch, store_module)
    store = a_store(path)
    first = store._connected()
    del given[:]
    store.recover([])
    assert given[:4] == PRAGMAS
    assert store._connected() is not first
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        first.execute("SELECT 1")
    store.close()


def test_a_checkpoint_waits_while_somebody_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = statements(monkeypatch, store_module)
    store = a_store(path)
    committed(store, 1)
    del given[:]
    with reading(path):
        store.checkpoint()
        assert given == []
    store.checkpoint()
    assert given == CHECKPOINT
    store.close()


def test_what_rows_take_is_counted_without_the_room_grown_beforehand(store: Store) -> None:
    empty = store.used_bytes()
    assert 0 < empty < 100_000
    committed(store, 200)
    connection = store._connected()
    pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size"))
    assert store.used_bytes() == (pages - free) * size
    assert 200_000 < store.used_bytes() - empty < 400_000
    assert free > 0


def test_a_trigger_is_open_until_its_disposition(store: Store) -> None:
    for row, count in ((a_trigger(1), 1), (a_trigger(2), 2), (a_verdict(1), 2), (a_disposition(1), 1), (a_disposition(9), 1)):
        store.stamp(row, 7)
        assert store.open_cases == count


def test_the_steps_of_sealing_are_durable_in_their_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = a_store(path)
    (row,) = committed(store, 1)
    steps, folder = durable_steps(monkeypatch), f"sync {path.parent.name}"
    sealed = store.rotate()
    assert sealed is not None
    assert (sealed.path.name, sealed.first, sealed.last) == ("r-000000000001-000000000001.db", 1, 1)
    assert [step.partition(" r.db.next ")[0] for step in steps[:1]] == ["sync"]
    assert steps[1:] == [folder, f"rename r.db {sealed.path.name}", folder, folder, "rename r.db.next r.db", folder]
    assert store.anchor == (1, row.hash)
    assert (store.number, store.head) == (1, row.hash)
    assert store.rotate() is None
    committed(store, 1)
    assert store.rotate() == segments_of(path)[1]
    assert segments_of(path)[1][1:] == (2, 2)
    store.close()


def test_a_file_that_others_use_is_not_sealed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    committed(store, 1)
    monkeypatch.setattr(Store, "_rest", lambda _self: False)
    assert store.rotate() is None
    assert not next_path(store.path).exists()
    assert segments_of(store.path) == []
    committed(store, 1)


def test_a_file_with_its_log_written_into_it_has_left_wal_mode(store: Store) -> None:
    assert store._rest()
    assert not store.path.with_name("r.db-wal").exists()
    assert store._connected().execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_an_older_file_in_the_live_ones_place_is_refused_with_both_numbers(path: Path) -> None:
    store = a_store(path)
    contents = []
    for _ in range(3):
        committed(store, 2)
        store.rotate()
        store.close()
        contents.append(path.read_bytes())
        store = a_store(path)
    store.close()
    path.with_name("r.db.newest").unlink()
    path.write_bytes(contents[1])
    with pytest.raises(ChainError) as found:
        a_store(path)
    assert found.value.seen == "it goes on after row 4, sealed is up to 6"
    path.write_bytes(contents[2])
    a_store(path).close()


@pytest.mark.parametrize(
    ("number", "same_hash", "whole"), [(3, True, False), (3, False, False), (2, True, True), (2, False, False), (1, False, True)]
)
def test_a_start_refuses_a_file_that_lacks_the_newest_row_noted(path: Path, number: int, same_hash: bool, whole: bool) -> None:
    store = a_store(path)
    rows = committed(store, 2)
    store.close()
    note = NewestRow(path)
    note.note(Anchor(number, rows[-1].hash if same_hash else bytes(32)))
    note.close()
    if whole:
        a_store(path).close()
        return
    with pytest.raises(DamagedError, match="newest records") as found:
        a_store(path)
    assert found.value.seen == f"row {number} was durable, the last one is 2"


def test_one_gate_writes_in_folders_it_makes_itself(tmp_path: Path) -> None:
    before = descriptors()
    path = tmp_path / "a" / "b" / "r.db"
    held = lock(path)
    assert path.with_name("r.db.lock").exists()
    with path.with_name("r.db.lock").open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    inside = descriptors()
    with pytest.raises(StorageError, match="another gate"):
        lock(path)
    assert descriptors() == inside
    held.close()
    lock(path).close()
    assert descriptors() == before
    with pytest.raises(StorageError, match="cannot be written"):
        lock(path.with_name("r.db.lock") / "r.db")


def test_what_is_left_open_is_asked_of_the_file(store: Store) -> None:
    store.commit([store.stamp(a_trigger(1), 7)])
    assert [type(row).__name__ for row in store.leftovers(9)] == ["VerdictRow", "DispositionRow"]
