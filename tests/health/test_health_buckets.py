"""Buckets and quantiles of the histograms, against the sorted numbers themselves."""

import math

from hypothesis import given
from hypothesis import strategies as st

from edge.health.buckets import BUCKETS, RANGE_BITS, RELATIVE_ERROR, UNIT_BITS, bucket_of, end_ns, quantile_ns
from edge.health.samples import BOUNDS_NS

UNIT_NS = 1 << UNIT_BITS
COVERED_NS = 1 << (RANGE_BITS + UNIT_BITS)
times = st.integers(0, COVERED_NS - 1)


@given(times)
def test_every_time_lies_in_its_bucket(time_ns: int) -> None:
    bucket = bucket_of(time_ns)
    assert (end_ns(bucket - 1) if bucket else 0) <= time_ns < end_ns(bucket)


@given(st.integers(COVERED_NS, 2**63))
def test_times_beyond_the_range_share_the_last_bucket(time_ns: int) -> None:
    assert bucket_of(time_ns) == BUCKETS - 1 == bucket_of(COVERED_NS - 1)


def test_no_bucket_is_wider_than_the_error_that_is_promised() -> None:
    for bucket in range(1, BUCKETS):
        begin, end = end_ns(bucket - 1), end_ns(bucket)
        assert end > begin
        assert end - begin <= max(UNIT_NS, begin * RELATIVE_ERROR)


@given(st.lists(times, min_size=1, max_size=300), st.floats(0.0, 1.0))
def test_a_quantile_is_never_below_the_true_one_nor_further_above_than_promised(found: list[int], quantile: float) -> None:
    counts = [0] * BUCKETS
    for time_ns in found:
        counts[bucket_of(time_ns)] += 1
    true_ns = sorted(found)[max(1, math.ceil(quantile * len(found))) - 1]
    estimate_ns = quantile_ns(counts, quantile, max(found))
    assert true_ns <= estimate_ns <= max(true_ns * (1 + RELATIVE_ERROR), true_ns + UNIT_NS)


def test_a_single_long_time_shows_at_its_quantile_and_exactly_as_the_maximum() -> None:
    counts = [0] * BUCKETS
    counts[bucket_of(1_000_000)] += 999
    counts[bucket_of(90_000_000_000)] += 1
    assert quantile_ns(counts, 0.999, 90_000_000_000) < 1_040_000
    assert quantile_ns(counts, 1.0, 90_000_000_000) == 90_000_000_000


def test_nothing_counted_has_no_quantile() -> None:
    assert quantile_ns([0] * BUCKETS, 0.5, 0) == 0


def test_every_bound_that_prometheus_gets_is_the_end_of_a_bucket_and_they_rise() -> None:
    ends = {end_ns(bucket) for bucket in range(BUCKETS)}
    assert set(BOUNDS_NS) <= ends
    assert list(BOUNDS_NS) == sorted(set(BOUNDS_NS))
    assert BOUNDS_NS[0] < 400_000
    assert BOUNDS_NS[-1] > 8_000_000_000
