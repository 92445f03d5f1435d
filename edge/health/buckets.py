"""Log-linear buckets for times: every power of two is cut into 32 equal parts, so that the relative error is the same everywhere.

The idea is Gil Tene's HdrHistogram (hdrhistogram.org): the bucket's number is the value's highest bits, found with one shift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

UNIT_BITS = 10
"""Times are counted in units of 2**10 ns."""
PART_BITS = 5
"""Each power of two has 2**5 buckets."""
RANGE_BITS = 26
"""Units below 2**26 (68.7 s) have their bucket; longer times share the last one, and the maximum is exact anyway."""
BUCKETS = (RANGE_BITS - PART_BITS + 1) << PART_BITS
RELATIVE_ERROR = 1 / (1 << PART_BITS)
"""A quantile is never below the true one and at most this much (3.1 %) above it; below 33 us at most 1.024 us above."""


def bucket_of(time_ns: int) -> int:
    """The number of the bucket, 0..BUCKETS-1, of a time of at least 0 ns."""
    units = time_ns >> UNIT_BITS
    shift = units.bit_length() - (PART_BITS + 1)
    if shift <= 0:
        return units
    return min((shift << PART_BITS) + (units >> shift), BUCKETS - 1)


def end_ns(bucket: int) -> int:
    """The first whole nanosecond above this bucket."""
    shift = max(0, (bucket >> PART_BITS) - 1)
    return (bucket - (shift << PART_BITS) + 1) << (shift + UNIT_BITS)


def quantile_ns(counts: Sequence[int], quantile: float, largest_ns: int) -> int:
    """The time that this share (0..1) of all counted ones does not exceed: the end of its bucket, never above the exact maximum.

    0 where nothing was counted. Nearest-rank definition: the smallest counted time with at least `quantile` of all at or below it.
    """
    total = sum(counts)
    if not total:
        return 0
    wanted, seen = max(1, math.ceil(quantile * total)), 0
    for bucket, count in enumerate(counts):
        seen += count
        if seen >= wanted:
            return largest_ns if bucket == BUCKETS - 1 else min(end_ns(bucket) - 1, largest_ns)
    return largest_ns


def at_most(counts: Sequence[int], time_ns: int) -> int:
    """How many counted times lie below `time_ns`, which must be a bucket's end (`end_ns`)."""
    return sum(count for bucket, count in enumerate(counts) if end_ns(bucket) <= time_ns)
