"""The whole line as it runs in a cell: gate, inspector, camera and robot as processes, on real sockets and a real pseudo-terminal."""

import csv
import json
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
from tiny import PUBLIC, TinyBundle, frame_image

from edge.gate.records_cli import records_main
from sim.line import Line, LineSpec

BUDGET_MS = 400.0
GRAYS = {("T2", "good"): 40, ("T2", "bad"): 80, ("T5", "good"): 160, ("T5", "bad"): 200}

pytestmark = pytest.mark.slow


@dataclass
class Cell:
    """A line with `count` welds of known truth; `run` works through them and `results` says what the robot was told."""

    line: Line
    folder: Path
    welds: Path
    count: int

    def start(self, *camera: str, robot: tuple[str, ...] = ()) -> None:
        self.line.start_camera(self.welds, *camera)
        self.line.start_robot(self.welds, self.results_file, *robot)
        self.line.start_daemons()

    def run(self, act: Callable[[int], None] = lambda _: None) -> list[dict[str, object]]:
        """Supervise until the robot has finished; `act` is called with the number of welds done."""
        robot = self.line.children["robot"]
        until = time.monotonic() + 90
        while robot.running:
            assert time.monotonic() < until, robot.tail()
            act(len(self.results))
            self.line.step()
            time.sleep(0.005)
        assert robot.process.returncode == 0, robot.tail()
        return self.results

    @property
    def results_file(self) -> Path:
        return self.folder / "results.jsonl"

    @property
    def results(self) -> list[dict[str, object]]:
        return [json.loads(text) for text in self.results_file.read_text().splitlines()] if self.results_file.exists() else []

    def escapes(self) -> list[dict[str, object]]:
        with self.welds.open(newline="") as table:
            truth = {(row["part"], row["weld"]): row["truth"] for row in csv.DictReader(table)}
        return [r for r in self.results if r["accepted"] and truth[str(r["part"]), str(r["weld"])] == "bad"]

    def records(self, query: str) -> list[tuple[object, ...]]:
        """Ask the record file after the line has ended."""
        self.line.stop()
        connection = sqlite3.connect(self.folder / "records.db")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def check_accounting(self) -> None:
        """I5: every trigger has one verdict and one disposition; the chain is whole."""
        rows = self.records(
            "SELECT (SELECT count(*) FROM verdicts v WHERE v.session = t.session AND v.sequence = t.sequence),"
            "(SELECT count(*) FROM dispositions d WHERE d.session = t.session AND d.sequence = t.sequence) FROM triggers t"
        )
        assert set(rows) == {(1, 1)}
        assert records_main(["verify", str(self.folder / "records.db")]) == 0


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Iterator[Cell]:
    options = getattr(request, "param", {})
    count = options.get("count", 24)
    with tempfile.TemporaryDirectory(prefix="cordon-") as name:
        folder = Path(name)
        bundle = TinyBundle().save(folder / "tiny.cordon")
        welds = _welds(folder, count, named=options.get("named", True))
        spec = LineSpec(folder=folder, bundle=bundle, key=PUBLIC, budget_ms=BUDGET_MS, inspector=options.get("inspector", ""))
        with Line(spec) as line:
            yield Cell(line, folder, welds, count)


def _welds(folder: Path, count: int, *, named: bool) -> Path:
    """T2 and T5, good and bad in turn, every image its own."""
    rows = []
    for number in range(count):
        (typology, truth), gray = list(GRAYS.items())[number % 4]
        file = folder / f"{number}.png"
        cv2.imwrite(str(file), frame_image(gray, seed=number))
        rows.append((f"P{number:04d}", "W1", typology if named else "", truth, file))
    path = folder / "welds.csv"
    with path.open("w", newline="") as table:
        csv.writer(table).writerows([("part", "weld", "typology", "truth", "file"), *rows])
    return path


def _as_expected(cell: Cell) -> list[bool]:
    return [result["accepted"] == (number % 2 == 0) for number, result in enumerate(cell.results)]


