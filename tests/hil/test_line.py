"""The whole line as it runs in a cell: gate, inspector, camera and robot as processes, on real sockets and a real pseudo-terminal."""

import time
from collections.abc import Iterator
from itertools import dropwhile

import pytest
from line_kit import BUDGET_MS, Cell, make_cell

pytestmark = pytest.mark.slow


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Iterator[Cell]:
    options = getattr(request, "param", {})
    with make_cell(options.get("count", 24), named=options.get("named", True), inspector=options.get("inspector", "")) as made:
        yield made


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


FAULTS = {
    "nan": {"FRAME_NONFINITE"},
    "truncate": {"FRAME_SIZE"},
    "crc": {"FRAME_CRC"},
    "duplicate": {"OK", "DEFECT", "FRAME_DUPLICATE"},
    "frozen": {"FRAME_FROZEN"},
    "skip": {"NO_FRAME"},
    "late": {"NO_FRAME"},
    "wrong-typology": {"TYPOLOGY_UNKNOWN", "TYPOLOGY_DIFFERS"},
}
"""What is wrong with every third frame, and what the robot is told then."""
WELDS, LONGEST_S = 9, 20.0


class Rounds:
    """One line, and one camera program after the other: `told` has nine welds of each, from the first that it got accepted on."""

    def __init__(self, cell: Cell) -> None:
        self.told: dict[str, list[dict[str, object]]] = {}
        # A robot that waits longer than the gate never asks while a weld is open: refused ones would only fill a late camera's queue.
        cell.start(robot=("--interval-ms", "20", "--budget-ms", str(BUDGET_MS + 200)))
        for fault in FAULTS:
            camera = cell.line.children["camera"].process
            camera.kill()
            camera.wait()
            cell.line.start_camera(cell.welds, "--fault", fault, "--every", "3")
            self.told[fault] = self._round(cell, len(cell.results))
        # What a camera sends before it is heard can be repeated unnoticed: who shows the image before needs that one to have come.
        self.escapes = [escape for escape in cell.escapes() if any(escape in told for told in self.told.values())]
        cell.check_accounting()

    def _round(self, cell: Cell, before: int) -> list[dict[str, object]]:
        robot, until = cell.line.children["robot"], time.monotonic() + LONGEST_S
        while True:
            told = list(dropwhile(lambda result: not _passed_good(result), cell.results[before + 1 :]))
            if len(told) >= WELDS:
                return told[:WELDS]
            assert robot.running, robot.tail()
            assert time.monotonic() < until, cell.line.children["camera"].tail()
            cell.line.step()
            time.sleep(0.02)


def _passed_good(result: dict[str, object]) -> bool:
    return bool(result["accepted"]) and int(str(result["part"])[1:]) % 2 == 0


@pytest.fixture(scope="module")
def rounds() -> Iterator[Rounds]:
    with make_cell(1_500) as cell:
        yield Rounds(cell)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_camera_gets_a_named_reason(rounds: Rounds, fault: str) -> None:
    assert {str(result["reason"]) for result in rounds.told[fault]} & FAULTS[fault], rounds.told[fault]


def test_no_faulty_camera_makes_an_escape(rounds: Rounds) -> None:
    assert rounds.escapes == []


def test_an_altered_bundle_means_reject_with_that_reason(cell: Cell) -> None:
    data = bytearray(cell.line.spec.bundle.read_bytes())
    data[-1] ^= 1
    cell.line.spec.bundle.write_bytes(data)
    cell.start(robot=("--wait-s", "3"))
    robot, inspector = cell.line.children["robot"], cell.line.children["inspector"]
    cell.line.wait(lambda: not robot.running or inspector.restarts > 1, inspector, seconds=30, what="the inspector's refusals")
    assert "was altered" in inspector.tail()
    assert cell.records("SELECT count(*) FROM events WHERE kind = 'inspector' AND reason = 'BUNDLE_FAULT'")[0] > (0,)
