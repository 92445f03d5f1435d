"""Engines of the real inspector that go wrong cost rejects only."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.line import cell, engines
from faults.registry import Effort, Result

pytestmark = pytest.mark.nightly  # `make faults` injects it, with far more injections


@pytest.fixture(scope="module", autouse=True)
def _ended() -> Iterator[None]:
    yield
    cell.close_all()


@pytest.mark.parametrize("inject", [engines.slows_down])
def test_slow_engines_cost_rejects_only(inject: Callable[[Effort], Result], tmp_path: Path) -> None:
    result = inject(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result.why_not()


@pytest.mark.nightly
@pytest.mark.parametrize("inject", [engines.raises, engines.hangs_and_dies, engines.answers_nonsense])
def test_engines_that_raise_die_or_answer_nonsense_cost_rejects_only(inject: Callable[[Effort], Result], tmp_path: Path) -> None:
    result = inject(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result.why_not()


def test_the_nonsense_is_nonsense() -> None:
    assert not any(engines.is_probability(values) for values in engines.NONSENSE)
    assert engines.is_probability(("0.25", "0.75"))
