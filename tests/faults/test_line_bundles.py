"""Forged bundles and engines are refused by errors of the product's own; one that is taken is a failure of the suite."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge.bundle import verify_bundle
from faults.line import engines_foreign, forged, networks
from faults.line.bundles import PUBLIC, TinyBundle
from faults.registry import Effort, Result

QUICK = [forged.signatures, forged.every_byte, forged.mixed, forged.names_and_sizes, networks.thresholds, engines_foreign.engines_as_code]
LONGER = [forged.pickles, networks.bad_networks, networks.permuted, networks.disagreeing, engines_foreign.of_another_box]


@pytest.mark.parametrize("inject", [*QUICK, *(pytest.param(each, marks=pytest.mark.nightly) for each in LONGER)])
def test_what_may_not_be_used_is_refused(inject: Callable[[Effort], Result], tmp_path: Path) -> None:
    result = inject(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result.why_not()


def test_a_bundle_that_is_taken_is_a_failure() -> None:
    refusals = forged.Refusals()
    refusals.verify(TinyBundle().signed(), "an honest bundle")
    assert refusals.failures == ["an honest bundle: taken"]


def test_an_accident_is_no_refusal() -> None:
    refusals = forged.Refusals()
    refusals.expect(lambda: {}["x"], "a bug")
    assert "KeyError instead of a refusal" in refusals.failures[0]


def test_the_tiny_bundle_itself_is_good() -> None:
    forged.load(verify_bundle(TinyBundle(members=2).signed(), (PUBLIC,)))


def test_a_network_that_accepts_everything_is_refused() -> None:
    refusals = forged.Refusals()
    refusals.load(TinyBundle(files={"T2-0.onnx": networks.network(10_000)}, router=False).signed(), "accepts everything")
    assert (refusals.failures, refusals.kinds) == ([], {"KnownAnswerError": 1})
