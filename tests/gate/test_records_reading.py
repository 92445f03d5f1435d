import json
import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from records_kit import descriptors, durable_steps
from test_records import a_disposition, a_store, a_trigger, a_verdict
from test_records_segments import edit, segmented

import edge.gate.quarantine as quarantine_module
import edge.gate.snapshot as snapshot_module
from edge.config import StorageConfig
from edge.errors import ChainError, DamagedError, StorageError
from edge.gate.audit import ChainReport, open_for_reading, read_part, verify_chain
from edge.gate.chain import Anchor
from edge.gate.disk import MIB, Reserve
from edge.gate.latch import Latch
from edge.gate.quarantine import Opened, open_records, quarantine
from edge.gate.reader_lock import lock_path
from edge.gate.retention import deletion_text
from edge.gate.rows import EventRow
from edge.gate.segments import segments_of
from edge.gate.snapshot import snapshot
from edge.gate.store import lock

FULL = StorageError("it failed", seen="database or disk is full", remedy="none")
OTHER = StorageError("it failed", seen="disk I/O error", remedy="none")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Three sealed files of four triggers and a live one with one."""
    segmented(tmp_path / "r.db")
    return tmp_path / "r.db"


def test_a_report_counts_rows_and_files_and_names_the_head(path: Path) -> None:
    store = a_store(path)
    head = store.head.hex()
    store.close()
    assert verify_chain(path) == (39, head, 1, 4)
    assert ChainReport(1, "x") == (1, "x", 1, 1)
    second = segments_of(path)[1].path
    report = verify_chain(second)
    assert (report.rows, report.first, report.files) == (12, 13, 1)
    aside = path.with_name("r.db.quarantined-20260101T000000-00000000")
    path.rename(aside)
    assert verify_chain(aside) == (3, head, 37, 1)
    report = verify_chain(path)
    assert (report.rows, report.first, report.files) == (36, 1, 3)


def test_missing_old_files_need_a_row_that_names_their_end(path: Path) -> None:
    first, second, _ = segments_of(path)
    with closing(sqlite3.connect(second.path)) as connection:
        values = dict(connection.execute("SELECT name, value FROM meta"))
    first.path.unlink()
    with pytest.raises(ChainError) as found:
        verify_chain(path)
    assert found.value.what == "the oldest records are missing"
    assert str(found.value.seen).startswith("rows 1 to 12,")
    store = a_store(path)
    for number, kind in ((12, "other"), (13, "retention"), (12, "retention")):
        text = deletion_text(Anchor(number, values["anchor_hash"]))
        row = EventRow(kind=kind, reason="", detail=f"x {text} y", camera="", count=1, first_ns=1, at_ns=1)
        store.commit([store.stamp(row, 7)])
        if (number, kind) != (12, "retention"):
            with pytest.raises(ChainError):
                verify_chain(path)
    assert verify_chain(path)[::2] == (30, 13)
    store.rotate()
    store.close()
    assert verify_chain(path)[::2] == (30, 13)


@pytest.mark.parametrize(
    ("index", "change", "what", "seen"),
    [
        (1, None, "records are missing", "rows 13 to 24 before r-000000000025-000000000036.db"),
        (
            3,
            "UPDATE meta SET value = zeroblob(32) WHERE name = 'anchor_hash'",
            "r.db does not go on where the file before it ends",
            "row 36",
        ),
        (1, "UPDATE triggers SET part = 'x' WHERE id = 16", "a record was changed", "row 16 in triggers of r-000000000013-000000000024.db"),
        (
            0,
            "DELETE FROM triggers WHERE id = 4",
            "a record was removed",
            "row 4 is missing, next is verdicts 5 of r-000000000001-000000000012.db",
        ),
    ],
)
def test_what_is_broken_is_named_with_its_file(path: Path, index: int, change: str | None, what: str, seen: str) -> None:
    files = [*(segment.path for segment in segments_of(path)), path]
    if change is None:
        files[index].unlink()
    else:
        edit(files[index], change)
    with pytest.raises(ChainError) as found:
        verify_chain(path)
    assert (found.value.what, found.value.seen) == (what, seen)


def test_a_part_is_shown_with_what_became_of_every_trigger(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    store.commit([store.stamp(row, 7) for row in (a_trigger(1, "P2"), a_trigger(2), a_trigger(3), a_verdict(2), a_disposition(2))])
    store.close()
    second, third = read_part(tmp_path / "r.db", "P1")
    fields = {"id": 2, "session": "0123456789abcdef", "sequence": 2, "part": "P1", "weld": "W1", "typology": None, "recipe": ""}
    fields |= {"opened_by": "trigger", "opened_ns": 5, "wall_ns": 7, "link": ""}
    assert {name: value for name, value in second.items() if "." not in name} == fields
    verdict = "typology outcome reason detail score threshold members bundle backend camera counter payload_hash opened_ns captured_ns "
    verdict += "received_ns prepared_ns scored_ns decided_ns wall_ns link boot config map"
    assert [name for name in second if name.startswith("verdict.")] == [f"verdict.{name}" for name in verdict.split()]
    disposition = "sent sent_reason done detail sent_ns closed_ns wall_ns link"
    assert [name for name in second if name.startswith("disposition.")] == [f"disposition.{name}" for name in disposition.split()]
    assert (second["verdict.score"], second["disposition.done"]) == (0.25, "ACCEPTED")
    assert third["sequence"] == 3
    assert not any("." in name for name in third)
    assert json.dumps(second)


def test_the_parts_of_all_files_come_in_order(path: Path) -> None:
    assert [row["sequence"] for row in read_part(path, "P1")] == list(range(1, 14))
    assert read_part(path, "P2") == []


def test_the_files_of_one_moment_are_those_the_copy_goes_on_from(path: Path) -> None:
    before = path.read_bytes()
    with open_for_reading(path) as records:
        assert [segment.last for segment in records.sealed] == [12, 24, 36]
        assert records.live is not None
    store = a_store(path)
    store.rotate()
    store.close()
    path.write_bytes(before)
    with open_for_reading(path) as records:
        assert [segment.last for segment in records.sealed] == [12, 24, 36]
    path.unlink()
    with open_for_reading(path) as records:
        assert (len(records.sealed), records.live) == (4, None)


@pytest.mark.parametrize("name", ["none.db", "none/r.db"])
def test_no_file_at_all_is_a_storage_error(path: Path, name: str) -> None:
    with pytest.raises(StorageError, match="there is no record file"):
        verify_chain(path.parent / name)


def test_what_cannot_be_read_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = segments_of(path)[1].path
    content = sealed.read_bytes()
    sealed.write_bytes(b"no database" * 999)
    for read in (verify_chain, lambda path: read_part(path, "P1")):
        with pytest.raises(StorageError, match=re.escape(f"the records {sealed.name} cannot be read")):
            read(path)
    sealed.write_bytes(content)
    path.write_bytes(b"no database" * 999)
    with pytest.raises(StorageError, match=re.escape(f"the records {path} cannot be read")):
        verify_chain(path)

    def fail(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", fail)
    with pytest.raises(StorageError, match="cannot be read"):
        verify_chain(path)


def test_whether_there_is_a_live_file_is_asked_under_the_readers_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock_path(path).touch()
    before = descriptors()
    inside: list[int] = []
    is_file = Path.is_file

    def seen(asked: Path) -> bool:
        inside.append(descriptors() - before)
        return is_file(asked)

    monkeypatch.setattr(Path, "is_file", seen)
    verify_chain(path)
    assert inside[0] == 1


def test_nothing_stays_open_or_behind(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before, files = descriptors(), sorted(path.parent.iterdir())
    with snapshot(path) as connection:
        (folder,) = temporary.iterdir()
        assert folder.name.startswith("cordon-records-")
        assert connection.execute("SELECT count(*) FROM triggers").fetchone() == (1,)
    verify_chain(path)
    read_part(path, "P1")
    assert list(temporary.iterdir()) == []
    assert descriptors() == before
    assert sorted(path.parent.iterdir()) == files
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


def test_a_copy_has_what_is_in_the_log_only(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    store.commit([store.stamp(a_trigger(1), 7)])
    assert verify_chain(tmp_path / "r.db").rows == 1
    store.close()


def test_a_file_that_always_changes_is_given_up_after_fifty_attempts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(snapshot_module, "_copied", lambda *_paths: False)
    monkeypatch.setattr(time, "sleep", pauses.append)
    with pytest.raises(StorageError, match="changed all the time") as found, snapshot(path):
        pass
    assert pauses == [0.02] * 50
    assert found.value.seen == "50 attempts"


def test_a_copy_that_succeeds_at_last_is_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes, copied = [False, False], snapshot_module._copied
    monkeypatch.setattr(snapshot_module, "_copied", lambda live, copy: outcomes.pop() if outcomes else copied(live, copy))
    assert verify_chain(path).rows == 39


def test_each_attempt_to_copy_holds_the_readers_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock_path(path).touch()
    before, inside, outside = descriptors(), [], []
    monkeypatch.setattr(snapshot_module, "_copied", lambda *_paths: inside.append(descriptors() - before))
    monkeypatch.setattr(time, "sleep", lambda _s: outside.append(descriptors() - before))
    with pytest.raises(StorageError), snapshot(path):
        pass
    assert (set(inside), set(outside)) == ({1}, {0})


def test_a_file_that_cannot_be_copied_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "r.db").mkdir()
    with pytest.raises(StorageError, match="cannot be copied"), snapshot(tmp_path / "r.db"):
        pass


def change(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    with file.open("r+b") as opened:
        opened.write(content)


def exchange(live: Path) -> None:
    status, other = live.stat(), live.with_name("other")
    other.write_bytes(live.read_bytes())
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(live)


@pytest.mark.parametrize(
    ("wal", "what", "good"),
    [
        (True, lambda _live, _wal: None, True),
        (True, lambda _live, wal: change(wal, 31), False),
        (True, lambda _live, wal: change(wal, 0), False),
        (True, lambda _live, wal: change(wal, 32), True),
        (True, lambda live, _wal: change(live, 100), True),
        (True, lambda live, _wal: exchange(live), False),
        (True, lambda live, _wal: live.unlink(), False),
        (True, lambda _live, wal: wal.unlink(), False),
        (False, lambda _live, _wal: None, True),
        (False, lambda _live, wal: wal.write_bytes(b"x" * 40), False),
        (False, lambda live, _wal: os.utime(live, ns=(5, 5)), False),
        (False, lambda live, _wal: live.write_bytes(b"longer" * 99) and os.utime(live, ns=(7, 7)), False),
        (False, lambda live, _wal: exchange(live), False),
    ],
)
def test_a_copy_across_which_the_log_was_started_again_or_the_file_exchanged_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wal: bool, what: Callable[[Path, Path], None], good: bool
) -> None:
    live, log, copy = tmp_path / "r.db", tmp_path / "r.db-wal", tmp_path / "copy.db"
    live.write_bytes(b"f" * 200)
    os.utime(live, ns=(7, 7))
    if wal:
        log.write_bytes(b"w" * 64)
    # Of an earlier attempt.
    (tmp_path / "copy.db-wal").write_bytes(b"old")
    copyfile, copied = shutil.copyfile, []

    def seen(source: Path, target: Path) -> Path:
        copied.append((source.name, target.name))
        found = copyfile(source, target)
        if source == live:
            what(live, log)
        return found

    monkeypatch.setattr(shutil, "copyfile", seen)
    assert snapshot_module._copied(live, copy) is good
    assert copied == [("r.db", "copy.db"), ("r.db-wal", "copy.db-wal")]
    assert (tmp_path / "copy.db-wal").exists() is log.exists()


def test_without_a_live_file_there_is_no_copy_yet(tmp_path: Path) -> None:
    assert not snapshot_module._copied(tmp_path / "r.db", tmp_path / "copy.db")
    (tmp_path / "r.db").write_bytes(b"f")
    assert snapshot_module._copied(tmp_path / "r.db", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db-wal").exists()


def opened(path: Path, storage: StorageConfig | None = None) -> Opened:
    found = open_records(path, boot="b", config="c", link="push", storage=storage)
    found.store.close()
    return found


def test_whole_records_are_opened_and_what_was_left_open_is_closed(path: Path) -> None:
    store = a_store(path)
    store.commit([store.stamp(a_trigger(20), 7), store.stamp(a_trigger(21), 7), store.stamp(a_verdict(21), 7)])
    store.close()
    before_ns = time.time_ns()
    found = opened(path)
    assert (found.left, found.damage, found.store.number) == (3, "", 45)
    found = opened(path)
    assert (found.left, found.damage, found.store.number) == (0, "", 45)
    late = read_part(path, "P1")[-2]
    assert (late["verdict.reason"], late["verdict.boot"], late["verdict.link"]) == ("GATE_RESTARTED", "b", "push")
    assert before_ns <= late["verdict.wall_ns"] <= time.time_ns()
    assert late["verdict.decided_ns"] <= time.monotonic_ns()
    assert late["verdict.decided_ns"] > 1_000


def test_damage_latches_first_then_renames_then_begins_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"no database" * 999)
    steps, before = durable_steps(monkeypatch), descriptors()
    found = opened(path)
    assert descriptors() == before
    (aside,) = path.parent.glob("*quarantined-*[0-9a-f]")
    assert re.fullmatch(r"r\.db\.quarantined-\d{8}T\d{6}-[0-9a-f]{8}", aside.name)
    assert steps[0].startswith("sync r.db.latched ")
    assert [step for step in steps if step.startswith("rename")] == [
        f"rename r.db {aside.name}",
        "rename r.db.next r.db",
    ]
    assert aside.read_bytes() == b"no database" * 999
    assert "file is not a database" in found.damage
    assert found.store.number == 37
    (reason,) = Latch(path).reasons()
    assert reason == f"records: {found.damage}; put aside as {aside.name}"
    store = a_store(path)
    ((kind, why, text, camera, count, first_ns, at_ns, link),) = store._connected().execute(
        "SELECT kind, reason, detail, camera, count, first_ns, at_ns, link FROM events"
    )
    store.close()
    assert (kind, why, camera, count, link) == ("records", "RECORD_FAULT", "", 1, "push")
    assert text == f"the records before this are in {aside.name}: {found.damage}"
    assert 1_000 < first_ns == at_ns <= time.monotonic_ns()
    assert opened(path).damage == ""


@pytest.mark.parametrize("error", [DamagedError("it failed", seen="x", remedy="none"), ChainError("it failed", seen="x", remedy="none")])
@pytest.mark.parametrize("times", [1, 2])
def test_only_what_is_damaged_twice_is_put_aside(path: Path, monkeypatch: pytest.MonkeyPatch, error: StorageError, times: int) -> None:
    tries, real = [error] * times, quarantine_module._opened

    def fails(*arguments: str) -> Opened:
        if tries:
            raise tries.pop()
        return real(*arguments)

    monkeypatch.setattr(quarantine_module, "_opened", fails)
    assert opened(path).damage == ("" if times == 1 else "it failed (x)")
    assert len(list(path.parent.glob("*quarantined*"))) == times - 1


@pytest.mark.parametrize(("error", "reserve_mb", "tries"), [(FULL, 0.5, 2), (OTHER, 0.5, 1), (FULL, 0, 1), (FULL, None, 1)])
def test_a_full_disk_takes_the_reserve_and_is_tried_once_more(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: StorageError, reserve_mb: float | None, tries: int
) -> None:
    seen: list[bool] = []
    reserve = Reserve(path, MIB // 2)
    reserve.make()

    def fails(*_arguments: str) -> Opened:
        seen.append(reserve.held)
        raise error

    monkeypatch.setattr(quarantine_module, "_opened", fails)
    storage = None if reserve_mb is None else StorageConfig(reserve_mb=reserve_mb, alarm_mb=0)
    with pytest.raises(StorageError):
        opened(path, storage)
    assert seen == [True, False][:tries]
    assert not list(path.parent.glob("*quarantined*"))


def test_a_store_whose_rest_cannot_be_closed_is_let_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> list[object]:
        raise OTHER

    before = descriptors()
    monkeypatch.setattr("edge.gate.store.Store.leftovers", fail)
    with pytest.raises(StorageError) as found:
        opened(path)
    assert descriptors() == before
    assert found.value is OTHER


def test_records_in_use_are_not_put_aside(path: Path) -> None:
    held = lock(path)
    with pytest.raises(StorageError, match="another gate"):
        quarantine(path, boot="b", config="c")
    held.close()
    assert path.exists()


def test_without_any_file_there_is_nothing_to_put_aside(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no record file"):
        quarantine(tmp_path / "r.db", boot="b", config="c")
    assert not (tmp_path / "r.db").exists()


@pytest.mark.parametrize("left", ["sealed", "log"])
def test_any_one_of_its_files_is_enough_to_begin_anew(path: Path, left: str) -> None:
    path.unlink()
    if left == "log":
        for segment in segments_of(path):
            segment.path.unlink()
        path.with_name("r.db-wal").write_bytes(b"log")
    path.with_name("r.db.newest").unlink(missing_ok=True)
    before = descriptors()
    aside = quarantine(path, boot="b", config="c")
    assert descriptors() == before
    assert not aside.exists()
    store = a_store(path)
    assert store.number == (37 if left == "sealed" else 1)
    ((text, link),) = store._connected().execute("SELECT detail, link FROM events")
    assert (text, link) == (f"the records before this are in {aside.name}", "")
    store.close()


def test_a_damaged_file_goes_with_its_side_files_under_the_name_that_was_given(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aside, sides = path.with_name("elsewhere"), ("-journal", "-shm", "-wal")
    for side in sides:
        path.with_name(f"r.db{side}").write_bytes(side.encode())
    steps = durable_steps(monkeypatch)
    assert quarantine(path, boot="b", config="c", link="push", why="somebody asked", aside=aside) == aside
    assert aside.exists()
    assert [path.with_name(f"elsewhere{side}").read_bytes() for side in sides] == [side.encode() for side in sides]
    # The file first: without its log it might be taken for a whole one.
    assert [step for step in steps if step.startswith("rename")][:2] == ["rename r.db elsewhere", "rename r.db-wal elsewhere-wal"]
    ((text,),) = a_rows(path)
    assert text == "the records before this are in elsewhere: somebody asked"


def a_rows(path: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT detail FROM events").fetchall()
