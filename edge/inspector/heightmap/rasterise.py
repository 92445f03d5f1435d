"""Point clouds: which points are missing, where each falls into a fixed grid, and how small gaps between them are filled."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.inspector.heightmap.heights import Scaler
from edge.inspector.heightmap.refusals import nonfinite
from edge.inspector.heightmap.spec import Rasterise

_BAND_POINTS = 1 << 15
"""Points are worked on in bands of so many, which stay in the processor's cache from step to step."""
EMPTY = np.float32(-np.inf)
"""A cell that no point fell into, lower than any height."""


class CloudReader:
    """Turns clouds of one shape into heights: as they lie, or by the grid of `rasterise`; holds every buffer it needs."""

    def __init__(self, rasterise: Rasterise | None, shape: tuple[int, int]) -> None:
        points = shape[0] * shape[1]
        self.shape = shape if rasterise is None else rasterise.shape
        """(rows, cols) of the heights."""
        self._bands = tuple(slice(first, min(first + _BAND_POINTS, points)) for first in range(0, points, _BAND_POINTS))
        band = min(points, _BAND_POINTS)
        self._missing, self._finite, self._part = (np.empty(band, np.bool_) for _ in range(3))
        self._z = np.empty(band, np.float32)
        self._grid = None if rasterise is None else _Grid(rasterise, band)

    def read(self, cloud: NDArray[np.float32], scaler: Scaler, z: NDArray[np.float32]) -> None:
        """Write the heights of `cloud` f32 (rows, cols, 3) into `z` f32 `shape`, NaN for no data. Raises FrameError FRAME_NONFINITE."""
        points, heights = cloud.reshape(-1, 3), z.reshape(-1)
        if self._grid is not None:
            heights.fill(EMPTY)
        with np.errstate(over="ignore", invalid="ignore"):  # far beyond f32 is outside the grid too
            bad = sum(self._read_band(points[band], band, scaler, heights) for band in self._bands)
            if bad:
                raise nonfinite(bad, "points")
            if self._grid is not None:
                self._grid.close_gaps(z)

    def _read_band(self, points: NDArray[np.float32], band: slice, scaler: Scaler, heights: NDArray[np.float32]) -> int:
        """Put some of the points where they belong; how many of them are bad."""
        z, missing = self._z[: len(points)], self._missing[: len(points)]
        scaler.scale_heights(points[:, 2], z, missing)
        bad = self._count_bad(points, z, missing)
        if self._grid is None:
            np.copyto(z, np.float32(np.nan), where=missing)
            np.copyto(heights[band], z)
        else:
            self._grid.drop(points, z, missing, heights)
        return bad

    def _count_bad(self, points: NDArray[np.float32], z: NDArray[np.float32], missing: NDArray[np.bool_]) -> int:
        """Points that are not missing, though a coordinate is not finite."""
        finite, part = self._finite[: len(z)], self._part[: len(z)]
        np.isfinite(z, out=finite)
        for axis in range(2):
            np.logical_and(finite, np.isfinite(points[:, axis], out=part), out=finite)
        np.logical_or(finite, missing, out=finite)
        return len(z) - int(np.count_nonzero(finite))


class _Grid:
    """The fixed grid: greatest height per cell, then gaps along the rows, then gaps along the columns."""

    def __init__(self, rasterise: Rasterise, band: int) -> None:
        self._rows, self._cols = rasterise.shape
        self._max_gap = rasterise.max_gap
        self._first = tuple(np.float32(side[0]) for side in (rasterise.x_mm, rasterise.y_mm))
        self._per_mm = tuple(np.float32(1.0 / pitch) for pitch in rasterise.pitch_mm)
        self._col, self._row = np.empty(band, np.float32), np.empty(band, np.float32)
        self._kept, self._part = np.empty(band, np.bool_), np.empty(band, np.bool_)
        self._turned = np.empty((self._cols, self._rows), np.float32)
        self._along_rows, self._along_columns = (GapFiller(shape, rasterise.max_gap) for shape in (rasterise.shape, rasterise.shape[::-1]))
        self._blank = np.empty((self._rows, self._cols), np.bool_)

    def drop(self, points: NDArray[np.float32], z: NDArray[np.float32], missing: NDArray[np.bool_], cells: NDArray[np.float32]) -> None:
        """Raise each cell of `cells` (rows x cols,) to the greatest height of the points that fall into it."""
        count = len(z)
        col, row, kept, part = self._col[:count], self._row[:count], self._kept[:count], self._part[:count]
        np.logical_not(missing, out=kept)
        for axis, place, size in ((0, col, self._cols), (1, row, self._rows)):
            np.subtract(points[:, axis], self._first[axis], out=place)
            np.multiply(place, self._per_mm[axis], out=place)
            np.floor(np.add(place, np.float32(0.5), out=place), out=place)
            np.logical_and(kept, np.greater_equal(place, np.float32(0), out=part), out=kept)
            np.logical_and(kept, np.less(place, np.float32(size), out=part), out=kept)
        np.multiply(row, np.float32(self._cols), out=row)
        np.add(row, col, out=row)  # exact: a grid has at most 2^24 cells
        np.maximum.at(cells, row[kept].astype(np.intp), z[kept])

    def close_gaps(self, z: NDArray[np.float32]) -> None:
        """Fill narrow gaps of `z` f32 (rows, cols) in place; cells still empty become NaN."""
        if self._max_gap:
            self._along_rows.fill(z)
            cv2.transpose(z, self._turned)
            self._along_columns.fill(self._turned)
            cv2.transpose(self._turned, z)
        np.copyto(z, np.float32(np.nan), where=np.equal(z, EMPTY, out=self._blank))


class GapFiller:
    """Fills narrow gaps along the rows of images of one shape; holds the buffers for it."""

    def __init__(self, shape: tuple[int, int], max_gap: int) -> None:
        self._cols, self._max_gap = shape[1], max_gap
        self._blank, self._edge = np.empty(shape[0] * shape[1], np.bool_), np.empty(shape[0] * shape[1] - 1, np.bool_)

    def fill(self, z: NDArray[np.float32]) -> None:
        """In place: at most `max_gap` cells EMPTY between two heights of a row of `z` f32 (rows, cols) come to lie on the line between.

        A cell l after the height zl and r before zr gets zl + (zr - zl) x (f32(l) / f32(l + r)), every operation rounded in f32.
        """
        flat = z.reshape(-1)
        left, right = self._gaps(flat)
        width, low = right - left, flat[left]
        rise, span = flat[right] - low, width.astype(np.float32)
        for step in range(1, self._max_gap + 1):
            inside = width > step
            flat[left[inside] + step] = low[inside] + rise[inside] * (np.float32(step) / span[inside])

    def _gaps(self, flat: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The filled cells before and after every gap that is narrow enough and within one row."""
        blank = np.equal(flat, EMPTY, out=self._blank)
        edges = np.flatnonzero(np.not_equal(blank[1:], blank[:-1], out=self._edge)) + 1
        edges = edges[int(blank[0]) :]  # what is empty from the first cell on has nothing before it
        ends = edges[1::2]
        left = edges[::2][: len(ends)] - 1
        narrow = np.flatnonzero(ends - left <= self._max_gap + 1)
        left, right = left[narrow], ends[narrow]
        same = left // self._cols == right // self._cols
        return left[same], right[same]
