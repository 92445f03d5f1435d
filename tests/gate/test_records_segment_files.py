import os
import sqlite3
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from records_kit import descriptors, durable_steps, statements

import edge.gate.segments as segments_module
from edge.errors import DamagedError, StorageError
from edge.gate.chain import START, Anchor, anchor_of
from edge.gate.database import BUSY_S, SCHEMA_VERSION, connect, create, is_damage, is_full, translated
from edge.gate.leftovers import LOOK_BACK, closing_rows
from edge.gate.newest import NewestRow
from edge.gate.rows import TABLES
from edge.gate.segments import (
    Segment,
    begin,
    drop_next,
    head_of,
    make_next,
    newest_anchor,
    next_path,
    read_segment,
    rename_durably,
    segment_path,
    segments_of,
    settle,
    stands_alone,
)

HASH = bytes(range(32))


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Where a live file would be."""
    return tmp_path / "r.x.db"


def make(path: Path, anchor: Anchor) -> None:
    """An empty record file after this anchor, without a WAL."""
    with closing(connect(path)) as connection:
        create(connection, anchor)


def seal(live: Path, first: int, last: int) -> Path:
    """A sealed file that ends where its name says (in its anchor: it has no rows)."""
    path = segment_path(live, first, last)
    make(path, Anchor(last, HASH))
    return path


def test_sealed_files_are_found_by_their_names_oldest_first(live: Path) -> None:
    names = ["r.x-000000000010-000000000020.db", "r.x-000000000001-000000000009.db", "r.x-1000000000000-1000000000001.db"]
    others = ["rax-000000000001-000000000009.db", "r.x-00000000001-00000000009.db", "r.x-000000000001-000000000009.db.exported", "r.x.db"]
    for name in [*names, *others, "r.x-000000000001-000000000009adb", "q.r.x-000000000001-000000000009.db"]:
        live.with_name(name).write_bytes(b"")
    assert [(s.first, s.last) for s in segments_of(live)] == [(1, 9), (10, 20), (10**12, 10**12 + 1)]
    assert segment_path(live, 1, 9).name == names[1]


def test_of_two_files_from_the_same_row_the_shorter_comes_first(live: Path) -> None:
    for last in (12, 9):
        segment_path(live, 1, last).write_bytes(b"")
    assert [s.last for s in segments_of(live)] == [9, 12]


def test_a_folder_that_cannot_be_read_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be read"):
        segments_of(tmp_path / "none" / "r.db")


@pytest.mark.parametrize(
    ("name", "alone"),
    [
        ("r-000000000001-000000000009.db", True),
        ("r.db.quarantined-20260101T000000-00000000", True),
        ("r.db", False),
        ("r-000000000001-000000000009b.db", False),
    ],
)
def test_one_file_of_a_record_is_known_by_its_name(name: str, alone: bool) -> None:
    assert stands_alone(Path(name)) is alone


def test_a_sealed_file_is_read_without_a_lock_or_a_change(live: Path) -> None:
    path = seal(live, 1, 9)
    with closing(read_segment(path)) as connection:
        assert anchor_of(connection) == (9, HASH)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM meta")


def test_the_head_of_a_sealed_file_is_the_hash_of_the_row_in_its_name(live: Path) -> None:
    assert head_of(Segment(seal(live, 1, 9), 1, 9)) == HASH
    for last in (8, 10):
        with pytest.raises(DamagedError, match="not whole"):
            head_of(Segment(segment_path(live, 1, 9), 1, last))
    with pytest.raises(StorageError, match="cannot be read"):
        head_of(Segment(live.with_name("none"), 1, 9))


def test_a_new_file_is_whole_and_synced_under_its_interim_name(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    next_path(live).write_bytes(b"left over")
    given, steps, before = statements(monkeypatch, segments_module), durable_steps(monkeypatch), descriptors()
    make_next(live, Anchor(7, HASH))
    size = next_path(live).stat().st_size
    assert steps == ["remove r.x.db.next", f"sync r.x.db.next {size}"]
    assert given[:2] == ["PRAGMA synchronous = OFF", "PRAGMA journal_mode = WAL"]
    assert descriptors() == before
    assert [path.name for path in live.parent.iterdir()] == ["r.x.db.next"]
    with closing(read_segment(next_path(live))) as connection:
        assert anchor_of(connection) == (7, HASH)
        # Version numbers of the header: WAL.
        assert next_path(live).read_bytes()[18:20] == b"\x02\x02"


def test_a_new_file_that_cannot_be_synced_is_a_storage_error(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    before = descriptors()
    with pytest.raises(StorageError, match="could not be made"):
        make_next(live, START)
    assert descriptors() == before


def test_an_interim_file_goes_with_all_its_side_files(live: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        live.with_name(f"r.x.db.next{suffix}").write_bytes(b"")
    live.write_bytes(b"")
    drop_next(live)
    assert list(live.parent.iterdir()) == [live]
    next_path(live).mkdir()
    with pytest.raises(StorageError, match="cannot be removed"):
        drop_next(live)


def test_names_are_durable_before_and_after_a_rename(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live.write_bytes(b"rows")
    steps, folder = durable_steps(monkeypatch), live.parent.name
    rename_durably(live, live.with_name("new"))
    assert steps == [f"sync {folder}", "rename r.x.db new", f"sync {folder}"]
    assert live.with_name("new").read_bytes() == b"rows"
    with pytest.raises(StorageError, match="cannot be renamed"):
        rename_durably(live, live.with_name("new"))


def test_a_first_start_begins_at_the_start_of_the_chain(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = durable_steps(monkeypatch)
    settle(live)
    folder, size = f"sync {live.parent.name}", live.stat().st_size
    assert steps == [f"sync r.x.db.next {size}", folder, "rename r.x.db.next r.x.db", folder]
    with closing(connect(live)) as connection:
        assert anchor_of(connection) == START


def test_a_live_file_stays_and_an_interim_one_beside_it_goes(live: Path) -> None:
    make(live, START)
    make(next_path(live), START)
    before = live.read_bytes()
    settle(live)
    assert live.read_bytes() == before
    assert not next_path(live).exists()


def test_an_interim_file_that_goes_on_where_the_sealed_ones_end_becomes_the_live_one(live: Path) -> None:
    seal(live, 1, 9)
    seal(live, 10, 20)
    make_next(live, Anchor(20, HASH))
    settle(live)
    with closing(connect(live)) as connection:
        assert anchor_of(connection) == (20, HASH)
    assert not next_path(live).exists()


def damage_next(live: Path, how: str) -> None:
    make_next(live, Anchor(8 if how == "older" else 9, HASH))
    if how == "empty":
        next_path(live).write_bytes(b"")
    elif how == "garbage":
        next_path(live).write_bytes(b"no database" * 99)
    elif how == "none":
        next_path(live).unlink()
    else:
        with closing(connect(next_path(live))) as connection:
            if how == "anchor":
                connection.execute("UPDATE meta SET value = 'x' WHERE name = 'anchor_number'")
            elif how == "rows":
                values = "10, 'k', '', '', '', 1, 1, 2, 7, ''"
                connection.execute(f"INSERT INTO events VALUES ({values}, x'00')")  # noqa: S608
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()


@pytest.mark.parametrize("how", ["older", "empty", "garbage", "none", "anchor", "rows"])
def test_any_other_interim_file_leaves_the_live_one_gone(live: Path, how: str) -> None:
    seal(live, 1, 9)
    damage_next(live, how)
    with pytest.raises(DamagedError, match="is gone"):
        settle(live)
    assert not live.exists()
    assert next_path(live).exists() is (how != "none")


def test_an_empty_live_file_is_damage_and_so_is_a_log_without_its_file(live: Path) -> None:
    live.write_bytes(b"")
    with pytest.raises(DamagedError, match="is empty"):
        settle(live)
    live.rename(live.with_name("r.x.db-wal"))
    with pytest.raises(DamagedError, match="is gone"):
        settle(live)


def test_an_interim_file_without_any_sealed_one_is_made_again(live: Path) -> None:
    make_next(live, Anchor(3, HASH))
    settle(live)
    with closing(connect(live)) as connection:
        assert anchor_of(connection) == START


def test_a_new_live_file_goes_on_after_the_newest_sealed_one(live: Path) -> None:
    assert newest_anchor(live) == START
    seal(live, 1, 9)
    assert newest_anchor(live) == (9, HASH)
    sealed = seal(live, 10, 20)
    assert newest_anchor(live) == (20, HASH)
    begin(live)
    with closing(connect(live)) as connection:
        assert anchor_of(connection) == (20, HASH)
    sealed.write_bytes(b"no database" * 99)
    assert newest_anchor(live) == (20, START.hash)


def test_a_connection_commits_each_statement_waits_five_seconds_and_serves_any_thread(live: Path) -> None:
    with closing(connect(live)) as connection:
        assert connection.isolation_level is None
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (BUSY_S * 1000,) == (5000,)
        thread = threading.Thread(target=lambda: connection.execute("CREATE TABLE t (x)"))
        thread.start()
        thread.join()
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]


def test_a_connection_to_a_file_nobody_writes_makes_none(live: Path) -> None:
    with pytest.raises(sqlite3.OperationalError), closing(connect(live, immutable=True)) as connection:
        connection.execute("SELECT 1 FROM meta")
    assert not live.exists()


def test_a_path_is_given_as_a_uri_on_every_build_of_sqlite(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, object]] = []
    plain = sqlite3.connect

    def seen(path: str, **named: object) -> sqlite3.Connection:
        given.append(named)
        return plain(path, **named)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", seen)
    connect(live).close()
    assert given[0]["uri"] is True


def test_a_path_with_odd_characters_is_opened_as_it_is(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "a ?#%41.db")) as connection:
        create(connection)
    assert (tmp_path / "a ?#%41.db").exists()


@pytest.fixture
def memory() -> Iterator[sqlite3.Connection]:
    """An empty database."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    yield connection
    connection.close()


