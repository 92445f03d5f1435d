import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.recorder.exports import exports_killed_and_repeated, formulas_in_exported_cells
from faults.registry import Effort, Result

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="the library that kills at a call is built with gcc")


@pytest.mark.parametrize("injector", [exports_killed_and_repeated, formulas_in_exported_cells])
def test_exports_survive_kills_and_hold_no_formula(injector: Callable[[Effort], Result], tmp_path: Path) -> None:
    result = injector(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result
