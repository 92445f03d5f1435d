import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from test_records import a_disposition, a_store, a_trigger, a_verdict, an_event, filled, wait_for
from test_records_segments import fill, segmented

import edge.gate.keeper as keeper_module
import edge.gate.retention as retention_module
from edge.config import StorageConfig
from edge.errors import ChainError, ConfigError, StorageError
from edge.gate.audit import read_part, verify_chain
from edge.gate.disk import MIB, Reserve, free_bytes
from edge.gate.exported import is_exported, mark_exported, marker_path
from edge.gate.keeper import Keeper, event
from edge.gate.quarantine import open_records
from edge.gate.records import Back, Failed, Noted, Recorder
from edge.gate.records_cli import records_main
from edge.gate.rows import EventRow
from edge.gate.segments import segments_of
from edge.gate.store import Store

SMALL = StorageConfig(segment_mb=0.05, reserve_mb=0, alarm_mb=0)


def events(path: Path, kind: str) -> list[str]:
    connection = sqlite3.connect(path)
    found = [f"{reason} {detail}" for reason, detail in connection.execute("SELECT reason, detail FROM events WHERE kind = ?", (kind,))]
    connection.close()
    return found


def a_keeper(store: Store, **changes: object) -> Keeper:
    def write(row: EventRow) -> bool:
        store.commit([store.stamp(row, time.time_ns())])
        return True

    return Keeper(store, msgspec.structs.replace(SMALL, **changes), write)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Three sealed files and a live one."""
    segmented(tmp_path / "r.db")
    store = a_store(tmp_path / "r.db")
    yield store
    store.close()


def export(store: Store, index: int) -> None:
    file = store.path.with_name(f"export{index}.csv")
    file.write_text("rows")
    mark_exported(segments_of(store.path)[index], [file])


def test_a_full_file_is_sealed_in_a_quiet_moment_and_a_very_full_one_between_triggers(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    keeper = a_keeper(store)
    fill(store, 1, 50)
    keeper.tidy(quiet=False)
    assert SMALL.segment_mb * MIB <= store.used_bytes() < 2 * SMALL.segment_mb * MIB
    keeper.tidy(quiet=False)
    assert segments_of(store.path) == []
    keeper.tidy(quiet=True)
    assert len(segments_of(store.path)) == 1
    fill(store, 51, 250)
    keeper.tidy(quiet=False)
    assert len(segments_of(store.path)) == 2
    store.close()
    assert verify_chain(store.path).rows == 750


def test_the_recorder_seals_while_it_writes(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    recorder = Recorder(a_store(path), storage=SMALL)
    until, sequence = time.monotonic() + 20, 0
    while len(segments_of(path)) < 2:
        assert time.monotonic() < until
        for _ in range(100):
            sequence += 1
            recorder.submit((a_trigger(sequence), a_verdict(sequence), a_disposition(sequence)))
        recorder.checkpoint(quiet=True)
        time.sleep(0.1)
    assert recorder.close()
    assert verify_chain(path).rows == 3 * sequence
    assert len(read_part(path, "P1")) == sequence


def test_a_line_that_is_never_quiet_is_sealed_right_after_a_disposition(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    recorder = Recorder(a_store(path), storage=SMALL)
    recorder.submit([an_event(number) for number in range(150)])
    until, sequence = time.monotonic() + 10, 0
    while not segments_of(path):
        assert time.monotonic() < until
        sequence += 1
        recorder.submit((a_trigger(sequence), a_verdict(sequence)))
        recorder.checkpoint()
        time.sleep(0.05)
        recorder.submit((a_disposition(sequence),))
        time.sleep(0.05)
    assert recorder.close()
    assert verify_chain(path).rows == 150 + 3 * sequence


def test_nothing_is_deleted_unless_it_was_asked_for(store: Store) -> None:
    export(store, 0)
    a_keeper(store).tidy(quiet=True)
    assert len(segments_of(store.path)) == 3


def test_the_oldest_exported_file_goes_and_a_row_says_so(store: Store) -> None:
    export(store, 0)
    export(store, 1)
    export(store, 2)
    keeper = a_keeper(store, keep_mb=0.01)
    oldest = segments_of(store.path)[0]
    keeper.tidy(quiet=True)
    assert not oldest.path.exists()
    assert not marker_path(oldest).exists()
    (text,) = events(store.path, "retention")
    assert "deleted up to row 12, hash " in text
    assert oldest.path.name in text
    report = verify_chain(store.path)
    assert (report.first, report.rows) == (13, 28)
    keeper.tidy(quiet=True)
    keeper.tidy(quiet=True)
    keeper.tidy(quiet=True)
    assert segments_of(store.path) == []
    assert verify_chain(store.path).first == 37


def test_a_file_that_was_not_exported_stays_and_an_alarm_says_so_once(store: Store) -> None:
    export(store, 1)
    keeper = a_keeper(store, keep_mb=0.01, keep_days=0.000001)
    for _ in range(3):
        keeper.tidy(quiet=True)
    assert len(segments_of(store.path)) == 3
    (text,) = events(store.path, "retention")
    assert text.startswith("ALARM r-000000000001-000000000012.db should be deleted")
    export(store, 0)
    keeper.tidy(quiet=True)
    assert len(segments_of(store.path)) == 2
    assert events(store.path, "retention")[-1] == " the alarm is over"


def test_without_exported_only_old_files_go_by_size_and_by_age_but_not_all_at_once_by_age(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = a_keeper(store, keep_days=1, exported_only=False)
    for _ in range(3):
        keeper.tidy(quiet=True)
    assert [segment.first for segment in segments_of(store.path)] == [13, 25]
    monkeypatch.setattr(retention_module, "AGE_PAUSE_S", 0.0)
    keeper.tidy(quiet=True)
    assert [segment.first for segment in segments_of(store.path)] == [25]
    assert verify_chain(store.path).first == 25


def test_a_young_file_is_not_old(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    store.commit([store.stamp(row, time.time_ns()) for row in (a_trigger(1), a_verdict(1), a_disposition(1))])
    store.rotate()
    a_keeper(store, keep_days=1, exported_only=False).tidy(quiet=True)
    assert len(segments_of(store.path)) == 1
    store.close()


def test_the_row_is_durable_before_the_file_goes(store: Store) -> None:
    keeper = Keeper(store, msgspec.structs.replace(SMALL, keep_mb=0.01, exported_only=False), lambda _row: False)
    keeper.tidy(quiet=True)
    assert len(segments_of(store.path)) == 3


def test_a_power_cut_between_row_and_deletion_is_harmless(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = a_keeper(store, keep_mb=0.01, exported_only=False)
    monkeypatch.setattr(Path, "unlink", lambda *_a, **_k: (_ for _ in ()).throw(OSError(5, "cut")))
    keeper.tidy(quiet=True)
    monkeypatch.undo()
    assert verify_chain(store.path).first == 1
    keeper.tidy(quiet=True)
    assert verify_chain(store.path).first == 13
    assert [text.startswith("ALARM") for text in events(store.path, "retention")] == [False, True, False, False]


def test_deleting_the_row_of_a_deletion_shows(store: Store) -> None:
    a_keeper(store, keep_mb=0.01, exported_only=False).tidy(quiet=True)
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("DELETE FROM events WHERE kind = 'retention'")
    connection.commit()
    connection.close()
    with pytest.raises(ChainError, match="no row says that retention deleted them"):
        verify_chain(store.path)


def test_a_marker_counts_only_for_the_rows_and_the_hash_it_names(store: Store) -> None:
    first, second, _ = segments_of(store.path)
    file = store.path.with_name("export.parquet")
    file.write_bytes(b"rows" * 100)
    path = mark_exported(first, [file])
    content = json.loads(path.read_bytes())
    assert sorted(content) == ["files", "first", "head", "last"]
    assert content["files"][0]["bytes"] == 400
    assert is_exported(first)
    assert not is_exported(second)
    for change in ({"head": "0" * 64}, {"first": 2}, {"last": 13}, {"files": []}, {"more": 1}):
        path.write_text(json.dumps({**content, **change}))
        assert not is_exported(first), change
    path.write_text("{")
    assert not is_exported(first)
    path.write_text(json.dumps(content))
    assert is_exported(first)
    marker_path(second).write_text(json.dumps(content))
    assert not is_exported(second)
    with pytest.raises(StorageError, match="cannot be marked"):
        mark_exported(first, [file.with_name("none")])
    with pytest.raises(StorageError, match="no file"):
        mark_exported(first, [])


def test_a_file_changed_after_its_export_is_not_deleted(store: Store) -> None:
    export(store, 0)
    connection = sqlite3.connect(segments_of(store.path)[0].path)
    connection.execute("DELETE FROM dispositions WHERE id = 12")
    connection.commit()
    connection.close()
    a_keeper(store, keep_mb=0.01).tidy(quiet=True)
    assert len(segments_of(store.path)) == 3


def test_little_space_is_an_alarm_now_and_every_ten_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 10
    monkeypatch.setattr(keeper_module, "free_bytes", lambda _folder: free * MIB)
    monkeypatch.setattr(keeper_module, "LOOK_S", 0.0)
    store = a_store(tmp_path / "r.db")
    keeper = a_keeper(store, alarm_mb=20)
    for _ in range(5):
        keeper.look()
    assert events(store.path, "disk") == ["ALARM 10 MiB free for records, alarm_mb is 20"]
    monkeypatch.setattr(keeper_module, "REPEAT_S", 0.0)
    keeper.look()
    assert len(events(store.path, "disk")) == 2
    free = 30
    keeper.look()
    keeper.look()
    assert events(store.path, "disk")[2:] == [" the alarm is over"]
    store.close()


def test_the_recorder_notes_its_alarms_for_the_log(tmp_path: Path) -> None:
    recorder = Recorder(a_store(tmp_path / "r.db"), storage=StorageConfig(reserve_mb=0, alarm_mb=2**30))
    recorder.submit((an_event(1),))
    (noted,) = (result for result in wait_for(recorder, Noted) if isinstance(result, Noted))
    assert "disk ALARM" in noted.text
    assert recorder.close()


def test_a_reserve_is_really_allocated(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "r.db", 3 * MIB)
    assert not reserve.held
    assert reserve.make()
    assert reserve.path.stat().st_blocks * 512 >= 3 * MIB
    os.truncate(reserve.path, 0)
    os.truncate(reserve.path, 3 * MIB)
    assert not reserve.held
    assert reserve.make()
    assert reserve.release()
    assert not reserve.release()
    assert not Reserve(tmp_path / "r.db", 2**50).make()
    assert not reserve.path.exists()


def test_without_its_reserve_the_recorder_writes_but_nothing_may_be_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.db"
    free = 1
    monkeypatch.setattr("edge.gate.disk.free_bytes", lambda _folder: free * MIB)
    recorder = Recorder(a_store(path), storage=StorageConfig(reserve_mb=1, alarm_mb=0), retry_s=0.05)
    (failed,) = recorder.results()
    assert isinstance(failed, Failed)
    assert failed.ticket is None
    recorder.submit((a_trigger(1),))
    time.sleep(0.3)
    assert not any(isinstance(result, Back) for result in recorder.results())
    assert verify_chain(path).rows == 1
    free = 100
    wait_for(recorder, Back)
    assert Reserve(path, MIB).held
    assert recorder.close()


def fill_the_disk(mounted: Path) -> None:
    """In a process of its own, whose small file system ends with it."""
    path = mounted / "r.db"
    recorder = Recorder(a_store(path), storage=StorageConfig(reserve_mb=2, alarm_mb=0), retry_s=0.05)
    assert recorder.results() == []
    filler = mounted / "filler"
    filler.write_bytes(bytes(free_bytes(mounted) - 65_536))
    found: list[object] = []
    sequence = 0
    while not any(isinstance(result, Failed) for result in found):
        sequence += 1
        recorder.submit((a_trigger(sequence), *(an_event(number) for number in range(100))))
        time.sleep(0.01)
        found += recorder.results()
        assert sequence < 1_000
    time.sleep(0.3)
    found += recorder.results()
    assert not any(isinstance(result, Back) for result in found)
    assert not Reserve(path, 2 * MIB).held
    recorder.submit((a_trigger(sequence + 1),))
    until = time.monotonic() + 30
    while verify_chain(path).rows != sequence * 101 + 1:
        assert time.monotonic() < until
        time.sleep(0.05)
    filler.unlink()
    wait_for(recorder, Back, 30)
    assert Reserve(path, 2 * MIB).held
    assert recorder.close()
    assert verify_chain(path).rows == sequence * 101 + 1


@pytest.mark.parametrize("what", ["fill_the_disk", "start_on_a_full_disk"])
def test_a_full_disk_takes_the_reserve_and_gives_it_back_before_anything_is_accepted(tmp_path: Path, what: str) -> None:
    own_mounts = ["unshare", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*own_mounts, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    code = f"import sys; sys.path[:0] = {sys.path!r}; from test_records_storage import *; {what}(Path(sys.argv[1]))"
    script = 'mount -t tmpfs -o size=12m none "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        [*own_mounts, "sh", "-c", script, "sh", str(tmp_path), sys.executable, code], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def start_on_a_full_disk(mounted: Path) -> None:
    """In a process of its own, whose small file system ends with it."""
    path, storage = mounted / "r.db", StorageConfig(reserve_mb=3, alarm_mb=0)
    filled(path)
    assert Reserve(path, 3 * MIB).make()
    filler = mounted / "filler"
    filler.write_bytes(bytes(free_bytes(mounted)))
    store, _, damage = open_records(path, boot="boot", config="c", storage=storage)
    assert (store.number, damage) == (15, "")
    recorder = Recorder(store, storage=storage, retry_s=0.05)
    assert isinstance(recorder.results()[0], Failed)
    recorder.submit((a_trigger(99),))
    time.sleep(0.2)
    assert not any(isinstance(result, Back) for result in recorder.results())
    filler.unlink()
    wait_for(recorder, Back, 30)
    assert recorder.close()
    assert verify_chain(path).rows == 16


@pytest.mark.parametrize("change", [{"segment_mb": 0}, {"keep_days": -1}, {"reserve_mb": float("nan")}, {"alarm_mb": -1}, {"keep_mb": -1}])
def test_impossible_storage_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"gate\.storage"):
        StorageConfig(**change)


def test_an_event_of_the_records_has_no_camera() -> None:
    assert (event("disk", "ALARM", "x").camera, event("disk", "ALARM", "x").count) == ("", 1)


def test_the_command_lists_the_files(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    export(store, 0)
    assert records_main(["list", "--records", str(store.path)]) == 0
    first, second, _, live = capsys.readouterr().out.splitlines()
    assert first.startswith("r-000000000001-000000000012.db  rows 1 to 12 (12)")
    assert first.endswith("1970-01-01T00:00:00Z to 1970-01-01T00:00:00Z  exported")
    assert second.endswith("not exported")
    assert live.endswith("live")
    assert records_main(["verify", str(store.path)]) == 0
    assert "(4 files)" in capsys.readouterr().out
