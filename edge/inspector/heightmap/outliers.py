"""Which points lie far from the median of their neighbourhood; exact, by counting instead of sorting."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.inspector.heightmap.spec import OutlierFilter


class OutlierFinder:
    """Finds outliers in images of one shape; holds every buffer it needs.

    With n valid pixels in the window (the pixel itself included, nothing outside the image) the median is their lower median,
    order statistic (n - 1) // 2. It lies below `z - limit` exactly when at least (n + 1) // 2 of the n do, and above
    `z + limit` exactly when at least n // 2 + 1 of them do: so counting two comparisons per neighbour replaces 45,056 sorts.
    """

    def __init__(self, spec: OutlierFilter, shape: tuple[int, int]) -> None:
        rows, cols = shape
        self._limit = np.float32(spec.limit_mm)
        reach = spec.window // 2
        wide = cols + 2 * reach
        self._padded = np.full((rows + 2 * reach + 1, wide), np.nan, np.float32)
        self._centre = self._padded[reach : reach + rows, reach : reach + cols]
        first, self._span = reach * wide + reach, rows * wide
        flat = self._padded.reshape(-1)
        steps = [dy * wide + dx for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
        self._here = flat[first : first + self._span]
        self._neighbours = [flat[first + step : first + step + self._span] for step in steps]
        self._lowest, self._highest = np.empty(self._span, np.float32), np.empty(self._span, np.float32)
        self._hit = np.empty(self._span, np.bool_)
        self._below, self._above, self._valid = (np.empty(self._span, np.uint8) for _ in range(3))
        self._shape, self._wide = shape, wide

    def find(self, z: NDArray[np.float32]) -> NDArray[np.bool_]:
        """True where the pixel is an outlier. `z` is f32 (rows, cols) in mm, NaN for no data; the result lives until the next call."""
        np.copyto(self._centre, z)
        np.subtract(self._here, self._limit, out=self._lowest)
        np.add(self._here, self._limit, out=self._highest)
        for count in (self._below, self._above, self._valid):
            count.fill(0)
        for neighbour in self._neighbours:
            self._count(np.less(neighbour, self._lowest, out=self._hit), self._below)
            self._count(np.greater(neighbour, self._highest, out=self._hit), self._above)
            self._count(np.equal(neighbour, neighbour, out=self._hit), self._valid)
        return self._decide()

    @staticmethod
    def _count(hit: NDArray[np.bool_], count: NDArray[np.uint8]) -> None:
        np.add(count, hit.view(np.uint8), out=count)

    def _decide(self) -> NDArray[np.bool_]:
        half_up = (self._valid + np.uint8(1)) >> 1
        low = self._below >= half_up
        high = self._above > self._valid >> 1
        outlier: NDArray[np.bool_] = (low | high) & ~np.isnan(self._here)
        return outlier.reshape(self._shape[0], self._wide)[:, : self._shape[1]]
