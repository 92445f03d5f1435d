import fcntl
import hashlib
import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from records_kit import descriptors, durable_steps

import edge.gate.disk as disk_module
from edge.config import StorageConfig
from edge.errors import StorageError
from edge.gate.chain import Anchor
from edge.gate.database import connect, create
from edge.gate.disk import MIB, Reserve, free_bytes
from edge.gate.exported import ExportedFile, Marker, is_exported, mark_exported, marker_path
from edge.gate.keeper import LOOK_S, REPEAT_S, Keeper, event
from edge.gate.reader_lock import PATIENCE, ReaderLock, lock_path, reading
from edge.gate.retention import AGE_PAUSE_S, NS_PER_DAY, Retention, deletion_text
from edge.gate.rows import EventRow
from edge.gate.segments import Segment, segment_path, segments_of

HASH = bytes(range(32))
FULL = StorageError("what failed", seen="database or disk is full", remedy="none")
OTHER = StorageError("what failed", seen="disk I/O error", remedy="none")


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Where a live file would be."""
    return tmp_path / "r.db"


def room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(disk_module, "free_bytes", lambda _folder: free)


def test_a_mebibyte_is_1048576_bytes() -> None:
    assert MIB == 1_048_576


def test_free_space_is_what_is_left_for_everybody_and_none_when_nobody_can_say(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    assert abs(free_bytes(tmp_path) - found.f_bavail * found.f_frsize) < 2**32
    assert free_bytes(tmp_path / "none") == 0


def test_free_space_counts_blocks_open_to_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = (4096, 512, 1000, 900, 700, 10, 9, 8, 0, 255)
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(fields))
    assert free_bytes(tmp_path) == 700 * 512


def test_a_reserve_is_made_only_with_twice_its_size_free(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = Reserve(live, 8192)
    room(monkeypatch, 16_383)
    assert not reserve.make()
    assert not reserve.path.exists()
    room(monkeypatch, 16_384)
    assert reserve.make()
    assert reserve.held
    room(monkeypatch, 0)
    assert reserve.make()


def test_a_reserve_is_durable_and_for_the_gate_alone(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, before = durable_steps(monkeypatch), descriptors()
    assert Reserve(live, 8192).make()
    assert steps == ["sync r.db.reserve 8192"]
    assert live.with_name("r.db.reserve").stat().st_mode & 0o777 == 0o600
    assert descriptors() == before


def test_a_reserve_that_is_too_small_or_sparse_is_made_again(live: Path) -> None:
    reserve = Reserve(live, 8192)
    reserve.path.write_bytes(bytes(8191))
    assert not reserve.held
    os.truncate(reserve.path, 0)
    os.truncate(reserve.path, 8192)
    assert not reserve.held
    assert reserve.make()
    assert reserve.held
    reserve.path.write_bytes(bytes(8193))
    assert reserve.held
    os.truncate(reserve.path, 8192)
    os.truncate(reserve.path, 8200)
    assert not Reserve(live, 8200).held


def test_a_reserve_of_the_wrong_size_gives_its_room_back_before_room_is_asked_for(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Reserve(live, 4096).make()
    steps = durable_steps(monkeypatch)
    assert Reserve(live, 8192).make()
    assert steps == ["remove r.db.reserve", "sync r.db.reserve 8192"]


def test_a_reserve_of_one_byte_is_one(live: Path) -> None:
    assert Reserve(live, 1).make()
    assert Reserve(live, 1).release()


def test_a_reserve_the_disk_refuses_leaves_nothing(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    before = descriptors()
    monkeypatch.setattr(os, "posix_fallocate", fail)
    assert not Reserve(live, 8192).make()
    assert list(live.parent.iterdir()) == []
    assert descriptors() == before


def test_a_reserve_that_was_not_really_allocated_is_not_held(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", lambda descriptor, _offset, size: os.ftruncate(descriptor, size))
    assert not Reserve(live, 8192).make()


def test_no_reserve_is_always_held_and_never_given_back(live: Path) -> None:
    reserve = Reserve(live, 0)
    assert reserve.held
    assert reserve.make()
    assert not reserve.path.exists()
    reserve.path.write_bytes(b"left of an earlier setting")
    assert not reserve.release()
    assert not reserve.path.exists()


def test_a_reserve_is_given_back_for_want_of_room_only(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = Reserve(live, 8192)
    assert not reserve.release_for(FULL)
    reserve.make()
    room(monkeypatch, 8192)
    assert not reserve.release_for(OTHER)
    assert reserve.held
    room(monkeypatch, 8191)
    assert reserve.release_for(OTHER)
    assert not reserve.path.exists()
    room(monkeypatch, 10**9)
    assert reserve.make()
    assert reserve.release_for(FULL)
    assert not reserve.path.exists()


def test_a_reserve_that_cannot_be_removed_is_no_error(live: Path) -> None:
    reserve = Reserve(live, 8192)
    reserve.path.mkdir()
    assert reserve.release()


def test_a_reader_keeps_the_gate_out_and_twenty_times_at_most(live: Path) -> None:
    before = descriptors()
    lock = ReaderLock(live)
    assert PATIENCE == 20
    with reading(live):
        for _ in range(2):
            for _ in range(PATIENCE):
                with lock.kept_out() as free:
                    assert not free
            with lock.kept_out() as free:
                assert free
    with lock.kept_out() as free:
        assert free
        with lock_path(live).open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with lock_path(live).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.close()
    lock.close()
    assert descriptors() == before


def test_an_error_inside_lets_readers_in_again(live: Path) -> None:
    lock = ReaderLock(live)
    with pytest.raises(KeyError), lock.kept_out():
        raise KeyError
    with lock_path(live).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    lock.close()


def test_readers_do_not_keep_each_other_out_and_make_no_file(live: Path) -> None:
    with reading(live):
        assert not lock_path(live).exists()
    lock = ReaderLock(live)
    assert lock_path(live) == live.with_name("r.db.reading")
    assert lock_path(live).stat().st_mode & 0o444 == 0o444
    assert lock_path(live).stat().st_mode & 0o133 == 0
    before = descriptors()
    with reading(live), reading(live), lock.kept_out() as free:
        assert not free
    with pytest.raises(KeyError), reading(live):
        raise KeyError
    assert descriptors() == before
    lock.close()


def test_without_its_file_the_gate_is_always_free(tmp_path: Path) -> None:
    lock = ReaderLock(tmp_path / "none" / "r.db")
    with lock.kept_out() as free:
        assert free
    lock.close()


def seal(live: Path, first: int, last: int, wall_ns: int | None = None) -> Segment:
    """A sealed file after row `first - 1` that ends as its name says, with one event."""
    path = segment_path(live, first, last)
    with closing(connect(path)) as connection:
        create(connection, Anchor(first - 1, bytes([first]) * 32))
        values = (last, "k", "", "", "", 1, 1, 2, time.time_ns() if wall_ns is None else wall_ns, "", bytes([last]) * 32)
        connection.execute(f"INSERT INTO events VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608
    return Segment(path, first, last)


def export(segment: Segment) -> Path:
    file = segment.path.with_name("export.csv")
    file.write_bytes(b"rows" * 300_000)
    return mark_exported(segment, [file])


def test_a_marker_names_rows_hash_and_files_and_is_durable(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment, steps = seal(live, 1, 9), durable_steps(monkeypatch)
    path = export(segment)
    content = path.read_bytes()
    assert steps == [f"sync {path.name}.partial {len(content)}", f"rename {path.name}.partial {path.name}", f"sync {live.parent.name}"]
    assert content.endswith(b"}\n")
    digest = hashlib.sha256(b"rows" * 300_000).hexdigest()
    files = [{"name": "export.csv", "sha256": digest, "bytes": 1_200_000}]
    assert json.loads(content) == {"first": 1, "last": 9, "head": "09" * 32, "files": files}
    assert path == marker_path(segment) == segment.path.with_name(segment.path.name + ".exported")
    assert is_exported(segment)


@pytest.mark.parametrize("change", [{"head": "0" * 64}, {"first": 2}, {"last": 8}, {"files": []}, {"more": 1}])
def test_a_marker_that_says_anything_else_does_not_count(live: Path, change: dict[str, object]) -> None:
    segment = seal(live, 1, 9)
    path = export(segment)
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    assert not is_exported(segment)


@pytest.mark.parametrize("kind", [Marker, ExportedFile])
def test_a_marker_cannot_be_changed_and_is_given_by_name(kind: type[Marker | ExportedFile]) -> None:
    assert kind.__struct_config__.frozen
    assert kind.__match_args__ == ()


@pytest.mark.parametrize("more", [("marker",), ("file",)])
def test_a_marker_with_more_in_it_than_it_should_does_not_count(live: Path, more: tuple[str]) -> None:
    segment = seal(live, 1, 9)
    path = export(segment)
    content = json.loads(path.read_bytes())
    (content if more == ("marker",) else content["files"][0])["more"] = 1
    path.write_text(json.dumps(content))
    assert not is_exported(segment)


def test_no_marker_no_json_and_no_segment_are_not_exported(live: Path) -> None:
    segment = seal(live, 1, 9)
    assert not is_exported(segment)
    path = export(segment)
    segment.path.unlink()
    assert not is_exported(segment)
    path.write_bytes(b"{")
    assert not is_exported(segment)


def test_what_cannot_be_marked_is_a_storage_error(live: Path) -> None:
    segment = seal(live, 1, 9)
    with pytest.raises(StorageError, match="no file"):
        mark_exported(segment, [])
    with pytest.raises(StorageError, match="cannot be marked"):
        mark_exported(segment, [live.with_name("none")])
    segment.path.unlink()
    with pytest.raises(StorageError, match="cannot be read"):
        mark_exported(segment, [live])


def a_retention(live: Path, **storage: object) -> Retention:
    return Retention(live, StorageConfig(reserve_mb=0, alarm_mb=0, **storage))  # type: ignore[arg-type]


def test_how_a_deletion_is_worded_is_held_to_since_verify_looks_for_it() -> None:
    assert deletion_text(Anchor(12, bytes(32))) == f"deleted up to row 12, hash {'00' * 32}"
    assert (NS_PER_DAY, AGE_PAUSE_S) == (86_400 * 10**9, 600.0)


def test_the_row_of_a_deletion_is_durable_before_the_file_goes_and_its_marker_goes_last(
    live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = seal(live, 1, 9), seal(live, 10, 20)
    export(first)
    steps, rows = durable_steps(monkeypatch), []

    def write(text: str) -> bool:
        steps.append("row")
        rows.append(text)
        return True

    assert a_retention(live, keep_mb=0.001).step(Anchor(20, HASH), write) == ""
    assert steps == ["row", f"remove {first.path.name}", f"sync {live.parent.name}", f"remove {marker_path(first).name}"]
    # The hash is what the next file says it goes on from.
    start = f"deleted up to row 9, hash {'0a' * 32}: {first.path.name} from row 1, exported, "
    assert rows[0].startswith(start)
    assert rows[0].endswith("keep_mb is 0.001")
    assert [s.first for s in segments_of(live)] == [10]


def test_after_the_last_sealed_file_the_live_ones_anchor_is_named(live: Path) -> None:
    seal(live, 1, 9)
    rows: list[str] = []
    retention = a_retention(live, keep_mb=0.001, exported_only=False)
    assert retention.step(Anchor(9, HASH), lambda text: rows.append(text) or True) == ""
    assert rows[0].startswith(f"deleted up to row 9, hash {HASH.hex()}: ")
    assert "from row 1, not exported, 0 MiB of sealed records" in rows[0]
    assert retention.step(Anchor(9, HASH), pytest.fail) == ""


def test_a_row_that_cannot_be_written_keeps_the_file_without_an_alarm(live: Path) -> None:
    seal(live, 1, 9, 0)
    for change in ({"keep_mb": 0.001}, {"keep_days": 1}):
        retention = a_retention(live, exported_only=False, **change)
        assert retention.step(Anchor(9, HASH), lambda _text: False) == ""
        assert len(segments_of(live)) == 1
    assert retention.step(Anchor(9, HASH), lambda _text: True) == ""
    assert segments_of(live) == []


def test_what_was_not_exported_stays_and_the_reason_is_told(live: Path) -> None:
    segment = seal(live, 1, 9)
    why = a_retention(live, keep_mb=0.001).step(Anchor(9, HASH), pytest.fail)
    assert why.startswith(f"{segment.path.name} should be deleted (0 MiB of sealed records")
    assert segment.path.exists()


def test_files_go_by_size_only_above_the_limit(live: Path) -> None:
    size = sum(seal(live, first, first + 8).path.stat().st_size for first in (1, 10))
    assert a_retention(live, keep_mb=size / MIB, exported_only=False).step(Anchor(18, HASH), pytest.fail) == ""
    assert a_retention(live, keep_mb=(size - 1) / MIB, exported_only=False).step(Anchor(18, HASH), lambda _text: True) == ""
    assert [s.first for s in segments_of(live)] == [10]


def test_without_limits_nothing_is_ever_deleted(live: Path) -> None:
    seal(live, 1, 9, 0)
    assert a_retention(live, exported_only=False).step(Anchor(9, HASH), pytest.fail) == ""


@pytest.mark.parametrize(("age_s", "goes"), [(-30, False), (30, True)])
def test_files_go_by_the_age_of_their_newest_row(live: Path, age_s: float, goes: bool) -> None:
    segment = seal(live, 1, 9, time.time_ns() - 2 * NS_PER_DAY - int(age_s * 1e9))
    older = "3, 's', 1, '', '', '', '', NULL, 2, 0, '', x''"
    with closing(sqlite3.connect(segment.path)) as connection, connection:
        connection.execute(f"INSERT INTO dispositions VALUES ({older})")  # noqa: S608
    rows: list[str] = []
    a_retention(live, keep_days=2, exported_only=False).step(Anchor(9, HASH), lambda text: rows.append(text) or True)
    assert segment.path.exists() is not goes
    assert [text.rpartition(", ")[0].endswith("older than keep_days") for text in rows] == [True] * goes


@pytest.mark.parametrize(("age_ns", "goes"), [(NS_PER_DAY, False), (NS_PER_DAY + 1, True)])
def test_the_oldest_file_goes_once_it_is_older_than_the_limit(live: Path, monkeypatch: pytest.MonkeyPatch, age_ns: int, goes: bool) -> None:
    now_ns = 1_800_000_000 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    old, _ = seal(live, 1, 9, now_ns - age_ns), seal(live, 10, 18, now_ns)
    a_retention(live, keep_days=1, exported_only=False).step(Anchor(18, HASH), lambda _text: True)
    assert old.path.exists() is not goes


def test_by_age_one_file_goes_in_ten_minutes(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for first in (1, 10, 19):
        seal(live, first, first + 8, 0)
    retention = a_retention(live, keep_days=1, exported_only=False)
    now_s = [1_000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    left = []
    for at_s in (1_000.0, 1_001.0, 1_599.9, 1_600.0, 1_600.1):
        now_s[0] = at_s
        assert retention.step(Anchor(27, HASH), lambda _text: True) == ""
        left.append(len(segments_of(live)))
    assert left == [2, 2, 2, 1, 1]


def test_by_size_files_go_one_after_the_other(live: Path) -> None:
    for first in (1, 10, 19):
        seal(live, first, first + 8, 0)
    retention = a_retention(live, keep_mb=0.001, exported_only=False)
    for left in (2, 1):
        assert retention.step(Anchor(27, HASH), lambda _text: True) == ""
        assert len(segments_of(live)) == left


def test_a_file_that_cannot_be_read_is_young(live: Path) -> None:
    segment = seal(live, 1, 9, 0)
    segment.path.write_bytes(b"no database" * 99)
    assert a_retention(live, keep_days=1, exported_only=False).step(Anchor(9, HASH), pytest.fail) == ""


def test_a_file_without_rows_is_young(live: Path) -> None:
    segment = seal(live, 1, 9, 0)
    with closing(sqlite3.connect(segment.path)) as connection, connection:
        connection.execute("DELETE FROM events")
    assert a_retention(live, keep_days=1, exported_only=False).step(Anchor(9, HASH), pytest.fail) == ""


def test_a_deletion_that_fails_is_a_storage_error_and_names_the_file(live: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = seal(live, 1, 9)
    export(segment)

    def fail(_path: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system", missing_ok)

    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(StorageError, match="cannot be deleted"):
        a_retention(live, keep_mb=0.001).step(Anchor(9, HASH), lambda _text: True)


def test_a_next_file_that_cannot_be_read_keeps_the_oldest(live: Path) -> None:
    seal(live, 1, 9)
    seal(live, 10, 20).path.write_bytes(b"no database" * 999)
    with pytest.raises(StorageError, match="cannot be read"):
        a_retention(live, keep_mb=0.001, exported_only=False).step(Anchor(20, HASH), pytest.fail)


class Files:
    """In the store's place: what the keeper asks of it, and what it did."""

    def __init__(self, path: Path) -> None:
        self.path, self.anchor = path, Anchor(0, bytes(32))
        self.bytes, self.open_cases, self.waits = 0, 0, False
        self.done: list[str] = []

    def used_bytes(self) -> int:
        return self.bytes

    def checkpoint(self) -> None:
        self.done.append("checkpoint")

    def rotate(self) -> Segment | None:
        self.done.append("rotate")
        return None if self.waits else Segment(self.path, 1, 1)


