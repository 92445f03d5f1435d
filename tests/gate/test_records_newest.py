from pathlib import Path

import pytest

from edge.errors import DamagedError
from edge.gate.audit import verify_chain
from edge.gate.chain import Anchor
from edge.gate.latch import Latch
from edge.gate.newest import NewestRow
from edge.gate.quarantine import open_records
from edge.gate.rows import EventRow
from edge.gate.store import Store


def an_event(number: int) -> EventRow:
    return EventRow(kind="noise", reason="", detail=f"{number}", camera="", count=1, first_ns=1, at_ns=1)


def a_store(path: Path) -> Store:
    return Store(path, boot="boot", config="c" * 64)


def killed(path: Path, rows: int) -> None:
    """Records as a killed gate leaves them: the newest rows are in the WAL alone."""
    store = a_store(path)
    for number in range(rows):
        store.commit([store.stamp(an_event(number), 1)])
    copy = {side: path.with_name(path.name + side).read_bytes() for side in ("", "-wal", ".newest")}
    store.close()
    for side, content in copy.items():
        path.with_name(path.name + side).write_bytes(content)


def test_the_newest_row_is_noted_with_every_commit(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    store = a_store(path)
    assert NewestRow(path).read() is None, "nothing was durable yet"
    for number in range(3):
        store.commit([store.stamp(an_event(2 * number), 1), store.stamp(an_event(2 * number + 1), 1)])
        assert NewestRow(path).read() == Anchor(store.number, store.head)
    store.close()
    assert NewestRow(path).path.stat().st_size == 44, "written over in place"


def test_a_log_with_a_damaged_end_is_put_aside_and_latched(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    killed(path, 5)
    wal = path.with_name("r.db-wal")
    content = bytearray(wal.read_bytes())
    at = content.rindex(b"noise")
    content[at] ^= 1
    wal.write_bytes(content)
    opened = open_records(path, boot="boot", config="c" * 64)
    assert "newest records" in opened.damage
    assert "row 5 was durable, the last one is " in opened.damage
    opened.store.commit([opened.store.stamp(an_event(9), 1)])
    opened.store.close()
    assert Latch(path).reasons()
    assert len(list(tmp_path.glob("r.db.quarantined-*"))) >= 1
    a_store(path).close()


def test_an_undamaged_log_of_a_killed_gate_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    killed(path, 5)
    store = a_store(path)
    assert store.number == 5
    store.close()


def test_an_older_copy_of_the_file_is_not_taken_for_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    killed(path, 3)
    a_store(path).close()
    old = path.read_bytes()
    store = a_store(path)
    store.commit([store.stamp(an_event(7), 1)])
    store.close()
    path.write_bytes(old)
    with pytest.raises(DamagedError, match="row 4 was durable, the last one is 3"):
        a_store(path)


def test_another_row_under_the_same_number_is_found(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    a_store(path).close()
    empty = path.read_bytes()
    for detail in (1, 2):
        path.write_bytes(empty)
        if detail == 2:
            NewestRow(path).path.rename(tmp_path / "note")
        store = a_store(path)
        store.commit([store.stamp(an_event(detail), 1)])
        store.close()
    (tmp_path / "note").replace(NewestRow(path).path)
    with pytest.raises(DamagedError, match="newest records"):
        a_store(path)


@pytest.mark.parametrize("content", [b"", b"x" * 10, bytes(44), b"\xff" * 44, bytes(100)])
def test_half_a_note_says_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.db"
    store = a_store(path)
    store.commit([store.stamp(an_event(1), 1)])
    store.close()
    NewestRow(path).path.write_bytes(content)
    assert NewestRow(path).read() is None
    a_store(path).close()


def test_a_note_that_lags_behind_is_no_damage(tmp_path: Path) -> None:
    """What was noted before a power cut may be any commit before it: the note is never synced."""
    path = tmp_path / "r.db"
    store = a_store(path)
    store.commit([store.stamp(an_event(1), 1)])
    early = NewestRow(path).path.read_bytes()
    store.commit([store.stamp(an_event(2), 1)])
    store.close()
    NewestRow(path).path.write_bytes(early)
    store = a_store(path)
    assert store.number == 2
    store.close()
    verify_chain(path)


def test_a_disk_that_takes_no_note_does_not_fail_the_commit(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    NewestRow(path).path.mkdir()
    store = a_store(path)
    store.commit([store.stamp(an_event(1), 1)])
    store.close()
    assert verify_chain(path).rows == 1