def test_an_empty_file_gets_the_tables_an_index_and_its_anchor(memory: sqlite3.Connection) -> None:
    create(memory)
    create(memory)
    assert not memory.in_transaction
    found = memory.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name").fetchall()
    assert found == sorted([*(("table", name) for name in (*TABLES, "meta")), ("index", "triggers_part")], key=lambda pair: pair[1])
    assert memory.execute("SELECT name, value FROM meta ORDER BY name").fetchall() == [
        ("anchor_hash", bytes(32)),
        ("anchor_number", 0),
        ("checkpoints", 0),
    ]
    assert memory.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,) == (3,)


@pytest.mark.parametrize("table", TABLES)
def test_a_number_is_given_once_and_names_are_unique_in_meta(memory: sqlite3.Connection, table: str) -> None:
    create(memory)
    assert memory.execute(f"SELECT pk FROM pragma_table_info('{table}') WHERE name = 'id'").fetchone() == (1,)  # noqa: S608
    with pytest.raises(sqlite3.IntegrityError):
        memory.execute("INSERT INTO meta VALUES ('checkpoints', 1)")


@pytest.mark.parametrize(
    "change",
    [
        "PRAGMA user_version = 1",
        "PRAGMA user_version = 4",
        "PRAGMA user_version = 2",
        "PRAGMA user_version = 0",
        "DROP TABLE meta",
        "DROP TABLE events",
        "ALTER TABLE triggers ADD COLUMN colour TEXT",
    ],
)
def test_a_file_of_another_release_is_damage(memory: sqlite3.Connection, change: str) -> None:
    create(memory)
    memory.execute(change)
    with pytest.raises(DamagedError, match="another release"):
        create(memory)


