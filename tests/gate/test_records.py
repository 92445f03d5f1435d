import resource
import select
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from edge.contract import TriggerId
from edge.errors import ChainError, StorageError
from edge.gate.audit import read_part, verify_chain
from edge.gate.case import Ticket
from edge.gate.quarantine import quarantine
from edge.gate.records import Back, Durable, Failed, Recorder, Result
from edge.gate.records_cli import records_main
from edge.gate.rows import DispositionRow, EventRow, TriggerRow, VerdictRow
from edge.gate.store import Store

SESSION = "0123456789abcdef"


def a_trigger(sequence: int, part: str = "P1") -> TriggerRow:
    return TriggerRow(session=SESSION, sequence=sequence, part=part, weld="W1", typology=None, opened_by="trigger", opened_ns=5)


def a_verdict(sequence: int, **changes: object) -> VerdictRow:
    row = VerdictRow(
        session=SESSION,
        sequence=sequence,
        part="P1",
        weld="W1",
        typology="T2",
        outcome="ACCEPT",
        reason="OK",
        detail="",
        score=0.25,
        threshold=0.5,
        members="[0.25]",
        opened_ns=5,
        decided_ns=9,
    )
    return msgspec.structs.replace(row, **changes)


def a_disposition(sequence: int) -> DispositionRow:
    return DispositionRow(
        session=SESSION, sequence=sequence, sent="ACCEPT", sent_reason="OK", done="ACCEPTED", detail="", sent_ns=10, closed_ns=11
    )


def an_event(number: int) -> EventRow:
    return EventRow(kind="frame", reason="FRAME_GAP", detail="x" * 1_000, camera="cam0", count=number, first_ns=1, at_ns=2)


def a_store(path: Path) -> Store:
    return Store(path, boot="boot", config="c" * 64)


def filled(path: Path, triggers: int = 5) -> None:
    store = a_store(path)
    for sequence in range(1, triggers + 1):
        store.commit([store.stamp(row, 7) for row in (a_trigger(sequence), a_verdict(sequence), a_disposition(sequence))])
    store.close()


def wait_for(recorder: Recorder, kind: type, timeout_s: float = 10.0) -> list[Result]:
    found: list[Result] = []
    until = time.monotonic() + timeout_s
    while not any(isinstance(result, kind) for result in found):
        assert time.monotonic() < until, found
        select.select([recorder], [], [], 0.05)
        found += recorder.results()
    return found


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Writes beyond `size` fail in this process, as on a full disk (Python ignores the signal and sees the error)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_rows_come_back_and_the_chain_is_whole(tmp_path: Path) -> None:
    filled(tmp_path / "r.db")
    report = verify_chain(tmp_path / "r.db")
    assert report.rows == 15
    (first, *_) = read_part(tmp_path / "r.db", "P1")
    assert (first["part"], first["verdict.score"], first["disposition.done"], first["verdict.config"]) == ("P1", 0.25, "ACCEPTED", "c" * 64)


def test_a_store_opened_again_goes_on_with_the_chain(tmp_path: Path) -> None:
    filled(tmp_path / "r.db", 2)
    store = a_store(tmp_path / "r.db")
    assert store.number == 6
    store.commit([store.stamp(a_trigger(3), 7)])
    store.close()
    assert verify_chain(tmp_path / "r.db").rows == 7


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ("UPDATE verdicts SET outcome = 'REJECT' WHERE sequence = 3", 8),
        ("UPDATE verdicts SET score = 0.250001 WHERE sequence = 1", 2),
        ("UPDATE triggers SET part = 'P2' WHERE sequence = 2", 4),
        ("DELETE FROM dispositions WHERE sequence = 2", 6),
        ("UPDATE events SET id = 99", None),
        ("UPDATE dispositions SET hash = x'00' WHERE sequence = 5", 15),
    ],
)
def test_a_changed_or_removed_row_is_named(tmp_path: Path, change: str, row: int | None) -> None:
    filled(tmp_path / "r.db")
    connection = sqlite3.connect(tmp_path / "r.db")
    connection.execute(change)
    connection.commit()
    connection.close()
    if row is None:
        assert verify_chain(tmp_path / "r.db").rows == 15
        return
    with pytest.raises(ChainError, match=f"row {row} "):
        verify_chain(tmp_path / "r.db")
    with pytest.raises(ChainError, match=f"row {row} "):
        a_store(tmp_path / "r.db")


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 1, 0, -0.0, 1e-320])
def test_odd_numbers_and_texts_do_not_break_the_chain(tmp_path: Path, score: float) -> None:
    store = a_store(tmp_path / "r.db")
    rows = [a_trigger(1), a_verdict(1, score=score, counter=2**64, detail="ü\x00\n\ud800" * 900)]
    store.commit([store.stamp(row, 7) for row in rows])
    store.close()
    assert verify_chain(tmp_path / "r.db").rows == 2


