import contextlib
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from test_records import a_disposition, a_store, a_trigger, a_verdict, filled

import edge.gate.store as store_module
from edge.errors import ChainError, DamagedError, StorageError
from edge.gate.audit import read_part, verify_chain
from edge.gate.latch import Latch
from edge.gate.quarantine import open_records
from edge.gate.reader_lock import reading
from edge.gate.segments import next_path, segments_of
from edge.gate.store import Store

STEPS = ("make_next", "_rest", "_disconnect", "rename_durably", "_begin")


def fill(store: Store, first: int, last: int) -> None:
    for sequence in range(first, last + 1):
        store.commit([store.stamp(row, 7) for row in (a_trigger(sequence), a_verdict(sequence), a_disposition(sequence))])


def segmented(path: Path, files: int = 3, each: int = 4) -> None:
    """`files` sealed files of `each` triggers, and one trigger in the live file."""
    store = a_store(path)
    for number in range(files):
        fill(store, number * each + 1, (number + 1) * each)
        assert store.rotate() is not None
    fill(store, files * each + 1, files * each + 1)
    store.close()


def test_a_rotation_seals_the_file_and_the_chain_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    segmented(path)
    assert [(s.first, s.last) for s in segments_of(path)] == [(1, 12), (13, 24), (25, 36)]
    assert segments_of(path)[0].path.name == "r-000000000001-000000000012.db"
    report = verify_chain(path)
    assert (report.rows, report.files) == (39, 4)
    assert [row["sequence"] for row in read_part(path, "P1")] == list(range(1, 14))
    store = a_store(path)
    assert store.number == 39
    store.close()
    assert verify_chain(segments_of(path)[1].path).rows == 12