@pytest.mark.parametrize("change", ["CREATE TABLE songs (name TEXT)", "PRAGMA user_version = 2"])
def test_a_file_of_another_program_is_left_alone(memory: sqlite3.Connection, change: str) -> None:
    memory.execute(change)
    with pytest.raises(StorageError, match="not a record file of Cordon") as found:
        create(memory)
    assert not isinstance(found.value, DamagedError)


@pytest.mark.parametrize(
    "text",
    [
        "database is locked",
        "database table is locked: x",
        "locking protocol",
        "disk I/O error",
        "unable to open database file",
        "database or disk is full",
        "access permission denied",
        "interrupted",
    ],
)
def test_what_is_wrong_around_a_file_is_no_damage(text: str, live: Path) -> None:
    assert not is_damage(sqlite3.OperationalError(text), live)
    with pytest.raises(StorageError, match="what failed") as found, translated("what failed", live):
        raise sqlite3.OperationalError(text)
    assert not isinstance(found.value, DamagedError)
    assert is_full(found.value) is ("full" in text)


def test_a_row_that_is_there_already_is_no_damage_and_anything_else_is(live: Path) -> None:
    assert not is_damage(sqlite3.IntegrityError("UNIQUE constraint failed"), live)
    assert is_damage(sqlite3.DatabaseError("file is not a database"), live)
    with pytest.raises(DamagedError, match="what failed"), translated("what failed", live):
        raise sqlite3.DatabaseError("database disk image is malformed")


