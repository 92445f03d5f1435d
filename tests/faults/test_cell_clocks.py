import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.cell import clock_faults
from faults.cell.campaign import Share
from faults.registry import Result

pytestmark = [
    pytest.mark.nightly,  # `make faults` injects it, with far more injections
    pytest.mark.skipif(not (shutil.which("gcc") or shutil.which("cc")), reason="needs a C compiler"),
]
FEW: dict[Callable[[Share], Result], int] = {clock_faults._wall_clock_jumps: 10, clock_faults._suspended: 1}


@pytest.mark.parametrize("fault", FEW, ids=lambda fault: fault.__name__)
def test_no_clock_lets_a_bad_weld_pass_or_loses_a_record(fault: Callable[[Share], Result], tmp_path: Path) -> None:
    found = fault(Share(folder=tmp_path / "c", seed=5, times=FEW[fault], name="quick"))
    assert found.passed, found.why_not()
