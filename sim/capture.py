"""What the 3D camera makes of a surface: background removed, shadows cast, dropouts at steep flanks, noise that grows with height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sim.surface import F32, Y_MM, HeightField, Mask, slow
from sim.typologies import COLUMNS, PITCH_MM, ROWS

BACKGROUND_MM = 0.3
"""Where the background is removed, material thinner than this goes with it."""
STEEP = 1.9
"""Slopes above this, in mm per mm, often return no light."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How this frame was taken: height gain and offset (a brightness change of the heightmap) and the share of lost pixels."""

    gain: float = 1.0
    offset_mm: float = 0.0
    dropout: float = 0.002


def capture(field: HeightField, conditions: Conditions, rng: np.random.Generator) -> F32:
    """The height image of `field`, f32 [ROWS, COLUMNS] in mm, NaN where nothing came back."""
    surface = field.surface()
    ragged = BACKGROUND_MM + 0.07 * slow(rng, 120) + 0.05 * rng.standard_normal((1, COLUMNS), dtype=np.float32)
    data = field.seen | (field.material() > np.maximum(ragged, 0.1))
    data &= ~field.lost & ~_hidden(field, surface, rng)
    data &= rng.random((ROWS, COLUMNS), dtype=np.float32) > _losses(surface, conditions.dropout)
    height = (surface + _noise(surface, rng)) * np.float32(conditions.gain) + np.float32(conditions.offset_mm)
    height[~data] = np.nan
    return np.asarray(height, dtype=np.float32)


def _hidden(field: HeightField, surface: F32, rng: np.random.Generator) -> Mask:
    """What the line of sight, coming from the north, cannot reach: everything below the highest horizon so far."""
    slope = np.float32(field.typology.sight_slope) * (1.0 + 0.06 * slow(rng, 14) + 0.04 * slow(rng, 90))
    ray = surface + slope * Y_MM
    if field.typology.flange_mm is not None:
        low, high = field.typology.flange_mm
        ray[0] = float(rng.uniform(low, high)) + 0.12 * slow(rng, 7)[0]
    horizon = np.maximum.accumulate(ray, axis=0)
    hidden: Mask = horizon > ray + 0.02
    return hidden


def _losses(surface: F32, dropout: float) -> F32:
    """Probability of a lost pixel, f32 [ROWS, COLUMNS]: a little everywhere, much on steep flanks."""
    steepness = np.zeros_like(surface)
    steepness[1:-1] = np.abs(surface[2:] - surface[:-2]) / np.float32(2 * PITCH_MM)
    along = np.abs(surface[:, 2:] - surface[:, :-2]) / np.float32(2 * PITCH_MM)
    np.maximum(steepness[:, 1:-1], along, out=steepness[:, 1:-1])
    return np.asarray(dropout + 0.3 * np.clip(steepness / STEEP - 1.0, 0.0, 1.0), dtype=np.float32)


def _noise(surface: F32, rng: np.random.Generator) -> F32:
    """Speckle that grows with height, an offset per profile (one column is one profile) and a few spikes; f32 [ROWS, COLUMNS] in mm."""
    noise = rng.standard_normal((ROWS, COLUMNS), dtype=np.float32)
    noise *= 0.014 + 0.007 * np.abs(surface)
    noise += 0.011 * rng.standard_normal((1, COLUMNS), dtype=np.float32)
    spikes = rng.integers(0, ROWS * COLUMNS, int(rng.integers(4, 16)))
    noise.reshape(-1)[spikes] += rng.uniform(-0.5, 0.5, len(spikes)).astype(np.float32)
    return noise
