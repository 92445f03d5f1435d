import contextlib
import gc
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gate_kit import FakeInspector, a_config, a_state, write_config

from edge.cli import main
from edge.config import read_config
from edge.contract import Outcome
from edge.errors import ConfigError, PortBusyError, PortMissingError
from edge.gate.audit import read_part, verify_chain
from edge.gate.codec import encode_frame
from edge.gate.daemon import GateDaemon
from edge.gate.messages import Ack, Done, State
from sim.robot import Robot, RobotResult

BUDGET_MS = 300.0
SLACK_MS = 100.0
"""What a loaded test machine may add; the robot of the tests waits three budgets, so that it sees late answers as well."""


class Cell:
    """A robot on a real pseudo-terminal, a gate stepped in a thread of this process, and the inspector's end of the socket."""

    def __init__(self, folder: Path, *, profile: str = "handshake", ready: bool = True, **gate: object) -> None:
        self.folder = folder
        self.robot = Robot(link=folder / "robot", profile=profile, budget_ms=BUDGET_MS * 3, missed_heartbeats=10)
        self.daemon = GateDaemon(a_config(folder, profile=profile, budget_ms=BUDGET_MS, missed_heartbeats=10, **gate), "c" * 64)
        self.thread = threading.Thread(target=self.daemon.run, daemon=True)
        self.thread.start()
        self.robot.start()
        self.inspector = FakeInspector(folder / "gate.sock")
        self.inspector.socket.settimeout(1)
        self.beating = ready
        self.lock = threading.Lock()
        self.beats = threading.Thread(target=self._beat, daemon=True)
        self.beats.start()
        if ready:
            assert self.robot.wait_ready(5)

    def _beat(self) -> None:
        while self.beating:
            try:
                self.inspector.say(a_state())
            except OSError:
                return
            time.sleep(0.05)

    def inspect(self, part: str = "P1", **changes: object) -> RobotResult:
        """One trigger, answered by the inspector in a thread of its own."""
        answering = threading.Thread(daemon=True, target=self._answer, kwargs=changes)
        answering.start()
        result = self.robot.inspect(part, "W1", "T2")
        answering.join(5)
        return result

    def _answer(self, **changes: object) -> None:
        # A trigger that is refused at once is never announced.
        with contextlib.suppress(TimeoutError):
            self.inspector.answer(self.inspector.expect(), **changes)

    def wait_for_inspector(self, pid: int) -> None:
        """Until the gate has heard this one."""
        until = time.monotonic() + 5
        while (state := self.daemon.session.inspector) is None or state.pid != pid:
            assert time.monotonic() < until
            time.sleep(0.005)

    def close(self) -> None:
        self.beating = False
        self.beats.join(5)
        self.daemon.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.robot.close()
        self.inspector.close()

    @property
    def records(self) -> Path:
        return self.folder / "records.db"


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    made = Cell(tmp_path)
    yield made
    made.close()


def test_welds_go_in_and_verdicts_come_out(tmp_path: Path) -> None:
    cell = Cell(tmp_path)
    results = [cell.inspect(f"P{number}", score=0.9 if number % 3 == 0 else 0.1, counter=number) for number in range(1, 13)]
    cell.close()
    assert [r.accepted for r in results] == [number % 3 != 0 for number in range(1, 13)]
    assert all(r.outcome in (Outcome.ACCEPT, Outcome.REJECT) for r in results)
    assert verify_chain(cell.records).rows > 36
    (row,) = read_part(cell.records, "P1")
    assert (row["verdict.outcome"], row["disposition.sent"], row["disposition.done"]) == ("ACCEPT", "ACCEPT", "ACCEPTED")
    (row,) = read_part(cell.records, "P3")
    assert (row["verdict.outcome"], row["verdict.reason"], row["disposition.done"]) == ("REJECT", "DEFECT", "REJECTED")


def test_push_sends_one_line_per_frame(tmp_path: Path) -> None:
    cell = Cell(tmp_path, profile="push", ready=False)
    cell.beating = True
    cell.inspector.say(a_state())
    results = []
    for counter in range(1, 6):
        now_ns = time.monotonic_ns()
        expect = type("Expect", (), {"trigger": None, "part": "P1", "weld": f"W{counter}", "typology": "T2"})()
        cell.inspector.answer(expect, counter=counter, received_ns=now_ns)
        results.append(cell.robot.listen(2))
    cell.close()
    assert [(r.weld, r.accepted) for r in results if r is not None] == [(f"W{c}", True) for c in range(1, 6)]
    assert len(read_part(cell.records, "P1")) == 5


