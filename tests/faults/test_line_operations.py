"""Edited configurations and operators who want ACCEPT change nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.line import cell, gpu, operations
from faults.registry import Effort, Result

pytestmark = pytest.mark.nightly  # `make faults` injects it, with far more injections

QUICK = [operations.configuration_edited, operations.operator_wants_accept]
LONGER = [operations.log_blocked, operations.foreign_user_at_the_socket, operations.switches_left_on, operations.secrets, gpu.gpu_lost]


@pytest.fixture(scope="module", autouse=True)
def _ended() -> Iterator[None]:
    yield
    cell.close_all()


@pytest.mark.parametrize("inject", [*QUICK, *(pytest.param(each, marks=pytest.mark.nightly) for each in LONGER)])
def test_operations_cannot_make_a_bad_weld_pass(inject: Callable[[Effort], Result], tmp_path: Path) -> None:
    result = inject(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result.why_not()


def test_a_key_is_found_in_any_shape() -> None:
    shapes = list(operations._shapes(["ab" * 32]))
    assert {b"ab" * 32, b"AB" * 32, b"\xab" * 32, b"ab" * 16} == set(shapes)
