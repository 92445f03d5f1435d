"""A health file under its writer, under readers, and after the writer was killed."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edge.health.layout import AT_FORMAT, CELL, Layout
from edge.health.ledger import Ledger
from edge.health.reader import Reading, read

LAYOUT = Layout("gate", counters=("triggers", "resends"), histograms=("sent", "judged"), tables={"verdicts": 4}, state_bytes=256)
WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from test_health_ledger import LAYOUT
from edge.health.ledger import Ledger
ledger = Ledger(Path({path!r}), LAYOUT, release="1", now_ns=1, wall_ns=2)
assert not ledger.problem
print("on", flush=True)
{then}
"""
COUNT = """
number = 0
while True:
    number += 1
    ledger.begin()
    ledger.histograms["sent"].record(number * 1_000 % 50_000_000)
    ledger.histograms["judged"].record(number * 1_000 % 50_000_000)
    ledger.add("triggers")
    ledger.tables["verdicts"].add("ACCEPT", "OK", "T2")
    ledger.end()
    if number % 50 == 0:
        ledger.publish(b'{"number": %d, "filler": "%s"}' % (number, b"x" * (number % 200)))
        time.sleep(0.0005)  # a daemon rests too, and a reader's copy takes longer than one change
"""


def make(path: Path) -> Ledger:
    ledger = Ledger(path, LAYOUT, release="1.2", now_ns=10, wall_ns=20)
    assert ledger.problem == ""
    return ledger


def writer(path: Path, then: str) -> "subprocess.Popen[str]":
    text = WRITER.format(here=str(Path(__file__).parent), path=str(path), then=then)
    process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait(20)
    assert process.stdout is not None
    process.stdout.close()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    ledger = make(tmp_path / "gate.health")
    ledger.add("triggers", 3)
    for time_ns in (1_000_000, 2_000_000, 90_000_000_000):
        ledger.histograms["sent"].record(time_ns)
    ledger.tables["verdicts"].add("REJECT", "DEFECT", "T2", count=2)
    ledger.step(77, 88)
    ledger.publish(b'{"a":1}')
    found = read(tmp_path / "gate.health")
    assert (found.found, found.note, found.release, found.pid) == ("alive", "", "1.2", os.getpid())
    assert (found.started_ns, found.started_wall_ns, found.step_ns, found.step_wall_ns) == (10, 20, 77, 88)
    assert found.counters == {"triggers": 3, "resends": 0}
    assert found.tables == {"verdicts": {("REJECT", "DEFECT", "T2"): 2}}
    sent = found.times["sent"]
    assert (sent.count, sent.sum_ns, sent.max_ns, sent.whole) == (3, 90_003_000_000, 90_000_000_000, True)
    assert found.state == b'{"a":1}'
    ledger.close(99)
    found = read(tmp_path / "gate.health")
    assert (found.found, found.ended_wall_ns, found.counters["triggers"]) == ("dead", 99, 3)


def test_hostile_times_and_labels_are_held_in(tmp_path: Path) -> None:
    ledger = make(tmp_path / "gate.health")
    for time_ns in (-5, 2**70):
        ledger.histograms["sent"].record(time_ns)
    table = ledger.tables["verdicts"]
    for label in ("T1", "a|b", "T" * 200, "T4", "T5", "ü" * 10):
        table.add(label)
    found = read(tmp_path / "gate.health")
    assert found.times["sent"].whole
    assert found.times["sent"].max_ns == 2**50
    assert found.tables["verdicts"] == {("T1",): 1, ("a_b",): 1, ("other",): 4}
    ledger.close(1)


def test_the_file_is_readable_by_the_group_and_by_nobody_else_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        ledger = make(tmp_path / "gate.health")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "gate.health").stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["gate.health"]
    ledger.close(1)


def test_a_new_writer_takes_the_place_of_a_dead_ones_file_whole(tmp_path: Path) -> None:
    make(tmp_path / "gate.health").close(1)
    ledger = make(tmp_path / "gate.health")
    found = read(tmp_path / "gate.health")
    assert (found.found, found.counters["triggers"]) == ("alive", 0)
    ledger.close(1)


def test_a_folder_that_cannot_be_written_costs_the_numbers_and_nothing_else(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "none" / "gate.health", LAYOUT, release="1", now_ns=1, wall_ns=1)
    assert "No such file" in ledger.problem
    ledger.histograms["sent"].record(5)
    ledger.publish(b"{}")
    ledger.close(1)


def test_a_link_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / f"gate.health.{os.getpid()}.new").symlink_to(tmp_path / "victim")
    (tmp_path / "gate.health").symlink_to(tmp_path / "victim")
    assert read(tmp_path / "gate.health").found == "refused"
    make(tmp_path / "gate.health").close(1)
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_state_that_is_too_long_is_refused_and_the_one_before_stays(tmp_path: Path) -> None:
    ledger = make(tmp_path / "gate.health")
    ledger.publish(b"before")
    with pytest.raises(ValueError, match="does not fit"):
        ledger.publish(b"x" * 257)
    assert read(tmp_path / "gate.health").state == b"before"
    ledger.close(1)


