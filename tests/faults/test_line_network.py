"""The injectors of the camera's network pass on the product."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.line import cell, network, peers
from faults.registry import Effort, Result

pytestmark = pytest.mark.nightly  # `make faults` injects it, with far more injections


@pytest.fixture(scope="module", autouse=True)
def _ended() -> Iterator[None]:
    yield
    cell.close_all()


@pytest.mark.parametrize("inject", [network.flood, network.slow_consumer])
def test_floods_and_stand_stills_cost_rejects_only(inject: Callable[[Effort], Result], tmp_path: Path) -> None:
    result = inject(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result.why_not()


@pytest.mark.nightly
@pytest.mark.parametrize(
    "inject", [network.two_publishers, network.missing_and_late_joiner, network.oversized, peers.dead_cable_and_hostile_peer]
)
def test_dead_and_hostile_cameras_cost_rejects_only(inject: Callable[[Effort], Result], tmp_path: Path) -> None:
    result = inject(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result.why_not()


def test_memory_that_grows_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "GROWTH_MIB", -1.0)
    result = network.flood(Effort(name="quick", seed=1, folder=tmp_path))
    assert "memory grew" in result.failures[0]