def test_a_file_is_sealed_only_when_every_trigger_in_it_has_its_disposition(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    assert store.rotate() is None
    store.commit([store.stamp(a_trigger(1), 7), store.stamp(a_verdict(1), 7)])
    assert store.rotate() is None
    store.commit([store.stamp(a_disposition(1), 7)])
    assert store.rotate() is not None
    store.close()


def test_a_sealed_file_is_complete_without_any_other_file_and_opens_on_a_read_only_medium(tmp_path: Path) -> None:
    segmented(tmp_path / "r.db", files=1)
    (sealed,) = segments_of(tmp_path / "r.db")
    assert sorted(file.name for file in tmp_path.glob("r-*")) == [sealed.path.name]
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(sealed.path, alone / "r.db")
    (alone / "r.db").chmod(0o444)
    alone.chmod(0o555)
    assert verify_chain(alone / "r.db").rows == 12
    assert len(read_part(alone / "r.db", "P1")) == 4
    assert [file.name for file in alone.iterdir()] == ["r.db"]


def wrap(monkeypatch: pytest.MonkeyPatch, name: str, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Call these around one step of a rotation."""
    target = Store if name.startswith("_") else store_module
    step = getattr(target, name)

    def wrapped(*arguments: object, **named: object) -> object:
        before()
        found = step(*arguments, **named)
        after()
        return found

    monkeypatch.setattr(target, name, wrapped)


def test_power_may_go_between_any_two_steps_of_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "box"
    store = a_store(folder / "r.db")
    fill(store, 1, 4)
    store.rotate()
    fill(store, 5, 8)
    cuts: list[Path] = []

    def cut() -> None:
        cuts.append(tmp_path / f"cut{len(cuts)}")
        shutil.copytree(folder, cuts[-1])

    for name in STEPS:
        wrap(monkeypatch, name, cut, cut)
    assert store.rotate() is not None
    monkeypatch.undo()
    store.close()
    assert len(cuts) == 12
    for place in cuts:
        assert verify_chain(place / "r.db").rows == 24, place
        assert len(read_part(place / "r.db", "P1")) == 8
        again, left, damage = open_records(place / "r.db", boot="boot", config="c")
        assert (left, damage, again.number) == (0, "", 24)
        fill(again, 9, 9)
        assert again.rotate() is not None
        again.close()
        assert verify_chain(place / "r.db").rows == 27
        assert not next_path(place / "r.db").exists()
        assert not list(place.glob("*quarantined*"))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("nth", [1, 2])
def test_a_step_of_a_rotation_that_fails_is_undone_or_finished_by_the_recovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, nth: int
) -> None:
    path = tmp_path / "r.db"
    store = a_store(path)
    fill(store, 1, 4)
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        if len(calls) == nth:
            raise StorageError("the disk failed", remedy="none")

    wrap(monkeypatch, step, fail, lambda: None)
    with contextlib.suppress(StorageError):
        store.rotate()
    monkeypatch.undo()
    kept = [store.stamp(row, 7) for row in (a_trigger(5), a_verdict(5), a_disposition(5))]
    store.recover(kept)
    fill(store, 6, 6)
    assert store.rotate() is not None
    store.close()
    assert verify_chain(path).rows == 18


def test_a_rotation_waits_for_a_reader_but_not_for_ever(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    fill(store, 1, 1)
    with reading(tmp_path / "r.db"):
        assert store.rotate() is None
        assert any(store.rotate() is not None for _ in range(30))
    store.close()


def test_somebody_elses_connection_keeps_a_file_from_being_sealed_but_not_from_being_written(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    fill(store, 1, 1)
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN'); c.execute('SELECT * FROM meta'); print(); input()"
    with subprocess.Popen([sys.executable, "-uc", code, str(tmp_path / "r.db")], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        # The five seconds of patience would only make this slow.
        store._connected().execute("PRAGMA busy_timeout = 50")
        with contextlib.suppress(StorageError):
            assert store.rotate() is None
        other.communicate(b"\n")
    fill(store, 2, 2)
    assert store.rotate() is not None
    store.close()
    assert verify_chain(tmp_path / "r.db").rows == 6


def test_the_records_can_be_read_while_they_are_written_sealed_and_checkpointed(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    store = a_store(path)
    fill(store, 1, 1)
    code = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from edge.gate.audit import read_part, verify_chain
path, until, rounds, last = Path({str(path)!r}), time.monotonic() + 1.5, 0, 0
while time.monotonic() < until:
    rows = verify_chain(path).rows
    shown = len(read_part(path, "P1"))
    assert rows >= last and shown * 3 + 2 >= rows, (rows, shown, last)
    rounds, last = rounds + 1, rows
print(rounds, last)
"""
    reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    sequence = 1
    while reader.poll() is None:
        sequence += 1
        fill(store, sequence, sequence)
        if sequence % 10 == 0:
            store.checkpoint()
        if sequence % 50 == 0:
            store.rotate()
    out, _ = reader.communicate()
    store.close()
    rounds, last = (int(word) for word in out.split())
    assert reader.returncode == 0
    assert rounds > 2
    assert 3 <= last <= sequence * 3
    assert verify_chain(path).rows == sequence * 3


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda _path, sealed: sealed[1].path.unlink(), "rows 13 to 24"),
        (lambda _path, sealed: sealed[0].path.unlink(), "no row says that retention"),
        (lambda _path, sealed: sealed[2].path.unlink(), "rows 25 to 36"),
        (lambda _path, sealed: edit(sealed[1].path, "UPDATE verdicts SET outcome = 'REJECT' WHERE id = 14"), "row 14"),
        (lambda _path, sealed: edit(sealed[1].path, "DELETE FROM dispositions WHERE id = 24"), "rows 24 to 24"),
        (lambda path, _sealed: edit(path, "UPDATE meta SET value = zeroblob(32) WHERE name = 'anchor_hash'"), "does not go on"),
        (lambda path, _sealed: edit(path, "UPDATE meta SET value = 7 WHERE name = 'anchor_number'"), "row"),
        (lambda path, _sealed: edit(path, "UPDATE meta SET value = 'x' WHERE name = 'anchor_number'"), "anchor"),
        (lambda path, _sealed: edit(path, "UPDATE triggers SET part = 'P2'"), "row 37"),
    ],
)
def test_files_that_were_removed_or_changed_are_named(tmp_path: Path, damage: Callable[[Path, list[object]], None], text: str) -> None:
    path = tmp_path / "r.db"
    segmented(path)
    damage(path, segments_of(path))
    with pytest.raises(ChainError, match=text):
        verify_chain(path)