def test_every_weld_gets_its_verdict_in_time_and_its_record(cell: Cell) -> None:
    cell.start()
    results = cell.run()
    assert len(results) == cell.count
    assert all(_as_expected(cell))
    assert max(float(str(result["latency_ms"])) for result in results) <= BUDGET_MS
    cell.check_accounting()
    assert cell.records("SELECT count(*) FROM verdicts WHERE outcome = 'ACCEPT'") == [(cell.count // 2,)]


@pytest.mark.parametrize("cell", [{"named": False}, {"inspector": 'engines = "all"'}], indirect=True, ids=["unnamed", "all engines"])
def test_the_router_names_the_typology_or_agrees_with_the_name(cell: Cell) -> None:
    cell.start()
    cell.run()
    assert all(_as_expected(cell))
    assert cell.records("SELECT DISTINCT typology FROM verdicts ORDER BY 1") == [("T2",), ("T5",)]


@pytest.mark.parametrize("cell", [{"count": 240}], indirect=True)
def test_a_killed_inspector_costs_rejects_inside_the_budget_and_comes_back(cell: Cell) -> None:
    cell.start(robot=("--interval-ms", "20"))
    kills = [20, 60]

    def kill(done: int) -> None:
        if kills and done >= kills[0]:
            kills.pop(0)
            cell.line.children["inspector"].process.send_signal(signal.SIGKILL)

    results = cell.run(kill)
    assert cell.line.children["inspector"].restarts == 2
    assert not cell.escapes()
    lost = [result for number, result in enumerate(results) if number % 2 == 0 and not result["accepted"]]
    assert lost
    assert {result["reason"] for result in lost} <= {"INSPECTOR_DOWN", "NOT_READY"}
    assert max(float(str(result["latency_ms"])) for result in results) <= BUDGET_MS
    assert results[-2]["accepted"]
    cell.check_accounting()


@pytest.mark.parametrize("cell", [{"count": 60}], indirect=True)
def test_a_killed_gate_makes_the_robot_reject_and_leaves_no_trigger_without_record(cell: Cell) -> None:
    cell.start(robot=("--interval-ms", "20"))
    killed = False

    def kill(done: int) -> None:
        nonlocal killed
        if done >= 20 and not killed:
            killed = True
            cell.line.children["gate"].process.send_signal(signal.SIGKILL)

    results = cell.run(kill)
    assert cell.line.children["gate"].restarts >= 1
    assert not cell.escapes()
    assert len(results) == cell.count
    assert results[-2]["accepted"]
    cell.check_accounting()


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        ("nan", {"FRAME_NONFINITE"}),
        ("truncate", {"FRAME_SIZE"}),
        ("crc", {"FRAME_CRC"}),
        ("duplicate", {"OK", "DEFECT", "FRAME_DUPLICATE"}),
        ("frozen", {"FRAME_FROZEN"}),
        ("skip", {"NO_FRAME"}),
        ("late", {"NO_FRAME"}),
        ("wrong-typology", {"TYPOLOGY_UNKNOWN", "TYPOLOGY_DIFFERS"}),
    ],
)
@pytest.mark.parametrize("cell", [{"count": 12}], indirect=True)
def test_a_faulty_camera_gets_a_named_reason_and_never_an_escape(cell: Cell, fault: str, reasons: set[str]) -> None:
    cell.start("--fault", fault, "--every", "3")
    results = cell.run()
    assert len(results) == cell.count
    assert not cell.escapes()
    assert {str(result["reason"]) for result in results} & reasons, results
    cell.check_accounting()


def test_an_altered_bundle_means_reject_with_that_reason(cell: Cell) -> None:
    data = bytearray(cell.line.spec.bundle.read_bytes())
    data[-1] ^= 1
    cell.line.spec.bundle.write_bytes(data)
    cell.start(robot=("--wait-s", "3"))
    robot, inspector = cell.line.children["robot"], cell.line.children["inspector"]
    cell.line.wait(lambda: not robot.running or inspector.restarts > 1, inspector, seconds=30, what="the inspector's refusals")
    assert "was altered" in inspector.tail()
    assert cell.records("SELECT count(*) FROM events WHERE kind = 'inspector' AND reason = 'BUNDLE_FAULT'")[0] > (0,)
