"""Every defect behind one call: a weld, parameters and a seed give a painted scan; and the changes that leave the label alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import msgspec
import numpy as np

from edge.errors import DatasetError
from train.defects.holes import cut, fill, pierce, strip
from train.defects.shape import deviate, drop_balls, exceed, starve
from train.defects.values import Ball, Bare, Conditions, Cut, Deviation, Excess, Missing, Parameters, Pore, Solid, Sound
from train.defects.weld import F32, Mask, Painted, Weld

_PAINTERS: dict[type, Callable[[Weld, Any, int], Painted]] = {
    Deviation: deviate,
    Excess: exceed,
    Ball: drop_balls,
    Cut: cut,
    Pore: pierce,
    Missing: starve,
    Bare: strip,
    Solid: fill,
}


def paint(weld: Weld, parameters: Parameters, seed: int) -> Painted:
    """The scan of `weld` with one defect; equal arguments give equal pixels, and `weld` stays as it is.

    Raises DatasetError when the defect does not fit on this bead, or is too close to the limit to be labelled.
    """
    if isinstance(parameters, Sound):
        nothing = np.zeros_like(weld.seen)
        return Painted(height=weld.height, mask=nothing, shadow=nothing, label="good", parameters={})
    painted = _PAINTERS[type(parameters)](weld, parameters, seed)
    if not painted.mask.any():
        seen = ", ".join(f"{key} {value}" for key, value in painted.parameters.items())
        raise DatasetError("the defect would not show in this scan", seen=seen, remedy="Draw it larger, or on the side in view")
    return painted


def capture(weld: Weld, painted: Painted, conditions: Conditions, seed: int) -> Painted:
    """The painted scan as taken under other conditions: same weld, same label; pure like `paint`. Masks move along."""
    rng = np.random.default_rng(seed)
    height = painted.height
    if conditions.gain != 1.0 or conditions.offset_mm != 0.0:
        toe = np.float32(np.median(weld.ground))
        height = (height - toe) * np.float32(conditions.gain) + toe + np.float32(conditions.offset_mm)
    if conditions.dropout > 0.0:
        over = painted.height - weld.ground > 0.1
        gone = (weld.bead.footprint | over) & (rng.random(height.shape) < conditions.dropout)
        height = np.where(gone, np.float32(np.nan), height)
    mask, shadow = painted.mask, painted.shadow
    if conditions.move_mm != (0.0, 0.0) or conditions.turn_deg != 0.0:
        height, mask, shadow = (_posed(image, weld, conditions) for image in (height, mask, shadow))
    said = {key: value for key, value in msgspec.to_builtins(conditions).items() if value != msgspec.to_builtins(Conditions())[key]}
    words = {key: " ".join(f"{v:.3f}" for v in value) if isinstance(value, (list, tuple)) else value for key, value in said.items()}
    parameters = {**painted.parameters, **words}
    return replace(painted, height=height.astype(np.float32), mask=mask, shadow=shadow, parameters=parameters)


def _posed(image: F32 | Mask, weld: Weld, conditions: Conditions) -> Any:
    """Turned and shifted by nearest pixel, the border repeated: no height is invented between a pixel with data and one without."""
    rows, columns = image.shape
    px, py = weld.pitch
    turn = np.radians(conditions.turn_deg)
    # Turn in mm, not in pixels: the two pitches may differ.
    linear = np.array([[np.cos(turn), -np.sin(turn) * py / px], [np.sin(turn) * px / py, np.cos(turn)]])
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2])
    shift = middle - linear @ (middle + np.array([conditions.move_mm[0] / px, conditions.move_mm[1] / py]))
    matrix = np.column_stack([linear, shift])
    source = image.astype(np.float32)
    how = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(source, matrix, (columns, rows), flags=how, borderMode=cv2.BORDER_REPLICATE)
    return moved > 0.5 if image.dtype == np.bool_ else moved
