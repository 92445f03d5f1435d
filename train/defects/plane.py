"""Sheets in a height image: large, nearly flat parts that everything beside them stands above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.defects.filters import closed, disc, grown, opened, parts
from train.defects.weld import F32, Mask, Pitch

TRIALS = 500
REACH_MM = 9.0
"""The three points that a plane is tried through lie within this distance."""
MAX_SLOPE = 0.4
"""mm per mm; the oblique sheets of the typologies rise by less than half of it, a bead's flanks by more than twice."""
MIN_SHARE = 0.12
"""Of the pixels with data; less is no sheet that matters."""
BOWED_SHARE = 0.4
"""Of the whole frame; only a sheet seen that widely is fitted with curvature, since curvature must not be extrapolated."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One sheet: its surface in mm, carried on over the whole frame, and where it is in view; f32 and bool [rows, columns]."""

    surface: F32
    region: Mask


def find_sheets(height: F32, valid: Mask, pitch: Pitch, tolerance_mm: float) -> list[Sheet]:
    """At most two sheets, the larger first; `height` is finite where `valid`. Equal input gives equal output."""
    rng = np.random.default_rng(0)
    left = valid.copy()
    sheets: list[Sheet] = []
    for _ in range(3):
        near = _best_plane(height, left, pitch, tolerance_mm, rng)
        if near is None:
            break
        sheet, is_sheet = _grow(height, valid, near, pitch, tolerance_mm)
        left &= ~(grown(sheet.region, disc(0.6, pitch)) | near)
        if is_sheet and not any(_same(sheet, other) for other in sheets):
            sheets.append(sheet)
        if len(sheets) == 2 or left.sum() < MIN_SHARE * valid.sum():
            break
    return sheets


def _best_plane(height: F32, left: Mask, pitch: Pitch, tolerance: float, rng: np.random.Generator) -> Mask | None:
    """The pixels near the plane through three neighbouring pixels that has most pixels near it."""
    rows, columns = np.nonzero(left)
    if len(rows) < 50:
        return None
    planes = _trial_planes(height, left, (rows, columns), pitch, rng)
    if not len(planes):
        return None
    some = rng.permutation(len(rows))[:3000]
    points = np.stack([columns[some] * pitch[0], rows[some] * pitch[1], np.ones(len(some))]).astype(np.float32)
    miss = np.abs(planes @ points - height[rows[some], columns[some]])
    best = planes[int((miss < tolerance).sum(axis=1).argmax())]
    return np.asarray(left & (np.abs(height - _surface(best, height.shape, pitch)) < tolerance), dtype=np.bool_)


def _trial_planes(
    height: F32, left: Mask, at: tuple[NDArray[np.intp], NDArray[np.intp]], pitch: Pitch, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Coefficients (x, y, 1) of planes through triples of neighbours, f32 [n, 3]; too steep ones left out."""
    first = rng.integers(0, len(at[0]), TRIALS)
    points = []
    usable = np.ones(TRIALS, dtype=np.bool_)
    for far in (False, True, True):
        shift = rng.uniform(-REACH_MM, REACH_MM, (2, TRIALS)) if far else np.zeros((2, TRIALS))
        r = np.rint(at[0][first] + shift[0] / pitch[1]).astype(int)
        c = np.rint(at[1][first] + shift[1] / pitch[0]).astype(int)
        usable &= (r >= 0) & (r < left.shape[0]) & (c >= 0) & (c < left.shape[1])
        r, c = np.clip(r, 0, left.shape[0] - 1), np.clip(c, 0, left.shape[1] - 1)
        usable &= left[r, c]
        points.append(np.stack([c * pitch[0], r * pitch[1], height[r, c]], axis=1))
    a, b, c = (p[usable].astype(np.float64) for p in points)
    normal = np.cross(b - a, c - a)
    steady = np.abs(normal[:, 2]) > 4.0  # mm²: triples almost on one line say nothing across it
    normal, a = normal[steady], a[steady]
    slopes = -normal[:, :2] / normal[:, 2:]
    planes = np.column_stack([slopes, a[:, 2] - (slopes * a[:, :2]).sum(axis=1)])
    return planes[np.hypot(slopes[:, 0], slopes[:, 1]) < MAX_SLOPE].astype(np.float32)


def _grow(height: F32, valid: Mask, near: Mask, pitch: Pitch, tolerance: float) -> tuple[Sheet, bool]:
    """The plane fitted again to all it holds, and whether it is a sheet: wide enough, and lower than what it borders on."""
    surface = _surface(_fit(height, near, pitch, bowed=False), height.shape, pitch)
    for _ in range(3):
        near = valid & (np.abs(height - surface) < 1.5 * tolerance)
        if near.sum() < 30:
            return Sheet(surface=surface, region=near), False
        surface = _surface(_fit(height, near, pitch, bowed=near.mean() > BOWED_SHARE), height.shape, pitch)
    region = opened(closed(near, disc(0.6, pitch)) & valid, disc(1.4, pitch))
    large = [part for part in parts(region) if part.sum() > 0.03 * valid.sum()]
    region = np.logical_or.reduce(large) if large else np.zeros_like(valid)
    residual = np.where(valid, height - surface, 0.0)
    border = grown(region, disc(2.4, pitch)) & valid & ~region
    above, below = (border & (residual > 2 * tolerance)).sum(), (border & (residual < -2 * tolerance)).sum()
    return Sheet(surface=surface, region=region), bool(region.sum() > MIN_SHARE * valid.sum() and above >= below)


def _fit(height: F32, where: Mask, pitch: Pitch, *, bowed: bool) -> NDArray[np.float32]:
    rows, columns = np.nonzero(where)
    step = max(1, len(rows) // 6000)
    rows, columns = rows[::step], columns[::step]
    powers = _powers(columns * pitch[0], rows * pitch[1], 6 if bowed else 3)
    return np.asarray(np.linalg.lstsq(powers, height[rows, columns].astype(np.float64), rcond=None)[0], dtype=np.float32)


def _powers(x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]], count: int) -> NDArray[np.floating[Any]]:
    return np.stack([x, y, np.ones_like(x), x * x, x * y, y * y][:count], axis=-1)


def _surface(coefficients: NDArray[np.float32], shape: tuple[int, ...], pitch: Pitch) -> F32:
    y, x = np.meshgrid(np.arange(shape[0]) * pitch[1], np.arange(shape[1]) * pitch[0], indexing="ij")
    return np.asarray(_powers(x, y, len(coefficients)) @ coefficients.astype(np.float64), dtype=np.float32)


def _same(one: Sheet, other: Sheet) -> bool:
    both = (one.region & other.region).sum()
    return bool(both > 0.3 * min(one.region.sum(), other.region.sum()))
