"""Bundles take turns while the robot triggers at full rate: every trigger has its verdict, and every verdict is of one bundle."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.swaps import Run, swap_under_load
from bench.swaps_pair import Pair, small_pair
from bench.swaps_records import audit

SWAPS = 6
BUDGET_MS = 400.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cordon-") as name:  # short enough for a unix socket
        yield Path(name)


@pytest.fixture(scope="module")
def pair(folder: Path) -> Pair:
    return small_pair(folder / "pair", threads=1)


@pytest.fixture(scope="module")
def run(pair: Pair, folder: Path) -> Run:
    limits = {"every_ms": 20.0, "budget_ms": BUDGET_MS}
    return swap_under_load(pair, swaps=SWAPS, **limits, threads=1, warm=10, alone=1, proved=False, folder=folder / "line")


def test_no_trigger_is_lost_and_no_two_bundles_are_mixed(run: Run) -> None:
    assert run.found.clean, run.found
    assert (len(run.swaps), run.found.changes) == (SWAPS, SWAPS)
    assert run.found.triggers == len(run.told)
    assert all(count > 0 for count in run.found.by_bundle.values())
    assert len(run.found.by_bundle) == 2


def test_every_verdict_came_within_the_budget(run: Run) -> None:
    assert 0 < run.found.slowest_ms <= BUDGET_MS


def test_a_verdict_under_the_other_bundles_name_would_be_found(run: Run, pair: Pair, folder: Path) -> None:
    crossed = replace(pair, hashes=(pair.hashes[1], pair.hashes[0]))
    found = audit(folder / "line" / "records.db", crossed, run.told)
    assert len(found.mixed) == found.triggers


def test_a_verdict_that_the_robot_did_not_read_would_be_found(run: Run, pair: Pair, folder: Path) -> None:
    told = dict(run.told)
    missing = told.popitem()[0]
    changed = next(iter(told))
    told[changed] = None
    found = audit(folder / "line" / "records.db", pair, told)
    assert any(str(missing[1]) in text for text in found.odd)
    assert any(f"disposition {changed[1]}: " in text for text in found.odd)
