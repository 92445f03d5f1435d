"""What the sensor makes of a changed surface: shadows cast anew, steep flanks lost, noise where the surface is new."""

from __future__ import annotations

import numpy as np

from train.defects.filters import blur, closed
from train.defects.weld import F32, Mask, Weld

UNSEEN_MM = 0.03
"""Changes of the surface below this are left out: they would be lost in the noise."""
STEEP = 2.0
"""Slope in mm per mm from which a surface that was painted begins to lose pixels."""
STEEP_LOSS = 0.3
"""Share of the pixels that a surface of twice that slope loses."""


def sense(
    weld: Weld, solid: F32, rng: np.random.Generator, *, fresh: Mask, lost: Mask, holes: Mask | None = None
) -> tuple[F32, Mask, Mask]:
    """The scan after the weld's surface became `solid` (f32 [rows, columns], mm): height with NaN, where the defect and new shadows are.

    `fresh` marks surface that was invented and so carries no noise yet; `lost` returns no data; `holes` are the pixels that the
    source lost by chance, if they moved. Pixels outside both masks are the source's, bit by bit.
    """
    touched = (np.abs(solid - weld.solid) > UNSEEN_MM) | lost
    seed = int(rng.integers(2**32))
    (was_hidden, horizon_before), (hidden, horizon) = (_hidden(weld, blur(surface, 0.8), seed) for surface in (weld.solid, solid))
    lowered = np.asarray(horizon_before - horizon)
    freed = (lowered > 0.05).any(axis=0, keepdims=True) & ~(lowered < -0.05).any(axis=0, keepdims=True)
    back = weld.shadow & ~hidden & (touched | freed)
    data = _returns(weld, solid, rng) & ~lost & ~hidden & ~(touched & _steep(weld, solid, rng))
    data &= ~(_holes(weld) if holes is None else holes)
    noisy = solid + np.where(fresh | back, _noise(weld, solid, rng), 0.0)
    height = np.where(touched | back, np.where(data, noisy, np.nan), weld.height)
    newly = hidden & (~was_hidden | (horizon > horizon_before + 0.05))
    height = np.where(newly, np.nan, height).astype(np.float32)
    differs = np.asarray(~((height == weld.height) | (np.isnan(height) & np.isnan(weld.height))), dtype=np.bool_)
    mask = closed(differs & touched, np.ones((3, 3), np.uint8))  # a pixel may by chance be what it was
    return height, mask, differs & ~mask


def _hidden(weld: Weld, solid: F32, seed: int) -> tuple[Mask, F32]:
    """What the line of sight cannot reach, all that lies below the highest ray so far; and that ray. Equal seeds fray shadows equally."""
    if weld.sight is None:
        return np.zeros_like(weld.seen), np.zeros_like(solid)
    rng = np.random.default_rng(seed)
    down = slice(None, None, 1 if weld.sight.origin == "north" else -1)
    ragged = blur(rng.standard_normal((1, solid.shape[1]), dtype=np.float32), (1.5, 0.01)) * 2.3  # about unit variance again
    slope = np.float32(weld.sight.slope) * np.maximum(1.0 + np.float32(weld.sight.spread) * ragged, 0.3)
    ray = solid[down] + slope * weld.y
    horizon = np.maximum.accumulate(ray, axis=0)
    return np.asarray((horizon > ray + 0.05)[down], dtype=np.bool_), np.asarray(horizon[down], dtype=np.float32)


def _returns(weld: Weld, solid: F32, rng: np.random.Generator) -> Mask:
    """Where a surface gives data: the ground in view, and elsewhere what rises over the level at which the scan's data end."""
    ragged = 0.08 + 0.03 * rng.standard_normal((1, solid.shape[1]), dtype=np.float32)
    return np.asarray(weld.seen | (solid - weld.ground > np.maximum(ragged, 0.0)), dtype=np.bool_)


def _steep(weld: Weld, solid: F32, rng: np.random.Generator) -> Mask:
    """Pixels lost because the surface became steep."""
    excess = np.clip(slope_of(solid, weld.pitch) / STEEP - 1.0, 0.0, 1.0)
    return np.asarray(rng.random(solid.shape, dtype=np.float32) < STEEP_LOSS * excess, dtype=np.bool_)


def slope_of(surface: F32, pitch: tuple[float, float]) -> F32:
    """The steeper of the two central differences at every pixel, mm per mm."""
    down, right = np.gradient(surface, pitch[1], pitch[0])
    return np.asarray(np.maximum(np.abs(down), np.abs(right)), dtype=np.float32)


def _holes(weld: Weld) -> Mask:
    """Pixels that the source lost by chance, and gaps that it had."""
    return np.asarray(np.isnan(weld.height) & ~weld.shadow & (weld.seen | weld.bead.footprint), dtype=np.bool_)


def _noise(weld: Weld, solid: F32, rng: np.random.Generator) -> F32:
    """Independent noise of the level measured on this scan's bead or sheets, whichever the surface is."""
    on_bead, on_sheet = weld.noise
    level = np.where(solid - weld.ground > 0.3, on_bead, on_sheet)
    return np.asarray(level * rng.standard_normal(solid.shape, dtype=np.float32), dtype=np.float32)
