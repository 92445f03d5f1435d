"""Frames to measure heightmaps on: the sheet a camera sees, tilted, with a seam, noise, stray points and holes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.inspector.heightmap.spec import HeightmapSpec, OutlierFilter, PercentileWindow, PlaneRemoval, Rasterise
from edge.inspector.scan import Scan
from sim.welds import NO_DATA, make_weld, to_range

FULL_SPEC = HeightmapSpec(
    outliers=OutlierFilter(window=5, limit_mm=2.0), plane=PlaneRemoval(inlier_mm=0.5), window=PercentileWindow(low=2.0, high=98.0)
)
"""Everything a spec can ask for, but a grid."""
PITCH_MM = 0.05
STRAY, HOLES = 0.002, 0.02
"""Shares of points far off the surface, and of points that did not come back."""


def organised_cloud(rows: int, cols: int, seed: int = 0) -> Scan:
    """f32 (rows, cols, 3), x y z in mm as they lie on the sensor; missing points have NaN as z."""
    x, y, z = _points(rows, cols, np.random.default_rng(seed))
    return Scan(image=np.stack((x, y, z), axis=-1), kind="cloud", no_data=float("nan"))


def unorganised_cloud(rows: int, cols: int, seed: int = 0) -> Scan:
    """f32 (1, n, 3): the same points without their order on the sensor, shaken by a third of the pitch, holes left out."""
    rng = np.random.default_rng(seed)
    x, y, z = (axis.reshape(-1) for axis in _points(rows, cols, rng))
    there = ~np.isnan(z)
    shake = rng.uniform(-PITCH_MM / 3, PITCH_MM / 3, (2, int(there.sum()))).astype(np.float32)
    points = np.stack((x[there] + shake[0], y[there] + shake[1], z[there]), axis=-1)
    return Scan(image=points[None], kind="cloud", no_data=float("nan"))


def rasterised(rows: int, cols: int) -> HeightmapSpec:
    """The full spec with the grid that `unorganised_cloud` of these sizes falls into."""
    last = (cols - 1) * PITCH_MM, (rows - 1) * PITCH_MM
    grid = Rasterise(x_mm=(0.0, last[0]), y_mm=(0.0, last[1]), pitch_mm=(PITCH_MM, PITCH_MM), max_gap=3)
    return HeightmapSpec(outliers=FULL_SPEC.outliers, plane=FULL_SPEC.plane, window=FULL_SPEC.window, rasterise=grid)


def range_image(seed: int = 0) -> Scan:
    """A simulated weld as a camera sends it: u16 (128, 352)."""
    image, scale, offset = to_range(make_weld("T3", "none", seed))
    return Scan(image=image, kind="range", z_scale_mm=scale, z_offset_mm=offset, no_data=float(NO_DATA))


def _points(rows: int, cols: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    y, x = np.mgrid[0:rows, 0:cols].astype(np.float32) * np.float32(PITCH_MM)
    seam = 1.2 * np.exp(-(((y - y.mean()) / (0.08 * rows * PITCH_MM)) ** 2)) * (1 + 0.2 * np.sin(x / 1.5))
    z = 0.01 * x - 0.02 * y + 3.0 + seam + rng.normal(0.0, 0.01, (rows, cols))
    z += np.where(rng.random((rows, cols)) < STRAY, rng.uniform(-8.0, 8.0, (rows, cols)), 0.0)
    z[rng.random((rows, cols)) < HOLES] = np.nan
    return x, y, z.astype(np.float32)
