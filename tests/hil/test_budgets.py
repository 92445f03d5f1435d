"""The table of budgets on a whole line: stages, totals, restarts, memory, descriptors and processor time, each against its limit."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from budget_kit import BUDGETS, Budgets, Limit, Measured, at, load_budgets
from equipment_kit import Equipment
from line_kit import BUDGET_MS, Cell, make_cell
from process_kit import Usage
from records_kit import Seen, read, stages

pytestmark = pytest.mark.slow
UNDISTURBED, WELDS, LONGEST_S = 60, 1_000, 90.0


class Run:
    """One run of the line: undisturbed, then with the inspector killed, then with the gate killed."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.usages: dict[str, Usage] = {}
        self.killed_ns: dict[str, int] = {}
        self.live: Seen
        """The records as they were read while the line worked."""
        begun_ns = time.monotonic_ns()
        cell.start(robot=("--interval-ms", "25"))
        self._work()
        self.results = cell.results
        self.first_ns = next(int(str(result["verdict_ns"])) for result in self.results if result["accepted"]) - begun_ns
        cell.check_accounting()
        self.restarts = {name: cell.line.children[name].restarts for name in ("inspector", "gate")}
        self.rows, self.unaccounted = read(cell.folder / "records.db")

    def _work(self) -> None:
        """Until the line is back from both kills."""
        robot, until_s = self.cell.line.children["robot"], time.monotonic() + LONGEST_S
        while not self._back("gate"):
            assert robot.running, robot.tail()
            assert time.monotonic() < until_s, robot.tail()
            self._act(len(self.cell.results))
            self.cell.line.step()
            time.sleep(0.005)

    def _act(self, done: int) -> None:
        if done < UNDISTURBED:
            for name in ("gate", "inspector"):
                self._look(name, done)
        elif "inspector" not in self.killed_ns:
            self.live = read(self.cell.folder / "records.db")
            self._kill("inspector")
        elif "gate" not in self.killed_ns and self._back("inspector"):
            self._kill("gate")

    def _look(self, name: str, done: int) -> None:
        if done and name not in self.usages:
            self.usages[name] = Usage(self.cell.line.children[name].process.pid)
        elif done and done % 10 == 0:
            self.usages[name].look()

    def _kill(self, name: str) -> None:
        self.killed_ns[name] = time.monotonic_ns()
        self.cell.line.children[name].process.send_signal(signal.SIGKILL)

    def _back(self, name: str) -> bool:
        return name in self.killed_ns and any(result["accepted"] for result in self.after(name))

    def after(self, name: str) -> list[dict[str, object]]:
        """What the robot asked after this kill."""
        return [result for result in self.cell.results if int(str(result["trigger_ns"])) > self.killed_ns[name]]

    def back_s(self, name: str) -> float:
        """From the kill to the next ACCEPT."""
        accepted = next((int(str(result["verdict_ns"])) for result in self.after(name) if result["accepted"]), None)
        assert accepted is not None, f"no ACCEPT after the {name} was killed"
        return (accepted - self.killed_ns[name]) / 1e9


@pytest.fixture(scope="module")
def run(equipment: Equipment) -> Iterator[Run]:
    modem = {"null_modem": equipment.null_modem, "baudrate": equipment.baudrate} if equipment.null_modem else {}
    with make_cell(WELDS, **modem) as cell:
        yield Run(cell)


def test_every_stage_of_the_undisturbed_line_keeps_its_budget(run: Run, budgets: Budgets) -> None:
    undisturbed = run.rows[:UNDISTURBED]
    told = run.results[:UNDISTURBED]
    robot_ms = [float(str(result["latency_ms"])) for result in told if result["latency_ms"] is not None]
    wire_ms = [asked - (row[5] - row[0]) / 1e6 for asked, row in zip(robot_ms, undisturbed, strict=False)]  # type: ignore[operator]
    good = [result for number, result in enumerate(told) if number % 2 == 0]
    exceeded = budgets.hold(
        first_verdict_s=run.first_ns / 1e9,
        **stages(undisturbed),
        wire_p99_ms=at(wire_ms, 0.99),
        missing=run.unaccounted,
        unanswered=len(told) - len(robot_ms),
        rejected_technical=sum(not result["accepted"] for result in good),
    )
    assert not exceeded


def test_what_dies_is_back_in_time_and_is_missed_inside_the_budget(run: Run, budgets: Budgets) -> None:
    assert not run.cell.escapes()
    away = [float(str(result["latency_ms"])) for result in run.after("inspector") if result["reason"] == "INSPECTOR_DOWN"]
    exceeded = budgets.hold(
        inspector_restart_s=run.back_s("inspector"), inspector_kill_max_ms=max(away, default=0.0), gate_restart_s=run.back_s("gate")
    )
    assert not exceeded


def test_while_the_inspector_is_away_good_welds_are_rejected_for_that_reason_and_in_time(run: Run) -> None:
    assert run.restarts["inspector"] >= 1
    assert run.restarts["gate"] >= 1
    between = [result for result in run.after("inspector") if int(str(result["trigger_ns"])) < run.killed_ns["gate"]]
    lost = [result for result in between if not result["accepted"] and result["reason"] != "DEFECT"]
    assert lost
    assert {result["reason"] for result in lost} <= {"INSPECTOR_DOWN", "NOT_READY"}, lost
    assert max(float(str(result["latency_ms"])) for result in between[:-1]) <= BUDGET_MS


def test_the_daemons_use_no_more_than_their_share(run: Run, budgets: Budgets) -> None:
    gate, inspector = run.usages["gate"], run.usages["inspector"]
    exceeded = budgets.hold(
        gate_mb=gate.mb,
        inspector_mb=inspector.mb,
        gate_files=gate.files,
        inspector_files=inspector.files,
        gate_cpu_percent=gate.cpu_percent,
        inspector_cpu_percent=inspector.cpu_percent,
    )
    assert not exceeded


def test_the_records_of_a_working_line_say_the_same_as_those_of_a_stopped_one(run: Run) -> None:
    assert run.live.unaccounted == 0
    assert len(run.live.rows) >= UNDISTURBED - 2
    assert run.live.rows == run.rows[: len(run.live.rows)]


def test_a_budget_that_is_exceeded_is_named_and_stands_in_the_table() -> None:
    budgets = Budgets({"x": Limit(name="x", most=1.0, unit="ms", what="something")})
    assert budgets.hold(x=1.0) == []
    assert budgets.hold(x=1.5) == ["x: 1.5 of 1.0 ms"]
    assert "EXCEEDED: something" in Measured.table(budgets.measured)[-1]


def test_a_cells_own_limits_take_the_place_of_the_common_ones(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[total_p99_ms]\nmost = 90.0\n")
    limits = load_budgets(BUDGETS, own)
    assert (limits["total_p99_ms"].most, limits["total_p99_ms"].unit) == (90.0, "ms")
    assert limits["missing"].most == 0
    own.write_text("[total_p98_ms]\nmost = 90.0\n")
    with pytest.raises(pytest.UsageError, match="there is no budget total_p98_ms"):
        load_budgets(BUDGETS, own)
