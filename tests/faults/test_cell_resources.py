from collections.abc import Callable
from pathlib import Path

import pytest

from faults.cell import resource_faults
from faults.cell.campaign import Share
from faults.registry import Result, Skipped

pytestmark = pytest.mark.nightly  # `make faults` injects it, with far more injections

FEW: dict[Callable[[Share], Result], int] = {
    resource_faults._stuck_loop: 1,
    resource_faults._memory_runs_out: 1,
    resource_faults._files_run_out: 1,
    resource_faults._no_processor_time: 10,
    resource_faults._pages_thrown_out: 10,
}


@pytest.mark.parametrize("fault", FEW, ids=lambda fault: fault.__name__)
def test_no_shortage_lets_a_bad_weld_pass_or_loses_a_record(fault: Callable[[Share], Result], tmp_path: Path) -> None:
    try:
        found = fault(Share(folder=tmp_path / "c", seed=5, times=FEW[fault], name="quick"))
    except (Skipped, FileNotFoundError) as exc:
        pytest.skip(str(exc))
    assert found.passed, found.why_not()