class Kept:
    """A keeper of such files, with its rows."""

    def __init__(self, path: Path, **storage: object) -> None:
        self.files, self.rows, self.writes = Files(path), [], True
        settings = {"segment_mb": 1, "reserve_mb": 0, "alarm_mb": 10, "keep_mb": 0.001, "exported_only": False, **storage}
        self.keeper = Keeper(self.files, StorageConfig(**settings), self.write)  # type: ignore[arg-type]

    def write(self, row: EventRow) -> bool:
        self.rows.append(f"{row.kind} {row.reason} {row.detail}")
        return self.writes

    def tidy(self, used: float, *, quiet: bool) -> list[str]:
        self.files.bytes = int(used)
        self.files.done.clear()
        self.keeper.tidy(quiet=quiet)
        return list(self.files.done)


@pytest.mark.parametrize(
    ("used", "quiet", "seals"), [(MIB - 1, True, False), (MIB, True, True), (2 * MIB - 1, False, False), (2 * MIB, False, True)]
)
def test_a_file_is_sealed_at_its_size_when_quiet_and_at_twice_the_size_anyway(live: Path, used: int, quiet: bool, seals: bool) -> None:
    assert Kept(live).tidy(used, quiet=quiet) == ["checkpoint"] + ["rotate"] * seals