def test_without_an_inspector_every_weld_is_rejected_at_once(tmp_path: Path) -> None:
    cell = Cell(tmp_path, ready=False)
    cell.inspector.close()
    assert cell.robot.wait_session(5)
    result = cell.robot.inspect("P1", "W1", "T2")
    cell.close()
    assert (result.outcome, result.reason) == (Outcome.REJECT, "INSPECTOR_DOWN")
    assert result.latency_ms is not None
    assert result.latency_ms < BUDGET_MS


def test_an_inspector_killed_with_a_trigger_open_is_a_reject_inside_the_budget(cell: Cell) -> None:
    code = f"""
import sys, time
sys.path[:0] = {sys.path!r}
from pathlib import Path
from gate_kit import FakeInspector, a_state
inspector = FakeInspector(Path({str(cell.folder / "gate.sock")!r}))
inspector.say(a_state(pid=77))
print("ready", flush=True)
inspector.expect()
print("working", flush=True)
time.sleep(60)
"""
    cell.beating = False
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    cell.wait_for_inspector(77)
    killed = threading.Thread(daemon=True, target=lambda: (process.stdout.readline(), process.kill()))
    killed.start()
    result = cell.robot.inspect("P1", "W1", "T2")
    killed.join()
    process.wait()
    process.stdout.close()
    assert (result.outcome, result.reason, result.accepted) == (Outcome.REJECT, "INSPECTOR_DOWN", False)
    assert result.latency_ms is not None
    assert result.latency_ms < BUDGET_MS


def test_a_newer_inspector_takes_the_place_of_the_old_one(cell: Cell) -> None:
    cell.beating = False
    newer = FakeInspector(cell.folder / "gate.sock")
    newer.say(a_state(pid=78))
    cell.wait_for_inspector(78)
    answering = threading.Thread(daemon=True, target=lambda: newer.answer(newer.expect()))
    answering.start()
    result = cell.robot.inspect("P1", "W1", "T2")
    answering.join(5)
    newer.close()
    assert result.accepted


def test_a_frame_that_never_comes_is_a_reject_inside_the_budget(cell: Cell) -> None:
    result = cell.robot.inspect("P1", "W1", "T2")
    assert (result.outcome, result.reason) == (Outcome.REJECT, "NO_FRAME")
    assert result.latency_ms is not None
    assert result.latency_ms < BUDGET_MS + SLACK_MS