def edit(path: Path, change: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(change)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("how", ["empty", "wal only"])
def test_a_first_file_that_is_empty_or_gone_without_its_wal_is_damage_too(tmp_path: Path, how: str) -> None:
    path = tmp_path / "r.db"
    filled(path)
    if how == "empty":
        path.write_bytes(b"")
    else:
        path.rename(path.with_name("r.db-wal"))
    with pytest.raises(DamagedError, match="gone" if how == "wal only" else "empty"):
        a_store(path)
    store, _, damage = open_records(path, boot="boot", config="c")
    store.close()
    assert damage
    assert verify_chain(path).rows == 1


def test_a_reader_takes_only_the_sealed_files_that_its_copy_goes_on_from(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    segmented(path, files=1)
    before = tmp_path / "before"
    shutil.copy(path, before)
    store = a_store(path)
    store.rotate()
    store.close()
    # The live file of a moment ago, as a reader holds it while the gate has sealed it since.
    shutil.copy(before, path)
    assert verify_chain(path).rows == 15
    assert len(read_part(path, "P1")) == 5


@pytest.mark.parametrize("how", ["gone", "empty", "old", "wal only"])
def test_a_live_file_that_is_gone_or_not_the_newest_is_put_aside_and_latches(tmp_path: Path, how: str) -> None:
    path = tmp_path / "r.db"
    segmented(path, files=1)
    old = tmp_path / "old"
    shutil.copy(segments_of(path)[0].path, old)
    segmented_again = a_store(path)
    segmented_again.rotate()
    segmented_again.close()
    if how == "gone":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "old":
        shutil.copy(old, path)
    else:
        path.rename(path.with_name("r.db-wal"))
    store, _, damage = open_records(path, boot="boot", config="c")
    assert damage
    assert store.number == 16
    store.close()
    assert Latch(path).reasons()
    assert verify_chain(path).rows == 16
    assert len(list(tmp_path.glob("*quarantined*"))) == (0 if how == "gone" else 1)
    a_store(path).close()


def test_an_interim_file_that_is_not_whole_does_not_become_the_live_one(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    segmented(path, files=1)
    next_path(path).write_bytes(path.read_bytes()[:3000])
    path.unlink()
    store, _, damage = open_records(path, boot="boot", config="c")
    assert "gone" in damage
    assert store.number == 13
    store.close()
    assert not next_path(path).exists()


def test_the_records_are_read_where_only_sealed_files_are_left(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    segmented(path)
    path.unlink()
    assert verify_chain(path).rows == 36
    assert len(read_part(path, "P1")) == 12


@contextlib.contextmanager
def checkpoints(store: Store) -> Iterator[None]:
    """The WAL is started again all the time."""
    stop = threading.Event()

    def work() -> None:
        sequence = 100
        while not stop.is_set():
            fill(store, sequence, sequence)
            store.checkpoint()
            sequence += 1
            time.sleep(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_without_the_lock_a_copy_made_across_a_checkpoint_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    store = a_store(path)
    fill(store, 1, 20)
    path.with_name("r.db.reading").unlink()
    with checkpoints(store):
        for _ in range(5):
            assert verify_chain(path).rows >= 60
            time.sleep(0.01)
    store.close()


def test_records_that_were_never_rotated_stay_one_file(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    filled(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["r.db", "r.db.lock", "r.db.newest", "r.db.reading"]