def test_a_file_that_is_due_is_sealed_as_soon_as_no_trigger_is_open_and_once(live: Path) -> None:
    kept = Kept(live)
    assert not kept.keeper.seal()
    kept.files.open_cases = 1
    assert kept.tidy(2 * MIB, quiet=False) == ["checkpoint"]
    assert not kept.keeper.seal()
    kept.files.open_cases, kept.files.waits = 0, True
    assert not kept.keeper.seal()
    assert kept.files.done == ["checkpoint", "rotate"]
    kept.files.waits = False
    assert kept.keeper.seal()
    assert not kept.keeper.seal()
    assert kept.files.done == ["checkpoint", "rotate", "rotate"]
    assert kept.tidy(10, quiet=True) == ["checkpoint"]


def test_old_files_go_when_quiet_or_when_one_was_sealed(live: Path) -> None:
    for first in (1, 10, 19):
        seal(live, first, first + 8)
    kept = Kept(live)
    kept.tidy(10, quiet=False)
    assert len(segments_of(live)) == 3
    kept.tidy(10, quiet=True)
    assert len(segments_of(live)) == 2
    kept.tidy(MIB, quiet=True)
    assert len(segments_of(live)) == 1
    assert [row[:33] for row in kept.rows] == ["retention  deleted up to row 9, h", "retention  deleted up to row 18, "]