def test_one_trigger_cannot_have_two_verdicts(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    store.commit([store.stamp(a_verdict(1), 7)])
    with pytest.raises(StorageError, match="UNIQUE"):
        store.commit([store.stamp(a_verdict(1), 7)])
    store.close()


def test_the_settings_that_make_a_commit_durable_are_on(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    values = {
        name: store._connected().execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "wal_autocheckpoint")
    }
    store.close()
    assert values == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0}


def test_acknowledged_rows_survive_sigkill(tmp_path: Path) -> None:
    code = f"""
import os, sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from test_records import a_store, a_trigger
store = a_store(Path({str(tmp_path / "r.db")!r}))
for sequence in range(1, 10_000):
    store.commit([store.stamp(a_trigger(sequence), 7)])
    print(sequence, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    acknowledged = [int(process.stdout.readline()) for _ in range(50)]
    process.kill()
    acknowledged += [int(line) for line in process.stdout.read().split()]
    process.wait()
    process.stdout.close()
    assert verify_chain(tmp_path / "r.db").rows >= acknowledged[-1]
    a_store(tmp_path / "r.db").close()


def test_the_records_can_be_read_while_the_gate_writes(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    store.commit([store.stamp(a_trigger(1), 7)])
    assert verify_chain(tmp_path / "r.db").rows == 1
    store.commit([store.stamp(a_trigger(2), 7)])
    store.checkpoint()
    assert len(read_part(tmp_path / "r.db", "P1")) == 2
    store.close()


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    with pytest.raises(StorageError, match="another gate"):
        a_store(tmp_path / "r.db")
    store.close()


def test_the_log_does_not_grow_when_it_is_checkpointed(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    wal = tmp_path / "r.db-wal"
    size = wal.stat().st_size
    for number in range(300):
        store.commit([store.stamp(an_event(number), 7)])
        if number % 50 == 49:
            store.checkpoint()
    assert wal.stat().st_size == size
    store.close()


def test_what_a_dead_gate_left_open_is_closed_at_the_next_start(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    store.commit([store.stamp(row, 7) for row in (a_trigger(1), a_verdict(1), a_disposition(1), a_trigger(2), a_verdict(2), a_trigger(3))])
    left = store.leftovers(99)
    store.commit([store.stamp(row, 8) for row in left])
    assert store.leftovers(100) == []
    store.close()
    _, second, third = read_part(tmp_path / "r.db", "P1")
    assert (second["verdict.outcome"], second["disposition.done"]) == ("ACCEPT", "GATE_RESTARTED")
    assert (third["verdict.outcome"], third["verdict.reason"]) == ("NO_VERDICT", "GATE_RESTARTED")
    assert third["disposition.done"] == "GATE_RESTARTED"


@pytest.mark.parametrize("damage", [b"this is no database" * 300, b""])
def test_a_damaged_file_is_refused_with_the_remedy_and_can_be_put_aside(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "r.db"
    filled(path, 50)
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + len(damage)] = damage
    path.write_bytes(bytes(content) if damage else bytes(content[:-5000]))
    with pytest.raises((StorageError, ChainError), match="cordon records quarantine"):
        a_store(path)
    aside = quarantine(path, boot="boot", config="c")
    assert aside.exists()
    report = verify_chain(path)
    assert report.rows == 1
    a_store(path).close()


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        a_store(tmp_path / "file" / "r.db")


def test_a_ticket_is_answered_only_after_the_rows_are_on_disk(tmp_path: Path) -> None:
    recorder = Recorder(a_store(tmp_path / "r.db"))
    ticket = Ticket("verdict", TriggerId(SESSION, 1))
    recorder.submit((a_trigger(1), a_verdict(1)), ticket)
    assert wait_for(recorder, Durable) == [Durable(ticket)]
    assert verify_chain(tmp_path / "r.db").rows == 2
    assert recorder.close()


def test_a_stalled_disk_does_not_stall_the_caller(tmp_path: Path) -> None:
    recorder = Recorder(a_store(tmp_path / "r.db"))
    other = sqlite3.connect(tmp_path / "r.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started_s = time.monotonic()
    for sequence in range(1, 100):
        recorder.submit((a_trigger(sequence),), Ticket("trigger", TriggerId(SESSION, sequence)))
    assert time.monotonic() - started_s < 0.1
    time.sleep(0.2)
    assert recorder.results() == []
    other.execute("COMMIT")
    other.close()
    wait_for(recorder, Durable)
    assert recorder.close()


def test_a_full_disk_latches_keeps_the_rows_and_writes_them_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    recorder = Recorder(a_store(path), retry_s=0.05)
    ticket = Ticket("verdict", TriggerId(SESSION, 1))
    with file_size_limit(100_000):
        sequence = 1
        found: list[Result] = []
        while not any(isinstance(result, Failed) for result in found):
            recorder.submit((a_trigger(sequence), *(an_event(number) for number in range(50))), ticket)
            sequence += 1
            select.select([recorder], [], [], 1)
            found += recorder.results()
        assert Failed(ticket, found[-1].why) in found
        recorder.submit((a_trigger(sequence),), ticket)
        time.sleep(0.3)
        late = recorder.results()
        assert Back() not in late
        assert any(isinstance(result, Failed) for result in late)
    wait_for(recorder, Back)
    assert recorder.close()
    assert verify_chain(path).rows == (sequence - 1) * 51 + 1


def test_rows_of_a_commit_that_failed_after_reaching_the_disk_are_not_written_twice(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    rows = [store.stamp(a_trigger(1), 7), store.stamp(a_trigger(2), 7)]
    store.commit(rows)
    store.recover([*rows, store.stamp(a_trigger(3), 7)])
    store.close()
    assert verify_chain(tmp_path / "r.db").rows == 3


def test_a_recovery_that_finds_other_rows_stays_latched(tmp_path: Path) -> None:
    store = a_store(tmp_path / "r.db")
    row = store.stamp(a_trigger(1), 7)
    store.commit([row])
    with pytest.raises(ChainError, match="not the one"):
        store.recover([row._replace(hash=bytes(32))])
    with pytest.raises(ChainError, match="missing"):
        store.recover([row._replace(number=9)])
    store.close()


def test_memory_for_rows_is_bounded_and_losses_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.gate.records.BACKLOG", 10)
    path = tmp_path / "r.db"
    recorder = Recorder(a_store(path), retry_s=0.1)
    with file_size_limit(100_000):
        recorder.submit([an_event(number) for number in range(200)])
        wait_for(recorder, Failed)
        for number in range(30):
            recorder.submit((an_event(number),))
        time.sleep(0.05)
    wait_for(recorder, Back)
    assert recorder.close()
    rows = sqlite3.connect(path)
    assert rows.execute("SELECT count FROM events WHERE kind = 'records'").fetchall() == [(20,)]
    rows.close()


def test_closing_writes_what_is_queued(tmp_path: Path) -> None:
    recorder = Recorder(a_store(tmp_path / "r.db"))
    for sequence in range(1, 500):
        recorder.submit((a_trigger(sequence),))
    assert recorder.close()
    assert not (tmp_path / "r.db-wal").exists()
    assert verify_chain(tmp_path / "r.db").rows == 499


def test_the_command_verifies_shows_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.db"
    filled(path, 2)
    assert records_main(["verify", str(path)]) == 0
    assert "whole: 6 rows" in capsys.readouterr().out
    assert records_main(["show", "P1", "--records", str(path)]) == 0
    assert "ACCEPT OK" in capsys.readouterr().out
    assert records_main(["show", "P1", "--records", str(path), "--json"]) == 0
    assert len([msgspec.json.decode(line) for line in capsys.readouterr().out.splitlines()]) == 2
    assert records_main(["show", "P9", "--records", str(path)]) == 1
    with pytest.raises(StorageError, match="no record file"):
        records_main(["verify", str(tmp_path / "none.db")])
    assert records_main(["quarantine", "--records", str(path), "--config", str(tmp_path / "none.toml")]) == 0
    assert verify_chain(path).rows == 1
