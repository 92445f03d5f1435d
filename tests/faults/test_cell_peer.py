from collections.abc import Callable
from pathlib import Path

import pytest

from faults.cell import peer_faults, trigger_faults
from faults.cell.campaign import Share
from faults.registry import Result

FEW: dict[Callable[[Share], Result], int] = {
    peer_faults._reads_nothing: 4,
    peer_faults._silent_robot: 1,
    peer_faults._missing_acknowledgements: 3,
    peer_faults._lying_robot: 2,
    peer_faults._late_acknowledgements: 2,
    peer_faults._robot_restarts: 12,
    trigger_faults._repeated_triggers: 30,
    trigger_faults._flood: 3,
    trigger_faults._other_release: 3,
}


@pytest.mark.parametrize("fault", FEW, ids=lambda fault: fault.__name__)
def test_no_fault_of_the_robot_lets_a_bad_weld_pass_or_loses_a_record(fault: Callable[[Share], Result], tmp_path: Path) -> None:
    found = fault(Share(folder=tmp_path / "c", seed=5, times=FEW[fault], name="quick"))
    assert found.passed, found.why_not()