def test_a_stalled_disk_is_a_reject_record_late_inside_the_budget(cell: Cell) -> None:
    cell.inspect("P0")
    other = sqlite3.connect(cell.records, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    result = cell.inspect("P1")
    other.execute("COMMIT")
    other.close()
    assert (result.outcome, result.reason, result.accepted) == (Outcome.REJECT, "RECORD_LATE", False)
    assert result.latency_ms is not None
    assert result.latency_ms < BUDGET_MS + SLACK_MS
    cell.robot.wait_ready(5)
    assert cell.inspect("P2").accepted
    (row,) = read_part(cell.records, "P1")
    assert (row["verdict.outcome"], row["disposition.sent"], row["disposition.sent_reason"]) == ("ACCEPT", "REJECT", "RECORD_LATE")
    assert "ACCEPT withheld" in row["disposition.detail"]


def test_garbage_from_the_inspector_ends_its_connection_and_nothing_else(cell: Cell) -> None:
    cell.beating = False
    for packet in (b"\xc1garbage", b"x" * 66_000):
        bad = FakeInspector(cell.folder / "gate.sock")
        bad.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        bad.socket.send(packet)
        assert bad.socket.recv(10) == b""
        bad.close()
    cell.inspector.close()
    cell.inspector = FakeInspector(cell.folder / "gate.sock")
    cell.inspector.say(a_state(pid=79))
    cell.wait_for_inspector(79)
    assert cell.inspect().accepted


def test_garbage_from_the_robot_is_counted_and_harmless(cell: Cell) -> None:
    cell.robot._line.write(b"\xff\x00$RT,nonsense*00000000\r$GB,echo*12345678\r" * 20)
    assert cell.inspect().accepted
    assert cell.daemon.robot.link._decoder.counters.bad_crc == 40
    assert not cell.daemon.session.latched


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_latched_gate_rejects_says_fault_survives_a_restart_and_goes_on_once_somebody_looked(tmp_path: Path) -> None:
    cell = Cell(tmp_path, latch_noise=15)
    assert cell.inspect("P1").accepted
    cell.robot._line.write(b"$RT,nonsense*00000000\r" * 16)
    assert cell.robot.inspect("P2", "W1", "T2").reason == "LATCHED"
    assert cell.robot._wait(lambda: cell.robot.protocol.state is State.FAULT, 5)
    cell.close()
    cell = Cell(tmp_path, latch_noise=15, ready=False)
    assert "16 broken frames within 10 s" in cell.daemon.session.latched[0]
    cell.inspector.say(a_state())
    assert cell.robot.wait_session(5)
    assert cell.robot.inspect("P3", "W1", "T2").reason == "LATCHED"
    assert main(["records", "acknowledge", str(cell.records)]) == 0
    wait_until(lambda: not cell.daemon.session.latched)
    cell.inspector.say(a_state())
    assert cell.inspect("P4").accepted
    cell.close()
    verify_chain(cell.records)


def test_a_robot_that_lets_a_rejected_part_pass_is_trusted_again_only_after_an_acknowledgement(cell: Cell) -> None:
    result = cell.inspect("P1", score=0.9)
    lie = Ack(session=result.session, sequence=result.sequence, outcome=Outcome.REJECT, done=Done.ACCEPTED)
    cell.robot._line.write(encode_frame(lie, "R"))
    wait_until(lambda: bool(cell.daemon.session.latched))
    assert cell.robot.wait_session(5)
    assert cell.robot.inspect("P2", "W1", "T2").reason in ("LATCHED", "SESSION_LOST")
    wait_until((cell.folder / "records.db.latched").exists)
    assert main(["records", "acknowledge", str(cell.records)]) == 0
    wait_until(lambda: not cell.daemon.session.latched)
    assert cell.robot.wait_ready(5)
    assert cell.inspect("P3").accepted


def test_damaged_records_let_the_gate_start_and_reject_until_somebody_looked(tmp_path: Path) -> None:
    (tmp_path / "records.db").write_bytes(b"no database at all" * 500)
    cell = Cell(tmp_path, ready=False)
    cell.inspector.say(a_state())
    assert cell.robot.wait_session(5)
    assert cell.robot.inspect("P1", "W1", "T2").reason == "LATCHED"
    cell.close()
    verify_chain(cell.records)


def test_an_unplugged_robot_that_comes_back_under_the_same_name_gets_a_new_session(cell: Cell) -> None:
    assert cell.inspect("P1").accepted
    session = cell.robot.protocol.session
    cell.robot.close()
    until = time.monotonic() + 0.25
    while cell.daemon.session.session is not None:
        assert time.monotonic() < until, "the gate must notice before heartbeats are missed"
        time.sleep(0.005)
    cell.robot = Robot(link=cell.folder / "robot", budget_ms=BUDGET_MS * 3, missed_heartbeats=10)
    cell.robot.start()
    assert cell.robot.wait_ready(5)
    assert cell.robot.protocol.session != session
    assert cell.inspect("P2").accepted


def test_a_full_disk_is_record_fault_until_there_is_room_and_nothing_is_lost(tmp_path: Path) -> None:
    from test_records import file_size_limit  # noqa: PLC0415

    cell = Cell(tmp_path)
    reasons = []
    with file_size_limit(60_000):
        for number in range(40):
            latched = "RECORD_FAULT" in reasons
            result = cell.robot.inspect("Q1", "W1", "T2") if latched else cell.inspect(f"P{number}")
            reasons.append(result.reason)
            if reasons[-3:] == ["RECORD_FAULT"] * 3:
                break
    assert reasons[-1] == "RECORD_FAULT"
    assert cell.robot.wait_session(5)
    until = time.monotonic() + 10
    while not cell.daemon.session.store_healthy and time.monotonic() < until:
        time.sleep(0.05)
    assert cell.inspect("P99").accepted
    cell.close()
    verify_chain(cell.records)
    books = sqlite3.connect(cell.records)
    counts = [books.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("triggers", "verdicts", "dispositions")]  # noqa: S608
    books.close()
    assert counts == [len(reasons) + 1] * 3


def test_a_second_gate_on_the_same_port_is_refused(cell: Cell, tmp_path: Path) -> None:
    with pytest.raises(PortBusyError):
        GateDaemon(a_config(cell.folder, records=str(tmp_path / "other.db"), socket=str(tmp_path / "other.sock")), "c" * 64)


def test_a_missing_port_and_a_foreign_socket_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PortMissingError):
        GateDaemon(a_config(tmp_path), "c" * 64)
    robot = Robot(link=tmp_path / "robot")
    (tmp_path / "gate.sock").write_text("precious")
    with pytest.raises(ConfigError, match="not a socket"):
        GateDaemon(a_config(tmp_path), "c" * 64)
    assert (tmp_path / "gate.sock").read_text() == "precious"
    robot._line.close()


