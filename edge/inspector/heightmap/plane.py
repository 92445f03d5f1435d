"""The sheet's plane: a robust fit that gives the same answer every time, for the same heights, on every machine."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from edge.contract import Reason
from edge.errors import FrameError
from edge.inspector.heightmap.spec import PlaneRemoval

SAMPLES_PER_SIDE = 32
"""The candidate planes are made from and voted on by at most this many grid points per direction."""
REFINEMENTS = 2
_COLLINEAR = 1e-6


class PlaneRemover:
    """Subtracts the plane most samples agree on, refined by least squares; holds the buffers for one image shape."""

    def __init__(self, spec: PlaneRemoval, shape: tuple[int, int]) -> None:
        rows, cols = shape
        self._inlier_mm, self._draws = spec.inlier_mm, draws(spec.iterations)
        self._x, self._y = np.arange(cols, dtype=np.float64), np.arange(rows, dtype=np.float64)
        self._fitted, self._far = np.empty(shape, np.float32), np.empty(shape, np.float32)
        step_y, step_x = -(-rows // SAMPLES_PER_SIDE), -(-cols // SAMPLES_PER_SIDE)
        self._grid = (slice(step_y // 2, None, step_y), slice(step_x // 2, None, step_x))
        ys, xs = np.meshgrid(self._y[self._grid[0]], self._x[self._grid[1]], indexing="ij")
        self._sample_x, self._sample_y = xs.reshape(-1), ys.reshape(-1)

    def remove(self, z: NDArray[np.float32]) -> None:
        """Subtract in place from f32 (rows, cols) heights in mm, NaN for no data. Raises FrameError FRAME_EMPTY without a plane."""
        plane = self._best_candidate(z)
        for _ in range(REFINEMENTS):
            plane = self._refine(z, plane)
        np.subtract(z, self._evaluate(plane), out=z)

    def _best_candidate(self, z: NDArray[np.float32]) -> NDArray[np.float64]:
        heights = z[self._grid].reshape(-1).astype(np.float64)
        seen = np.isfinite(heights)
        points = np.stack([self._sample_x[seen], self._sample_y[seen], heights[seen]])
        candidates = planes_through(points, self._draws)
        if not len(candidates):
            raise FrameError(
                Reason.FRAME_EMPTY,
                "too few heights to fit the sheet's plane",
                seen=f"{points.shape[1]} samples with data",
                remedy="Check exposure and the camera's field of view, or export without plane removal",
            )
        residuals = candidates[:, :2] @ points[:2]
        residuals += candidates[:, 2:]
        residuals -= points[2]
        votes = np.count_nonzero(np.abs(residuals, out=residuals) <= self._inlier_mm, axis=1)
        best: NDArray[np.float64] = candidates[int(np.argmax(votes))]
        return best

    def _evaluate(self, plane: NDArray[np.float64]) -> NDArray[np.float32]:
        across, down = (plane[0] * self._x + plane[2]).astype(np.float32), (plane[1] * self._y).astype(np.float32)
        np.add(across[None, :], down[:, None], out=self._fitted)
        return self._fitted

    def _refine(self, z: NDArray[np.float32], plane: NDArray[np.float64]) -> NDArray[np.float64]:
        residual = np.subtract(z, self._evaluate(plane), out=self._far)
        near = np.abs(residual) <= self._inlier_mm
        step = least_squares(np.where(near, residual, np.float32(0)), near, self._x, self._y)
        return plane if step is None else plane + step


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
    z: NDArray[np.float32], near: NDArray[np.bool_], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """The plane (a, b, c) with the least squared error over `near`; `z` is 0 elsewhere. None when those points fix no plane."""
    per_column, per_row = near.sum(axis=0, dtype=np.float64), near.sum(axis=1, dtype=np.float64)
    n, sx, sy = per_column.sum(), per_column @ x, per_row @ y
    sxy = y @ (near.astype(np.float64) @ x)
    z_column, z_row = z.sum(axis=0, dtype=np.float64), z.sum(axis=1, dtype=np.float64)
    normal = np.array([[per_column @ (x * x), sxy, sx], [sxy, per_row @ (y * y), sy], [sx, sy, n]])
    if n < 3 or np.linalg.matrix_rank(normal) < 3:
        return None
    solution: NDArray[np.float64] = np.linalg.solve(normal, np.array([z_column @ x, z_row @ y, z_row.sum()]))
    return solution


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
