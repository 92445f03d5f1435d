"""How large a tensor's values are, counted exactly in one pass, and the INT8 range each calibration method takes from it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["max", "entropy", "percentile"]
METHODS: tuple[Method, ...] = ("max", "entropy", "percentile")
PERCENTILE = 99.99
"""Percent of a tensor's values, zeros included, that the method `percentile` leaves unclipped."""
BINS = 4096
SMALLEST_AMAX = 1e-6
"""Range of a tensor that is always zero; TensorRT refuses a scale of 0."""
_LEVELS, _STEP = 128, 16


class Histogram:
    """Counts of |x| in BINS equal bins of [0, top); `top` is a power of two that doubles when a larger value comes.

    Doubling joins bins in pairs, so the result does not depend on the order of the values, and memory stays bounded.
    """

    def __init__(self) -> None:
        self.counts: NDArray[np.int64] = np.zeros(BINS, np.int64)
        self.top = 2.0**-20
        self.largest = 0.0

    def add(self, values: NDArray[np.float32]) -> bool:
        """Count the values; False (and nothing counted) when one is not finite."""
        sizes = np.abs(values).ravel()
        largest = float(sizes.max(initial=0.0))
        if not np.isfinite(largest):
            return False
        self.largest = max(self.largest, largest)
        while self.largest >= self.top:
            self.top *= 2.0
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)])
        # A power of two, so that the product is exact.
        places = (sizes * np.float32(BINS / self.top)).astype(np.int32)
        self.counts += np.bincount(places, minlength=BINS)
        return True

    def percentile(self, percent: float) -> float:
        """|x| below which `percent` % of the values lie, interpolated within the bin; at most the largest value."""
        total = int(self.counts.sum())
        if not total:
            return 0.0
        wanted = total * percent / 100.0
        summed = np.cumsum(self.counts)
        place = min(int(np.searchsorted(summed, wanted)), BINS - 1)
        below = float(summed[place - 1]) if place else 0.0
        part = (wanted - below) / max(float(self.counts[place]), 1.0)
        return float(min((place + part) * self.top / BINS, self.largest))

    def share_above(self, limit: float) -> float:
        """Part of the values with |x| > limit, exact to the bin in which `limit` lies (which counts as not above)."""
        total = int(self.counts.sum())
        first = min(int(limit * BINS / self.top) + 1, BINS)
        return float(self.counts[first:].sum()) / total if total else 0.0

    def amax(self, method: Method) -> float:
        """The range the method chooses: largest value, least relative entropy, or percentile. Never 0."""
        match method:
            case "max":
                found = self.largest
            case "entropy":
                found = self._entropy()
            case "percentile":
                found = self.percentile(PERCENTILE)
        return max(found, SMALLEST_AMAX)

    def _entropy(self) -> float:
        """The range that loses least information: Kullback-Leibler divergence of the values from their 128 INT8 levels.

        Source: S. Migacz, "8-bit inference with TensorRT", GTC 2017. As in NVIDIA's own calibrators the lowest bin, which after a
        ReLU holds all the zeros, counts no more than its neighbour.
        """
        used = int(self.largest * BINS / self.top) + 1
        if used <= _LEVELS:
            return self.largest
        counts = self.counts[:used].astype(np.float64)
        counts[0] = min(counts[0], counts[1])
        ends = [*range(_LEVELS, used, _STEP), used]
        losses = [_divergence(counts, end) for end in ends]
        best = ends[int(np.argmin(losses))]
        return float(min(best * self.top / BINS, self.largest))


def _divergence(counts: NDArray[np.float64], end: int) -> float:
    """Of the values clipped to the first `end` bins from the same values in 128 levels of equal width.

    The last bin may hold nothing but what was clipped into it; half a value stands there for none, so that the logarithm exists.
    """
    clipped = counts[:end].copy()
    clipped[-1] += counts[end:].sum()
    level = np.arange(end) * _LEVELS // end
    present = counts[:end] > 0
    mass, places = np.bincount(level, counts[:end], _LEVELS), np.bincount(level, present, _LEVELS)
    rounded = np.where(present, (mass / np.maximum(places, 1.0))[level], 0.5)
    shown = clipped > 0
    p, q = clipped[shown] / clipped.sum(), rounded[shown] / rounded[shown].sum()
    return float((p * np.log(p / q)).sum())
