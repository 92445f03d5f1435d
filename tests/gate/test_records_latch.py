import os
import select
import sqlite3
import time
from pathlib import Path

import pytest
from test_records import a_store, a_trigger, filled, wait_for

from edge.errors import DamagedError, StorageError
from edge.gate.audit import verify_chain
from edge.gate.database import is_damage
from edge.gate.latch import Latch
from edge.gate.quarantine import open_records
from edge.gate.records import Acknowledged, Latched, Recorder
from edge.gate.records_cli import records_main


def rows_of(path: Path, kind: str) -> list[str]:
    connection = sqlite3.connect(path)
    found = [row[0] for row in connection.execute("SELECT detail FROM events WHERE kind = ? ORDER BY id", (kind,))]
    connection.close()
    return found


def opened(path: Path) -> str:
    store, _, damage = open_records(path, boot="boot", config="c")
    store.close()
    return damage


def test_a_latch_is_durable_survives_a_restart_and_ends_with_a_row_that_names_the_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.db"
    recorder = Recorder(a_store(path))
    recorder.latch("the robot accepted a rejected part")
    assert wait_for(recorder, Latched) == [Latched(("the robot accepted a rejected part",))]
    assert recorder.close()
    assert Latch(path).reasons() == ["the robot accepted a rejected part"]

    recorder = Recorder(a_store(path))
    assert recorder.results() == [Latched(("the robot accepted a rejected part",))]
    time.sleep(0.7)
    assert recorder.results() == []
    assert records_main(["acknowledge", "--records", str(path)]) == 0
    assert "acknowledged: the robot accepted" in capsys.readouterr().out
    assert wait_for(recorder, Acknowledged)[-1] == Acknowledged()
    assert recorder.close()
    (text,) = rows_of(path, "latch")
    assert f"uid {os.getuid()}" in text
    assert "the robot accepted a rejected part" in text
    assert sorted(file.name for file in tmp_path.iterdir() if "latch" in file.name or "acknow" in file.name) == []


def test_an_acknowledgement_that_crosses_a_new_reason_frees_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    latch = Latch(path)
    latch.set("first")
    recorder = Recorder(a_store(path))
    assert recorder.results() == [Latched(("first",))]
    latch.acknowledge("somebody")
    until = time.monotonic() + 5
    while not any(type(result).__name__ == "_Freed" for result in list(recorder._results)):
        assert time.monotonic() < until
        time.sleep(0.01)
    recorder.latch("second")
    assert not any(isinstance(result, Acknowledged) for result in recorder.results())
    assert recorder.close()
    assert latch.reasons() == ["second"]


def test_a_reason_set_while_somebody_read_the_others_stays(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    latch = Latch(path)
    latch.set("first")
    recorder = Recorder(a_store(path))
    recorder.latch("second")
    until = time.monotonic() + 5
    while latch.reasons() != ["first", "second"]:
        assert time.monotonic() < until
        time.sleep(0.01)
    latch.path.write_text("first\n")
    latch.acknowledge("somebody")
    until = time.monotonic() + 5
    while latch.reasons() != ["second"]:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert not any(isinstance(result, Acknowledged) for result in recorder.results())
    latch.acknowledge("somebody")
    wait_for(recorder, Acknowledged)
    assert recorder.close()


def test_an_acknowledgement_while_no_gate_runs_is_recorded_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    latch = Latch(path)
    latch.set("noise")
    latch.acknowledge("uid 7")
    recorder = Recorder(a_store(path))
    until = time.monotonic() + 5
    while latch.note_path.exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    assert not any(isinstance(result, Latched | Acknowledged) for result in recorder.results())
    assert recorder.close()
    assert rows_of(path, "latch") == ["acknowledged by uid 7: noise"]


def test_nothing_to_acknowledge_is_said_and_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert records_main(["acknowledge", "--records", str(tmp_path / "r.db")]) == 0
    assert "nothing to acknowledge" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_latch_that_cannot_be_written_is_kept_in_memory_and_written_later(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    latch = Latch(path)
    latch.path.mkdir()
    recorder = Recorder(a_store(path))
    recorder.results()
    recorder.latch("why")
    time.sleep(0.2)
    latch.path.rmdir()
    until = time.monotonic() + 5
    while latch.reasons() != ["why"]:
        assert time.monotonic() < until
        select.select([recorder], [], [], 0.05)
        assert not any(isinstance(result, Acknowledged) for result in recorder.results())
    assert recorder.close()


@pytest.mark.parametrize(
    ("at", "damage"),
    [
        (4096, b"this is no database" * 300),
        (0, b"this is no database"),
        (18, b"\x03"),
        (18, b"\x03\x03"),
        (47, b"\x09"),
        (59, b"\x02"),
        (60, b"\x00\x00\x00\x01"),
    ],
)
def test_a_damaged_file_is_put_aside_at_start_and_latches(tmp_path: Path, at: int, damage: bytes) -> None:
    path = tmp_path / "r.db"
    filled(path, 50)
    content = bytearray(path.read_bytes())
    content[at : at + len(damage)] = damage
    path.write_bytes(content)
    with pytest.raises(DamagedError):
        a_store(path)
    assert opened(path)
    (aside,) = tmp_path.glob("*quarantined*")
    assert aside.stat().st_size == len(content)
    (text,) = rows_of(path, "records")
    assert aside.name in text
    (reason,) = Latch(path).reasons()
    assert reason.startswith("records: ")
    assert opened(path) == ""


def test_a_cut_off_or_edited_file_is_put_aside_at_start(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    filled(path, 50)
    path.write_bytes(path.read_bytes()[:-5000])
    assert opened(path)
    filled(path, 50)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE verdicts SET outcome = 'ACCEPT', score = 0.1 WHERE sequence = 50")
    connection.commit()
    connection.close()
    assert "changed" in opened(path)
    assert len(list(tmp_path.glob("*quarantined*"))) == 2
    assert verify_chain(path).rows == 1
    assert len(Latch(path).reasons()) == 2


def test_a_file_of_another_release_is_put_aside_but_never_that_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    assert "another release" in opened(path)
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE verdicts ADD COLUMN colour TEXT")
    connection.close()
    assert "another release" in opened(path)
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE songs (name TEXT)")
    connection.close()
    before = other.read_bytes()
    with pytest.raises(StorageError, match="not a record file of Cordon"):
        open_records(other, boot="boot", config="c")
    assert other.read_bytes()[100:] == before[100:]
    assert not Latch(other).reasons()


def test_a_file_that_may_not_be_written_is_not_damaged(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("attempt to write a readonly database")
    path = tmp_path / "r.db"
    assert not is_damage(error, path)
    path.write_bytes(b"")
    assert is_damage(error, path)


def test_a_file_in_use_stops_the_gate_and_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    store = a_store(path)
    with pytest.raises(StorageError, match="another gate"):
        open_records(path, boot="boot", config="c")
    store.commit([store.stamp(a_trigger(1), 7)])
    store.close()
    assert not list(tmp_path.glob("*quarantined*"))
    assert not Latch(path).reasons()


def test_a_folder_in_the_files_place_stops_the_gate(tmp_path: Path) -> None:
    (tmp_path / "r.db").mkdir()
    with pytest.raises(StorageError, match="Check free space, rights"):
        open_records(tmp_path / "r.db", boot="boot", config="c")
    assert not list(tmp_path.glob("*quarantined*"))
