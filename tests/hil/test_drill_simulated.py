"""The drill on simulators: it sees what it should, and neither a fault that was not made nor an ACCEPT under one goes through."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from drill_kit import DRILL, Step, go_through
from line_kit import Cell, make_cell

STEPS = {step.name: step for step in DRILL}
pytestmark = pytest.mark.nightly


@dataclass
class Simulated:
    """Hands on a simulated line: what a step says is done to the processes."""

    cell: Cell
    step: Step
    lazy: bool = False
    """Does nothing at all."""

    def do(self, what: str) -> bool:
        if not self.lazy:
            name = next(name for name in ("camera", "inspector", "gate", "robot") if name in self.step.name)
            child, mending = self.cell.line.children[name], what == self.step.undo
            if not mending:
                child.process.kill()
                child.process.wait()
            if mending is self.step.lasting:
                child.start()
        return True


@pytest.fixture(scope="module")
def working() -> Iterator[Cell]:
    with make_cell(2_000) as cell:
        cell.start(robot=("--interval-ms", "40"))
        cell.line.wait(
            lambda: any(result["accepted"] for result in cell.results), cell.line.children["robot"], seconds=60, what="an ACCEPT"
        )
        yield cell


@pytest.mark.parametrize(
    ("name", "expected"),
    [("camera off", "NO_FRAME"), ("inspector killed", "INSPECTOR_DOWN"), ("gate killed", "gate"), ("robot switched off", "SESSION_LOST")],
)
def test_a_fault_is_seen_in_the_records_and_the_line_accepts_again(working: Cell, name: str, expected: str) -> None:
    step = STEPS[name]
    found = go_through(step, working.folder / "records.db", Simulated(working, step), 30.0)
    assert (found.result, expected in found.seen, "accepts again" in found.seen) == ("pass", True, True), found


def test_a_fault_that_was_not_made_is_not_taken_for_one(working: Cell) -> None:
    step = STEPS["camera's cable"]
    found = go_through(step, working.folder / "records.db", Simulated(working, step, lazy=True), 2.0)
    assert found.result == "FAIL"
    assert "none of ['NOT_READY', 'NO_FRAME'] in the records" in found.seen


def test_a_weld_that_is_accepted_while_a_fault_lasts_breaks_the_drill(working: Cell) -> None:
    step = replace(STEPS["window covered"], expect=frozenset({"DEFECT"}))
    found = go_through(step, working.folder / "records.db", Simulated(working, step, lazy=True), 10.0)
    assert found.result == "FAIL"
    assert "were ACCEPTED while it lasted" in found.seen
