"""A bundle swapped between check and use, or under load; the audit of the swaps finds a verdict that contradicts its bundle."""

from pathlib import Path

import pytest

from faults.line import swap
from faults.registry import Effort


def test_the_checked_bytes_are_the_loaded_bytes(tmp_path: Path) -> None:
    result = swap.swapped_between_check_and_use(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result.why_not()


@pytest.mark.nightly
def test_bundles_may_be_swapped_while_the_robot_triggers(tmp_path: Path) -> None:
    result = swap.swapped_under_load(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result.why_not()


@pytest.mark.parametrize(
    ("which", "score", "announced", "found"),
    [(1, 0.07, "bb", False), (0, 0.92, "aa", True), (1, 0.07, "aa", True), (0, 0.001, "aa", False)],
)
def test_a_verdict_that_contradicts_its_bundle_is_found(which: int, score: float, announced: str, *, found: bool) -> None:
    row = {"outcome": "ACCEPT", "sequence": 1, "score": score, "bundle": ("aa", "bb")[which] * 32}
    assert bool(swap._contradiction(row, which, announced)) is found
