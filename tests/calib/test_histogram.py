"""Counting values, and the range each method takes from the counts."""

import numpy as np
import pytest

from calib.histogram import BINS, SMALLEST_AMAX, Histogram


def counted(values: np.ndarray, parts: int = 1) -> Histogram:
    found = Histogram()
    for part in np.array_split(values.astype(np.float32), parts):
        assert found.add(part)
    return found


def noise(count: int = 100_000) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, count)


def test_neither_order_nor_portions_change_the_counts() -> None:
    values = np.r_[noise(1000) * 0.01, noise(1000), noise(1000) * 50]
    one, other = counted(values), counted(values[::-1], parts=7)
    assert np.array_equal(one.counts, other.counts)
    assert (one.top, one.largest) == (other.top, other.largest)
    assert one.counts.sum() == 3000


def test_the_bins_are_those_of_numpy() -> None:
    values = np.abs(noise()).astype(np.float32)
    found = counted(values, parts=5)
    assert np.array_equal(found.counts, np.histogram(values, BINS, (0, found.top))[0])
    assert found.top / 2 <= found.largest < found.top


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_and_not_counted(value: float) -> None:
    found = Histogram()
    assert not found.add(np.array([1.0, value], np.float32))
    assert found.counts.sum() == 0


def test_max_is_the_largest_absolute_value_exactly() -> None:
    values = np.array([0.1, -7.3, 2.0], np.float32)
    assert counted(values).amax("max") == float(np.float32(7.3))


def test_percentiles_agree_with_numpy_within_a_bin() -> None:
    values = np.abs(noise())
    found = counted(values)
    for percent in (50.0, 99.0, 99.99):
        assert found.percentile(percent) == pytest.approx(np.percentile(values, percent), abs=found.top / BINS + 0.02)
    assert found.amax("percentile") == found.percentile(99.99) < found.largest


def test_the_share_above_a_limit_is_counted() -> None:
    found = counted(np.r_[np.full(75, 1.0), np.full(25, 3.0)])
    assert found.share_above(2.0) == 0.25
    assert found.share_above(3.0) == 0.0
    assert found.share_above(0.5) == 1.0
    assert Histogram().share_above(1.0) == 0.0


def test_entropy_cuts_a_lone_outlier_off_and_leaves_even_values_alone() -> None:
    assert counted(np.r_[noise(), 100.0]).amax("entropy") < 10
    even = np.random.default_rng(0).uniform(-1, 1, 100_000)
    assert counted(even).amax("entropy") == pytest.approx(1.0, abs=0.02)


def test_the_zeros_behind_a_relu_do_not_move_the_range_of_entropy() -> None:
    values = np.abs(noise())
    assert counted(np.r_[values, np.zeros(2_000_000)]).amax("entropy") == pytest.approx(counted(values).amax("entropy"), rel=0.1)


@pytest.mark.parametrize("method", ["max", "entropy", "percentile"])
def test_a_dead_tensor_gets_a_small_positive_range(method: str) -> None:
    assert counted(np.zeros(100)).amax(method) == SMALLEST_AMAX  # type: ignore[arg-type]
