"""The sheet's plane: a robust fit that gives the same answer every time, for the same heights, on every machine."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.inspector.heightmap.refusals import no_plane
from edge.inspector.heightmap.spec import PlaneRemoval

SAMPLES_PER_SIDE = 32
"""The candidate planes are made from and voted on by at most this many grid points per direction."""
REFINEMENTS = 2
STEPS_PER_INLIER = 1 << 22
"""Residuals are summed in whole numbers of inlier_mm / 2^22, whose sums are the same in any order."""
_COLLINEAR = 1e-6
_FLAT = 1e-9
_BAND_PIXELS = 1 << 15
"""Rows are worked on in bands of about so many pixels, which stay in the processor's cache from step to step."""


class PlaneRemover:
    """Subtracts the plane most samples agree on, refined by least squares; holds the buffers for one image shape."""

    def __init__(self, spec: PlaneRemoval, shape: tuple[int, int]) -> None:
        rows, cols = shape
        self._samples = PlaneSamples(spec, shape)
        self._scale, self._inlier = spec.inlier_mm / STEPS_PER_INLIER, np.float32(spec.inlier_mm)
        self._steps = np.float32(STEPS_PER_INLIER / spec.inlier_mm)
        self._x, self._y = np.arange(cols, dtype=np.float64), np.arange(rows, dtype=np.float64)
        self._columns = tuple(self._x**power for power in range(3))
        self._rows = np.stack([np.arange(rows, dtype=np.int64) ** power for power in range(3)], axis=1)
        self._row_sums = np.empty((5, rows), np.float64)
        high = max(1, min(rows, _BAND_PIXELS // cols))
        self._bands = tuple(slice(top, min(top + high, rows)) for top in range(0, rows, high))
        self._fitted, self._far = np.empty((high, cols), np.float32), np.empty((high, cols), np.float32)
        self._near, self._exact = np.empty((high, cols), np.bool_), np.empty((high, cols), np.float64)

    def remove(self, z: NDArray[np.float32]) -> None:
        """Subtract in place from f32 (rows, cols) heights in mm, NaN for no data. Raises FrameError FRAME_EMPTY without a plane."""
        plane = self._samples.best_plane(z)
        with np.errstate(over="ignore", invalid="ignore"):  # a residual beyond f32 is far from the plane, as it was before
            for _ in range(REFINEMENTS):
                plane = self._refined(z, plane)
            across, down = self._evaluate(plane)
            for band in self._bands:
                part = z[band]
                np.subtract(part, np.add(across, down[band], out=self._fitted[: len(part)]), out=part)

    def _evaluate(self, plane: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The plane's two summands: f32 (1, cols) and f32 (rows, 1)."""
        return (plane[0] * self._x + plane[2]).astype(np.float32)[None, :], (plane[1] * self._y).astype(np.float32)[:, None]

    def _refined(self, z: NDArray[np.float32], plane: NDArray[np.float64]) -> NDArray[np.float64]:
        across, down = self._evaluate(plane)
        for band in self._bands:
            self._add_up(z[band], across, down[band], self._row_sums[:, band])
        (n, sy, syy), (sx, sxy, _), (sxx, _, _), (sq, syq, _), (sxq, _, _) = (self._row_sums.astype(np.int64) @ self._rows).tolist()
        step = least_squares((n, sx, sy, sxx, sxy, syy), (sq, sxq, syq), self._scale)
        return plane if step is None else plane + step

    def _add_up(self, z: NDArray[np.float32], across: NDArray[Any], down: NDArray[Any], sums: NDArray[np.float64]) -> None:
        """Per row, over pixels near the plane: number, sum of x, of x^2, of the residuals in whole steps, of x times those."""
        fitted, far, near, exact = (buffer[: len(z)] for buffer in (self._fitted, self._far, self._near, self._exact))
        residual = np.subtract(z, np.add(across, down, out=fitted), out=far)
        np.less_equal(np.abs(residual, out=fitted), self._inlier, out=near)
        np.copyto(exact, near)
        # Whole numbers below 2^53 throughout: BLAS may add and fuse in any order.
        for power in range(3):
            np.matmul(exact, self._columns[power], out=sums[power])
        np.rint(np.multiply(residual, self._steps, out=residual), out=residual)
        np.copyto(exact, 0.0)
        np.copyto(exact, residual, where=near)
        for power in range(2):
            np.matmul(exact, self._columns[power], out=sums[3 + power])


class PlaneSamples:
    """Grid points of one image shape, the planes drawn through them, and their votes; holds the buffers for both."""

    def __init__(self, spec: PlaneRemoval, shape: tuple[int, int]) -> None:
        self._inlier_mm, self._draws = spec.inlier_mm, draws(spec.iterations)
        steps = [-(-side // SAMPLES_PER_SIDE) for side in shape]
        self._grid = (slice(steps[0] // 2, None, steps[0]), slice(steps[1] // 2, None, steps[1]))
        ys, xs = (np.arange(side, dtype=np.float64)[grid] for side, grid in zip(shape, self._grid, strict=True))
        self._places = np.stack([np.tile(xs, len(ys)), np.repeat(ys, len(xs))])
        self._residuals, self._slopes = (np.empty(spec.iterations * self._places.shape[1], np.float64) for _ in range(2))

    def best_plane(self, z: NDArray[np.float32]) -> NDArray[np.float64]:
        """The candidate (a, b, c) with the most votes, the earliest among equals. Raises FrameError FRAME_EMPTY."""
        heights = z[self._grid].reshape(-1).astype(np.float64)
        seen = np.isfinite(heights)
        points = np.concatenate([self._places[:, seen], heights[None, seen]])
        candidates = planes_through(points, self._draws)
        if not len(candidates):
            raise no_plane(points.shape[1])
        best: NDArray[np.float64] = candidates[int(np.argmax(self.votes(candidates, points)))]
        return best

    def votes(self, candidates: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.intp]:
        """How many of `points` f64 (3, m) lie within inlier_mm of each of `candidates` f64 (k, 3): (k,)."""
        shape = len(candidates), points.shape[1]
        residuals, slopes = (buffer[: shape[0] * shape[1]].reshape(shape) for buffer in (self._residuals, self._slopes))
        a, b, c = (candidates[:, index, None] for index in range(3))
        # One operation after the other, not as a matrix product: BLAS fuses and reorders, and a tie could fall to another plane.
        np.add(np.multiply(a, points[0], out=residuals), np.multiply(b, points[1], out=slopes), out=residuals)
        np.subtract(np.add(residuals, c, out=residuals), points[2], out=residuals)
        votes: NDArray[np.intp] = np.count_nonzero(np.abs(residuals, out=residuals) <= self._inlier_mm, axis=1)
        return votes


def planes_through(points: NDArray[np.float64], fractions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Planes (a, b, c) of z = a x + b y + c through drawn triples of `points` f64 (3, n); collinear triples are left out."""
    count = points.shape[1]
    if count < 3:
        return np.empty((0, 3))
    first, second, third = (points[:, index] for index in (fractions * count).astype(np.intp).T)
    u, v = second - first, third - first
    area = u[0] * v[1] - u[1] * v[0]
    proper = np.abs(area) > _COLLINEAR
    u, v, area, first = u[:, proper], v[:, proper], area[proper], first[:, proper]
    a = (u[2] * v[1] - v[2] * u[1]) / area
    b = (v[2] * u[0] - u[2] * v[0]) / area
    return np.stack([a, b, first[2] - a * first[0] - b * first[1]], axis=1)


def least_squares(
    places: tuple[int, int, int, int, int, int], heights: tuple[int, int, int], scale: float
) -> tuple[float, float, float] | None:
    """The plane (a, b, c) with the least squared error; None when the points fix no plane.

    `places` are the sums n, x, y, x^2, x y, y^2 and `heights` the sums q, x q, y q over the points, whole numbers that fit i64;
    a height is q x `scale` mm. From there on in f64, in the order written: docs/heightmap.md promises it.
    """
    n, sx, sy, sxx, sxy, syy = (float(value) for value in places)
    sq, sxq, syq = (float(value) for value in heights)
    if n < 3:
        return None
    mx, my, mq = sx / n, sy / n, sq / n
    vxx, vyy, vxy = sxx - sx * mx, syy - sy * my, sxy - sx * my
    cx, cy = sxq - sx * mq, syq - sy * mq
    det = vxx * vyy - vxy * vxy
    if not det > _FLAT * (vxx * vyy):
        return None
    a = ((cx * vyy - cy * vxy) / det) * scale
    b = ((cy * vxx - cx * vxy) / det) * scale
    return a, b, mq * scale - a * mx - b * my


@functools.cache
def draws(iterations: int) -> NDArray[np.float64]:
    """Fractions 0 <= f < 1, f64 (iterations, 3), from the generator x' = (1664525 x + 1013904223) mod 2^32 started at 1."""
    state, values = 1, []
    for _ in range(3 * iterations):
        state = (1_664_525 * state + 1_013_904_223) % 2**32
        values.append(state / 2**32)
    table = np.array(values).reshape(iterations, 3)
    table.setflags(write=False)
    return table