def test_a_stale_socket_is_replaced_and_a_live_one_refused(tmp_path: Path) -> None:
    robot = Robot(link=tmp_path / "robot")
    old = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    old.bind(str(tmp_path / "gate.sock"))
    old.listen(1)
    with pytest.raises(ConfigError, match="another gate"):
        GateDaemon(a_config(tmp_path), "c" * 64)
    old.close()
    daemon = GateDaemon(a_config(tmp_path), "c" * 64)
    daemon.close()
    robot._line.close()


def _command(folder: Path) -> list[str]:
    config = write_config(folder, budget_ms=BUDGET_MS, missed_heartbeats=10)
    return [sys.executable, "-m", "edge", "run", "gate", "--config", str(config)]


def test_the_command_ends_on_sigterm_with_the_open_trigger_rejected_and_recorded(tmp_path: Path) -> None:
    with Robot(link=tmp_path / "robot", budget_ms=BUDGET_MS * 3, missed_heartbeats=10) as robot:
        gate = subprocess.Popen(_command(tmp_path), stderr=subprocess.PIPE, text=True)
        second = subprocess.run(_command(tmp_path), capture_output=True, text=True, check=False) if robot.wait_session(10) else None
        inspector = FakeInspector(tmp_path / "gate.sock", read_config(tmp_path / "cordon.toml")[1])
        inspector.say(a_state())
        assert robot.wait_ready(5)
        ending = threading.Thread(daemon=True, target=lambda: (inspector.expect(), gate.send_signal(signal.SIGTERM)))
        ending.start()
        result = robot.inspect("P1", "W1", "T2")
        ending.join()
        _, log = gate.communicate(timeout=10)
        inspector.close()
    assert (result.outcome, result.reason) == (Outcome.REJECT, "GATE_RESTARTED")
    assert gate.returncode == 0
    assert "stopped, all records written" in log
    assert second is not None
    assert (second.returncode, "PortBusyError" in second.stderr) == (1, True)
    (row,) = read_part(tmp_path / "records.db", "P1")
    assert row["verdict.reason"] == "GATE_RESTARTED"
    assert row["disposition.done"] in ("GATE_RESTARTED", "REJECTED")


def test_a_killed_gate_leaves_nothing_open_after_its_next_start(tmp_path: Path) -> None:
    with Robot(link=tmp_path / "robot", budget_ms=BUDGET_MS * 3, missed_heartbeats=10) as robot:
        gate = subprocess.Popen(_command(tmp_path), stderr=subprocess.DEVNULL)
        assert robot.wait_session(10)
        inspector = FakeInspector(tmp_path / "gate.sock", read_config(tmp_path / "cordon.toml")[1])
        inspector.say(a_state())
        assert robot.wait_ready(5)

        def kill() -> None:
            inspector.expect()
            time.sleep(0.05)
            gate.kill()

        ending = threading.Thread(daemon=True, target=kill)
        ending.start()
        result = robot.inspect("P1", "W1", "T2")
        ending.join()
        gate.wait()
        inspector.close()
        assert (result.accepted, result.outcome) == (False, None)
        daemon = GateDaemon(a_config(tmp_path), "c" * 64)
        daemon.close()
    (row,) = read_part(tmp_path / "records.db", "P1")
    assert (row["verdict.outcome"], row["verdict.reason"]) == ("NO_VERDICT", "GATE_RESTARTED")
    assert row["disposition.done"] == "GATE_RESTARTED"
    verify_chain(tmp_path / "records.db")


def test_a_log_nobody_reads_does_not_stop_the_gate(tmp_path: Path) -> None:
    with Robot(link=tmp_path / "robot", budget_ms=BUDGET_MS * 3, missed_heartbeats=10) as robot:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            while True:
                os.write(writing, b"x" * 65_536)
        except BlockingIOError:
            os.set_blocking(writing, True)
        gate = subprocess.Popen(_command(tmp_path), stderr=writing)
        assert robot.wait_session(10)
        result = robot.inspect("P1", "W1", "T2")
        gate.send_signal(signal.SIGTERM)
        assert gate.wait(10) == 0
        os.close(reading)
        os.close(writing)
    assert result.reason == "INSPECTOR_DOWN"


def test_stepping_leaves_no_garbage_growing(cell: Cell) -> None:
    for number in range(20):
        cell.inspect(f"P{number}", counter=number)
    assert len(cell.daemon.session._cases) <= 1
    assert gc.isenabled()
