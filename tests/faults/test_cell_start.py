from collections.abc import Callable
from pathlib import Path

import pytest

from faults.cell import start_faults
from faults.cell.campaign import Share
from faults.registry import Result

pytestmark = pytest.mark.nightly  # `make faults` injects it, with far more injections

FEW: dict[Callable[[Share], Result], int] = {
    start_faults._second_gate: 1,
    start_faults._partly_failed_start: len(start_faults.BROKEN),
    start_faults._too_few_files: 2,
    start_faults._too_little_memory: 1,
}


@pytest.mark.parametrize("fault", FEW, ids=lambda fault: fault.__name__)
def test_a_start_that_cannot_succeed_ends_with_an_error(fault: Callable[[Share], Result], tmp_path: Path) -> None:
    found = fault(Share(folder=tmp_path / "c", seed=5, times=FEW[fault], name="quick"))
    assert found.passed, found.why_not()
