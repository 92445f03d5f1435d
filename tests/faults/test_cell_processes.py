from collections.abc import Callable
from pathlib import Path

import pytest

from faults.cell import process_faults, reaction
from faults.cell.bars import measure
from faults.cell.campaign import Share
from faults.registry import Result

FEW: dict[Callable[[Share], Result], int] = {
    process_faults._inspector_killed: 20,
    process_faults._inspector_stopped: 2,
    process_faults._inspector_garbage: 5,
    process_faults._gate_killed: 3,
    process_faults._gate_serves_again: 1,
    process_faults._robot_notices: len(reaction.FAULTS),
    process_faults._restart_storm: 1,
    process_faults._asked_to_end: 2,
}


@pytest.mark.parametrize("fault", FEW, ids=lambda fault: fault.__name__)
def test_no_end_of_a_process_lets_a_bad_weld_pass_or_loses_a_record(fault: Callable[[Share], Result], tmp_path: Path) -> None:
    found = fault(Share(folder=tmp_path / "c", seed=5, times=FEW[fault], name="quick"))
    assert found.passed, found.why_not()


def test_the_bars_command_gives_figures_and_says_whether_they_are_met(tmp_path: Path) -> None:
    found = measure(tmp_path, scale=0.0, seed=1, only="fault-free")
    assert found["fault-free cycles"]["cycles"] == 20
    assert found["fault-free cycles"]["false_accepts"] == 0


def test_a_percentile_is_a_time_that_was_measured() -> None:
    times = reaction.Times([5.0, 1.0, 3.0])
    assert (times.at(0.5), times.at(0.99), times.worst) == (3.0, 5.0, 5.0)
