import shutil
from pathlib import Path

import pytest

from faults.recorder.kill import spread
from faults.recorder.traced import sigkill_at_every_system_call
from faults.registry import Effort, Skipped

pytestmark = pytest.mark.nightly  # `make faults` injects it, with far more injections


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_kill_that_knows_nothing_of_our_library_loses_nothing_either(tmp_path: Path) -> None:
    try:
        found = sigkill_at_every_system_call(Effort(name="quick", seed=3, folder=tmp_path))
    except Skipped as exc:
        pytest.skip(str(exc))
    assert found.passed, found.why_not()
    assert found.injections > 10


@pytest.mark.parametrize(("last", "at_most", "numbers"), [(4, 9, [1, 2, 3, 4]), (10, 1, [5]), (10, 3, [2, 6, 10]), (0, 3, [])])
def test_points_reach_over_the_whole_length(last: int, at_most: int, numbers: list[int]) -> None:
    assert spread(last, at_most) == numbers