@pytest.mark.parametrize("error", [OSError(5, "x"), StorageError("x", remedy="none")])
def test_a_retention_that_fails_is_an_alarm(live: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    kept = Kept(live)

    def fail(*_arguments: object) -> str:
        raise error

    monkeypatch.setattr(Retention, "step", fail)
    kept.tidy(10, quiet=True)
    kept.tidy(10, quiet=True)
    assert kept.rows == [f"retention ALARM {error}"]
    monkeypatch.setattr(Retention, "step", lambda *_arguments: "")
    kept.tidy(10, quiet=True)
    kept.tidy(10, quiet=True)
    assert kept.rows[1:] == ["retention  the alarm is over"]


def test_free_space_is_looked_at_every_ten_seconds_and_an_alarm_repeated_every_ten_minutes(
    live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s, free = [0.0], [10 * MIB - 1]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr("edge.gate.keeper.free_bytes", lambda _folder: free[0])
    kept = Kept(live)
    counts = []
    for at_s in (0.0, 9.5, 10.0, 589.5, 599.5, 609.0, 609.5, 1_199.5, 1_209.5):
        now_s[0] = at_s
        kept.keeper.look()
        counts.append(len(kept.rows))
    assert counts == [1, 1, 1, 1, 1, 1, 2, 2, 3]
    assert kept.rows[0] == "disk ALARM 10 MiB free for records, alarm_mb is 10"
    assert (LOOK_S, REPEAT_S) == (10.0, 600.0)
    free[0] = 10 * MIB
    now_s[0] = 1_300.0
    kept.keeper.look()
    assert kept.rows[-1] == "disk  the alarm is over"


def test_an_event_of_the_records_carries_one_time() -> None:
    before_ns = time.monotonic_ns()
    row = event("disk", "ALARM", "text")
    assert (row.kind, row.reason, row.detail, row.camera, row.count) == ("disk", "ALARM", "text", "", 1)
    assert before_ns <= row.first_ns == row.at_ns <= time.monotonic_ns()