@pytest.mark.parametrize(("file", "folder", "damaged"), [(True, True, True), (False, True, False), (True, False, False)])
def test_a_file_that_reads_as_write_protected_is_damaged_only_when_it_is_not(
    live: Path, monkeypatch: pytest.MonkeyPatch, file: bool, folder: bool, damaged: bool
) -> None:
    writable = {live: file, live.parent: folder}
    monkeypatch.setattr(os, "access", lambda path, mode: mode == os.W_OK and writable[path])
    assert is_damage(sqlite3.OperationalError("attempt to write a readonly database"), live) is damaged


@pytest.mark.parametrize(("code", "full"), [(28, True), (122, True), (5, False)])
def test_a_disk_without_room_is_known_from_the_systems_own_words(code: int, full: bool) -> None:
    assert is_full(StorageError("what failed", seen=os.strerror(code), remedy="none")) is full


def a_trigger(memory: sqlite3.Connection, number: int, sequence: int) -> None:
    values = (number, "s", sequence, f"P{sequence}", "W", "T2", "", "trigger", 5 + sequence, 7, "", b"")
    memory.execute(f"INSERT INTO triggers VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608


def test_what_a_dead_gate_left_open_is_closed_in_order(memory: sqlite3.Connection) -> None:
    create(memory)
    assert closing_rows(memory, 99) == []
    for number, sequence in ((1, 4), (2, 3)):
        a_trigger(memory, number, sequence)
    rows = closing_rows(memory, 99)
    assert [(type(row).__name__, row.session, row.sequence) for row in rows] == [
        ("VerdictRow", "s", 4),
        ("VerdictRow", "s", 3),
        ("DispositionRow", "s", 4),
        ("DispositionRow", "s", 3),
    ]
    verdict, disposition = rows[0], rows[2]
    assert (verdict.part, verdict.weld, verdict.typology, verdict.outcome, verdict.reason) == (
        "P4",
        "W",
        "T2",
        "NO_VERDICT",
        "GATE_RESTARTED",
    )
    assert (verdict.opened_ns, verdict.decided_ns, verdict.score) == (9, 99, None)
    assert (disposition.sent, disposition.sent_reason, disposition.done) == ("", "", "GATE_RESTARTED")
    assert (disposition.sent_ns, disposition.closed_ns) == (None, 99)


def test_only_the_newest_triggers_are_searched(memory: sqlite3.Connection) -> None:
    create(memory)
    assert LOOK_BACK == 10_000
    for number in range(1, LOOK_BACK + 3):
        a_trigger(memory, number, number)
    rows = closing_rows(memory, 99)
    assert len(rows) == 2 * LOOK_BACK
    assert rows[0].sequence == rows[LOOK_BACK].sequence == 3


def test_the_newest_durable_row_is_noted_and_read_back(live: Path) -> None:
    newest, before = NewestRow(live), descriptors()
    assert newest.read() is None
    newest.note(Anchor(7, HASH))
    assert newest.read() == NewestRow(live).read() == (7, HASH)
    newest.note(Anchor(2**40, bytes(32)))
    assert newest.read() == (2**40, bytes(32))
    newest.close()
    newest.close()
    assert descriptors() == before
    assert newest.path == live.with_name("r.x.db.newest")
    assert newest.path.stat().st_mode & 0o777 == 0o640 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_half_a_note_or_one_with_a_flipped_bit_is_none(live: Path) -> None:
    newest = NewestRow(live)
    newest.note(Anchor(7, HASH))
    newest.close()
    whole = newest.path.read_bytes()
    assert whole == struct.pack(">Q32sI", 7, HASH, zlib.crc32(struct.pack(">Q", 7) + HASH))
    for change in (whole[:-1], b"", bytes([*whole[:-1], whole[-1] ^ 1]), bytes([1, *whole[1:]]), bytes([*whole[:20], 99, *whole[21:]])):
        newest.path.write_bytes(change)
        assert newest.read() is None


def test_a_note_that_cannot_be_written_is_no_error(live: Path) -> None:
    newest = NewestRow(live)
    newest.path.mkdir()
    newest.note(Anchor(7, HASH))
    assert newest.read() is None
    newest.close()
