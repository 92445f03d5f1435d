"""Small image operations that respect pixels without data."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from train.defects.weld import F32, Mask, Pitch

_THIRD = np.array([1.0, -3.0, 3.0, -1.0])


def blur(image: F32, sigma: float | tuple[float, float]) -> F32:
    """Gaussian blur; sigma in pixels, or (along columns, along rows)."""
    sx, sy = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sx, sigmaY=sy, borderType=cv2.BORDER_REPLICATE), dtype=np.float32)


def filled(height: F32, where: Mask) -> F32:
    """`height` with the pixels of `where` that have no data taken from their nearest surroundings, ever wider until all are filled."""
    out = np.array(height, dtype=np.float32)
    sigma = 1.0
    while (todo := where & ~np.isfinite(out)).any():
        known = np.isfinite(out)
        if not known.any():
            return out
        weight = blur(known.astype(np.float32), sigma)
        mean = blur(np.where(known, out, 0.0).astype(np.float32), sigma) / np.maximum(weight, 1e-6)
        ready = todo & (weight > 0.05)
        out[ready] = mean[ready]
        sigma *= 1.6
    return out


def disc(diameter_mm: float, pitch: Pitch) -> Any:
    """An ellipse of that diameter as a kernel for morphology, at least 3 pixels wide."""
    sides = (max(3, 2 * round(diameter_mm / p / 2) + 1) for p in pitch)
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, tuple(sides))


def opened(mask: Mask, kernel: Any) -> Mask:
    """Parts narrower than the kernel removed."""
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel), dtype=np.bool_)


def closed(mask: Mask, kernel: Any) -> Mask:
    """Holes narrower than the kernel filled; what lies beyond the border counts as empty."""
    return np.asarray(cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel), dtype=np.bool_)


def grown(mask: Mask, kernel: Any) -> Mask:
    """Dilated by the kernel."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel), dtype=np.bool_)


def within(mask: Mask, distance_mm: float, pitch: Pitch) -> Mask:
    """Pixels at most that far from the mask, by the finer pitch; much faster than a large kernel."""
    away = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.asarray(away * min(pitch) <= distance_mm, dtype=np.bool_)


def parts(mask: Mask) -> list[Mask]:
    """The connected parts, the largest first."""
    count, names, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    order = sorted(range(1, count), key=lambda part: -int(stats[part, cv2.CC_STAT_AREA]))
    return [np.asarray(names == part, dtype=np.bool_) for part in order]


def noise_of(height: F32, where: Mask) -> float:
    """Standard deviation of the pixel noise in mm: the median absolute third difference along the columns' direction, 0 if unknown.

    A third difference cancels level, slope and curvature, so that the bead's round section does not count as noise; for
    independent noise its variance is 20 times the pixel's.
    """
    inside = np.where(where, height, np.nan).astype(np.float64)
    if inside.shape[0] < len(_THIRD):
        return 0.0
    count = inside.shape[0] - 3
    third = sum(weight * inside[row : row + count] for row, weight in enumerate(_THIRD))
    values = np.abs(third[np.isfinite(third)])
    return float(1.4826 * np.median(values) / np.sqrt(20.0)) if len(values) > 30 else 0.0
