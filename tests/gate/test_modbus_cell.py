"""The whole gate behind Modbus: a master with pymodbus's client, a real inspector's socket, real records."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from gate_kit import FakeInspector, a_config, a_state
from test_modbus_link import Wire

from edge.contract import Outcome
from edge.gate.audit import read_part, verify_chain
from edge.gate.daemon import GateDaemon
from sim.robot_modbus import ModbusRobot


class ModbusCell:
    def __init__(self, folder: Path, **gate: object) -> None:
        self.wire = Wire()
        config = a_config(folder, port=self.wire.gate, link="modbus", budget_ms=500, missed_heartbeats=10, **gate)
        self.daemon = GateDaemon(config, "c" * 64)
        self.thread = threading.Thread(target=self.daemon.run)
        self.thread.start()
        self.inspector = FakeInspector(folder / "gate.sock")
        self.inspector.say(a_state())
        self.beating = True
        self.beats = threading.Thread(target=self._beat)
        self.beats.start()
        self.robot = ModbusRobot(self.wire.master, budget_ms=1500, heartbeat_ms=200)

    def _beat(self) -> None:
        while self.beating:
            self.inspector.say(a_state())
            time.sleep(0.05)

    def answering(self, **changes: object) -> threading.Thread:
        answer = threading.Thread(target=lambda: self.inspector.answer(self.inspector.expect(), **changes))
        answer.start()
        return answer

    def close(self) -> None:
        self.beating = False
        self.beats.join()
        self.daemon.stop()
        self.thread.join()
        self.robot.close()
        self.inspector.close()
        self.wire.close()


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[ModbusCell]:
    made = ModbusCell(tmp_path)
    yield made
    made.close()


def test_welds_go_in_and_verdicts_come_out_over_modbus(cell: ModbusCell, tmp_path: Path) -> None:
    assert cell.robot.wait_ready(10)
    results = []
    for number in range(1, 7):
        answer = cell.answering(score=0.9 if number % 3 == 0 else 0.1, counter=number)
        results.append(cell.robot.inspect(f"P{number}", "W1", "T2"))
        answer.join()
    cell.robot.step()
    assert [(r.outcome, r.accepted) for r in results] == [
        (Outcome.REJECT, False) if number % 3 == 0 else (Outcome.ACCEPT, True) for number in range(1, 7)
    ]
    (row,) = read_part(tmp_path / "records.db", "P1")
    assert (row["verdict.outcome"], row["disposition.sent"], row["disposition.done"]) == ("ACCEPT", "ACCEPT", "ACCEPTED")
    assert row["link"] == "modbus"
    assert verify_chain(tmp_path / "records.db").rows > 18


def test_without_a_frame_the_master_reads_a_reject(cell: ModbusCell, tmp_path: Path) -> None:
    assert cell.robot.wait_ready(10)
    result = cell.robot.inspect("P1", "W1", "T2")
    assert (result.outcome, result.reason, result.accepted) == (Outcome.REJECT, "NO_FRAME", False)
    (row,) = read_part(tmp_path / "records.db", "P1")
    assert row["verdict.reason"] == "NO_FRAME"


def test_a_master_that_stops_polling_loses_the_session_and_its_verdict_is_recorded_as_not_sent(cell: ModbusCell, tmp_path: Path) -> None:
    assert cell.robot.wait_ready(10)
    answer = cell.answering()
    frame = cell.robot.protocol.trigger("P1", "W1", "T2", time.monotonic_ns())
    assert frame is not None
    (trigger,) = cell.robot._written.feed(frame)
    assert cell.robot.write(trigger)
    answer.join()
    until = time.monotonic() + 5
    while time.monotonic() < until and not (rows := read_part(tmp_path / "records.db", "P1"))[0].get("disposition.done"):
        time.sleep(0.05)
    assert rows[0]["verdict.outcome"] == "ACCEPT"
    assert rows[0]["disposition.sent"] == ""
    assert not cell.robot.protocol.results
