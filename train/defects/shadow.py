"""The bead's own shadow in a scan, and the line of sight that explains its length."""

from __future__ import annotations

import numpy as np

from train.defects.filters import parts
from train.defects.weld import F32, Mask, Origin, Pitch, Sight

LEAST_PIXELS = 3
"""Shorter stretches without data behind a bead are chance."""
LEAST_SHARE = 0.3
"""Of the bead's columns must cast a shadow; fewer say nothing about the sensor."""
GRAZING, SCATTER = 0.05, 0.2
"""A line of sight flatter than the first is no line of sight; the shadow's edge frays no more than the second."""


def find_shadow(height: F32, rise: F32, bead: Mask, origin: Origin | None, pitch: Pitch) -> tuple[Mask, Sight | None]:
    """The pixels without data that the bead's shadow covers, bool [rows, columns], and the line of sight; none without an origin.

    `rise` is the height over the ground in mm. In every column the ray that grazes the bead's last visible pixel meets the ground
    where data begin again: slope = rise / distance. The median over the columns counts.
    """
    nothing = np.zeros_like(bead)
    if origin is None:
        return nothing, None
    down = slice(None, None, 1 if origin == "north" else -1)
    shadow, slopes = _cast(height[down], rise[down], bead[down], pitch[1])
    if len(slopes) < LEAST_SHARE * bead.any(axis=0).sum():
        return nothing, None
    shadow = shadow[down]
    valid = np.isfinite(height)
    for hole in parts(~valid):
        at_border = hole[0].any() or hole[-1].any() or hole[:, 0].any() or hole[:, -1].any()
        if not at_border and (hole & shadow).any():
            shadow = shadow | hole
    slope = float(np.median(slopes))
    if slope < GRAZING:
        return shadow, None
    spread = float(1.4826 * np.median(np.abs(np.array(slopes) / slope - 1.0)))
    return shadow, Sight(origin=origin, slope=slope, spread=min(spread, SCATTER))


def _cast(height: F32, rise: F32, bead: Mask, pitch: float) -> tuple[Mask, list[float]]:
    """The shadows' pixels and slopes per column, seen from the first row on."""
    valid = np.isfinite(height)
    shadow, slopes = np.zeros_like(bead), []
    for column in np.flatnonzero((valid & bead).any(axis=0)):
        edge = int(np.flatnonzero(valid[:, column] & bead[:, column])[-1])
        beyond = np.flatnonzero(valid[edge + 1 :, column])
        if len(beyond) and beyond[0] >= LEAST_PIXELS:
            distance = int(beyond[0]) + 1
            shadow[edge + 1 : edge + distance, column] = True
            slopes.append(float(rise[edge, column]) / (distance * pitch))
    return shadow, slopes
