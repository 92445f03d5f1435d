"""Older bundles, lost keys, clocks and power cuts before a box whose store the product's own commands keep."""

from collections.abc import Callable
from pathlib import Path

import pytest

from faults.line import interrupted, versions
from faults.registry import Effort, Result


@pytest.mark.nightly
@pytest.mark.parametrize("inject", [versions.older, versions.keys_lost, interrupted.clock_wrong, interrupted.command_cut_off])
def test_what_was_left_behind_judges_nothing(inject: Callable[[Effort], Result], tmp_path: Path) -> None:
    result = inject(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result.why_not()