@pytest.mark.parametrize("content", [b"", b"x" * 64, bytes(4096), b"CORDONHL" + bytes(4096), os.urandom(8192)])
def test_what_is_no_health_file_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "gate.health").write_bytes(content)
    assert read(tmp_path / "gate.health").found == "foreign"


def test_another_releases_format_is_said_to_be_that(tmp_path: Path) -> None:
    make(tmp_path / "gate.health").close(1)
    data = bytearray((tmp_path / "gate.health").read_bytes())
    data[AT_FORMAT * CELL] = 9
    (tmp_path / "gate.health").write_bytes(data)
    found = read(tmp_path / "gate.health")
    assert found.found == "foreign"
    assert "format 9" in found.note


def test_another_releases_names_are_read_as_they_are(tmp_path: Path) -> None:
    other = Layout("gate", counters=("welds",), histograms=(), tables={"verdicts": 4, "colours": 2}, state_bytes=64)
    ledger = Ledger(tmp_path / "gate.health", other, release="9", now_ns=1, wall_ns=1)
    ledger.add("welds")
    assert read(tmp_path / "gate.health").counters == {"welds": 1}
    ledger.close(1)


def test_a_file_cut_short_anywhere_raises_nothing(tmp_path: Path) -> None:
    ledger = make(tmp_path / "gate.health")
    ledger.publish(b'{"a":1}')
    ledger.close(1)
    data = (tmp_path / "gate.health").read_bytes()
    for size in range(0, len(data), 997):
        (tmp_path / "cut.health").write_bytes(data[:size])
        assert read(tmp_path / "cut.health").found == "foreign", size


def test_readers_at_full_speed_never_see_numbers_that_do_not_belong_together(tmp_path: Path) -> None:
    path = tmp_path / "gate.health"
    process = writer(path, COUNT)
    until_s, seen = time.monotonic() + 20, set[int]()
    try:
        while len(seen) < 30:
            assert time.monotonic() < until_s, seen
            found = read(path)
            assert found.found == "alive"
            if not found.note:
                assert found.times["sent"].whole
                assert found.times["sent"].count == found.counters["triggers"] == sum(found.tables["verdicts"].values())
                assert found.times["sent"].sum_ns == found.times["judged"].sum_ns
                seen.add(found.counters["triggers"])
    finally:
        end(process)


def test_a_writer_killed_in_the_middle_of_a_change_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "gate.health"
    process = writer(path, "ledger.begin()\nledger.histograms['sent'].record(5)\nimport os\nos.kill(os.getpid(), 9)")
    assert process.wait(20) == -signal.SIGKILL
    end(process)
    found = read(path)
    assert found.found == "dead"
    assert "in the middle of a change" in found.note


@pytest.mark.parametrize("cell", range(4), ids=["count", "sum", "maximum", "guard"])
def test_a_torn_histogram_is_named(tmp_path: Path, cell: int) -> None:
    ledger = make(tmp_path / "gate.health")
    ledger.histograms["sent"].record(5_000)
    ledger._cells[LAYOUT.histograms["sent"] + cell] += 1
    ledger.close(1)
    found = read(tmp_path / "gate.health")
    assert "sent" in found.note
    assert (found.times["sent"].whole, found.times["judged"].whole) == (False, True)


def test_a_state_that_is_not_whole_is_none(tmp_path: Path) -> None:
    ledger = make(tmp_path / "gate.health")
    ledger.publish(b'{"a":1}')
    ledger._bytes[(LAYOUT.states[1] + 2) * CELL + 3] ^= 1
    ledger.close(1)
    found = read(tmp_path / "gate.health")
    assert found.state == b""
    assert "may not belong together" in found.note


def test_writers_killed_at_random_leave_a_file_that_is_whole_or_says_that_it_is_not(tmp_path: Path) -> None:
    for number in range(2):
        path = tmp_path / f"{number}.health"
        process = writer(path, COUNT)
        time.sleep(0.01 + number * 0.013)
        process.send_signal(signal.SIGKILL)
        end(process)
        found: Reading = read(path)
        assert found.found == "dead"
        assert found.note or (found.times["sent"].whole and found.times["sent"].count == found.counters["triggers"])
        assert found.state == b"" or found.state.startswith(b'{"number": ')


def test_threads_that_read_see_the_writer_alive_although_each_asks_for_its_lock(tmp_path: Path) -> None:
    ledger = make(tmp_path / "gate.health")
    wrong: list[str] = []

    def ask() -> None:
        for _ in range(200):
            found = read(tmp_path / "gate.health")
            if found.found != "alive":
                wrong.append(found.found)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    ledger.close(1)
