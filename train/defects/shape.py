"""Defects of the bead's path and section: deviation, excess material, balls, missing material."""

from __future__ import annotations

import cv2
import numpy as np

from edge.errors import DatasetError
from train.defects.filters import blur
from train.defects.sensor import sense
from train.defects.values import Ball, Deviation, Excess, Missing
from train.defects.weld import F32, Mask, Painted, Weld, ease

ENDS_MM = 3.5
"""Excess and missing material begin and end over this length along the seam."""
FLANK_MM = 1.0
"""Missing material leaves a flank of this width."""
RIDGE, RIDGE_WIDTH = 0.5, 0.42
"""Excess material is a ridge half-way between centre line and toe, this wide (standard deviation), in half widths."""


def deviate(weld: Weld, parameters: Deviation, seed: int) -> Painted:
    """The bead's cap is moved sideways, its lost pixels with it; the ground it leaves is laid bare. Raises DatasetError: no room."""
    rng = np.random.default_rng(seed)
    bead, shift = weld.bead, parameters.shift_mm
    _check_room(weld, parameters)
    if parameters.where == "middle":
        reach = parameters.run_mm / 2
        centre = rng.uniform(bead.start + 0.9 * reach, bead.end - 0.9 * reach)
        share = ease(1.6 - 1.6 * np.abs(weld.x - centre) / reach)
    else:
        inwards = weld.x - bead.start if parameters.where == "start" else bead.end - weld.x
        share = ease(1.0 - inwards / parameters.run_mm)
    offset = (shift * share).astype(np.float32)
    cap = _moved(weld.cap, offset / np.float32(weld.pitch[1]))
    lost = np.isnan(weld.height) & weld.bead.footprint & ~weld.shadow
    holes = _moved_mask(lost, offset / np.float32(weld.pitch[1]))
    covers = _moved_mask(bead.footprint, offset / np.float32(weld.pitch[1]))
    still = np.clip(1.0 - 1.4 * np.abs(offset) / bead.half_width, 0.0, 1.0)
    base = weld.foot * still + weld.ground * (1.0 - still)
    solid = np.where(bead.footprint | covers, base + cap, weld.solid)
    solid = np.where(np.abs(offset) * np.ones_like(solid) > 1e-3, solid, weld.solid).astype(np.float32)
    elsewhere = np.isnan(weld.height) & ~weld.shadow & weld.seen & ~bead.footprint
    height, mask, shadow = sense(weld, solid, rng, fresh=bead.footprint & (cap < 0.1), lost=np.zeros_like(lost), holes=holes | elsewhere)
    said: dict[str, float | str] = {"where": parameters.where, "shift_mm": shift, "run_mm": parameters.run_mm}
    return Painted(height=height, mask=mask, shadow=shadow, label="bad", parameters=said)


def _check_room(weld: Weld, parameters: Deviation) -> None:
    bead, height_mm = weld.bead, weld.height.shape[0] * weld.pitch[1]
    toe = bead.centre + np.sign(parameters.shift_mm) * bead.half_width + parameters.shift_mm
    room = min(float(toe.min()), height_mm - float(toe.max()))
    if room < -0.5 * bead.half_width:
        raise DatasetError("the bead would leave the frame", seen=f"{-room:.1f} mm too far", remedy="Draw smaller shifts for this typology")
    if not 2.0 * abs(parameters.shift_mm) <= parameters.run_mm <= 0.8 * bead.length:
        seen = f"run {parameters.run_mm:.1f} mm, bead {bead.length:.1f} mm"
        raise DatasetError("a deviation needs a run of 2 shifts to 0.8 of the bead", seen=seen, remedy="Change the standard's run_mm")


def _moved(cap: F32, rows: F32) -> F32:
    """The cap moved down by a number of rows per column: its shape by interpolation, its noise by whole pixels, so that none is lost."""
    shape = blur(cap, 1.0)
    moved = _remap(shape, rows, cv2.INTER_LINEAR) + _remap(np.asarray(cap - shape, dtype=np.float32), rows, cv2.INTER_NEAREST)
    return np.asarray(np.maximum(moved, 0.0), dtype=np.float32)


def _moved_mask(mask: Mask, rows: F32) -> Mask:
    return np.asarray(_remap(mask.astype(np.float32), rows, cv2.INTER_NEAREST) > 0.5, dtype=np.bool_)


def _remap(image: F32, rows: F32, how: int) -> F32:
    grid = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    moved = cv2.remap(image, grid[1], np.ascontiguousarray(grid[0] - rows), how, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(moved, dtype=np.float32)


def exceed(weld: Weld, parameters: Excess, seed: int) -> Painted:
    """A ridge of material on one half of the bead; the scan's own noise stays on it. Raises DatasetError: the bead is too short."""
    rng = np.random.default_rng(seed)
    window = stretch(weld, rng, parameters.run_mm)
    s = weld.across() * _sign(parameters.side)
    ridge = np.exp(-np.square((s - RIDGE) / RIDGE_WIDTH)) * (1.0 + 0.08 * waves(rng, weld, 2.5))
    added = parameters.height_mm * window * ridge * ease(weld.cap / 0.6)
    solid = (weld.solid + blur(added.astype(np.float32), 0.8)).astype(np.float32)
    none = np.zeros_like(weld.seen)
    height, mask, shadow = sense(weld, solid, rng, fresh=weld.shadow, lost=none)
    said: dict[str, float | str] = {"side": parameters.side, "height_mm": parameters.height_mm}
    said["run_mm"] = weld.bead.length if parameters.run_mm is None else parameters.run_mm
    return Painted(height=height, mask=mask, shadow=shadow, label="bad", parameters=said)


def drop_balls(weld: Weld, parameters: Ball, seed: int) -> Painted:
    """Round lumps, highest in the middle, steep at the rim but never a step. Raises DatasetError: the bead is too short."""
    rng = np.random.default_rng(seed)
    solid = weld.solid.copy()
    fresh = np.zeros_like(weld.seen)
    for radius in parameters.radii_mm:
        x, y = spot(weld, rng, 0.75, radius)
        near = np.clip(1.0 - (np.square(weld.x - x) + np.square(weld.y - y)) / radius**2, 0.0, None)
        column, row = round(x / weld.pitch[0]), round(y / weld.pitch[1])
        foot = float(np.median(weld.solid[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2])) - 0.1 * radius
        ball = np.where(near > 0, foot + parameters.rise * radius * near**0.5, -np.inf)
        added = np.where(ball > solid, ball - solid, 0.0).astype(np.float32)
        smooth = blur(added, 0.8)
        fresh |= smooth > 0.15
        solid = (solid + smooth).astype(np.float32)
    # Under a fresh surface the old noise would show through.
    solid = np.where(fresh, blur(solid, 0.8), solid).astype(np.float32)
    height, mask, shadow = sense(weld, solid, rng, fresh=fresh, lost=np.zeros_like(fresh), holes=_holes_under(weld, fresh, rng))
    said: dict[str, float | str] = {"radii_mm": listed(parameters.radii_mm), "rise": parameters.rise}
    return Painted(height=height, mask=mask, shadow=shadow, label="bad", parameters=said)


def _holes_under(weld: Weld, fresh: Mask, rng: np.random.Generator) -> Mask:
    """The source's lost pixels; on a new surface others are lost, as many as on the rest of the bead."""
    lost = np.isnan(weld.height) & ~weld.shadow & (weld.seen | weld.bead.footprint)
    share = float(lost[weld.bead.footprint & ~weld.shadow].mean())
    return np.asarray(np.where(fresh, rng.random(fresh.shape) < min(share, 0.05), lost), dtype=np.bool_)


def starve(weld: Weld, parameters: Missing, seed: int) -> Painted:
    """The bead's material is gone on one side over a stretch, the sheet shows if there is one. Raises DatasetError: too short."""
    rng = np.random.default_rng(seed)
    away = (weld.y - weld.bead.centre[None]) * _sign(parameters.side) + 0.2 * waves(rng, weld, 1.2)
    gone = stretch(weld, rng, parameters.run_mm, ends_mm=2.5) * ease((away - parameters.reach_mm) / FLANK_MM)
    base = weld.foot * (1.0 - gone) + weld.ground * gone
    solid = np.where(weld.bead.footprint & (gone > 0), base + weld.cap * (1.0 - gone), weld.solid).astype(np.float32)
    bare = weld.bead.footprint & (gone > 0.7)
    height, mask, shadow = sense(weld, solid, rng, fresh=bare | (weld.shadow & (gone > 0)), lost=np.zeros_like(bare))
    said: dict[str, float | str] = {"side": parameters.side, "run_mm": parameters.run_mm, "reach_mm": parameters.reach_mm}
    return Painted(height=height, mask=mask, shadow=shadow, label="bad", parameters=said)


def _sign(side: str) -> float:
    return 1.0 if side == "south" else -1.0


def listed(values: tuple[float, ...]) -> str:
    """Sizes as text, for the table."""
    return " ".join(f"{value:.2f}" for value in values)


def waves(rng: np.random.Generator, weld: Weld, length_mm: float) -> F32:
    """Smooth noise along the seam of about unit variance and this wavelength, f32 [1, columns]."""
    columns = weld.height.shape[1]
    knots = max(4, round(columns * weld.pitch[0] / length_mm))
    values = rng.standard_normal((1, knots), dtype=np.float32)
    return np.asarray(cv2.resize(values, (columns, 1), interpolation=cv2.INTER_CUBIC), dtype=np.float32).reshape(1, columns)


def stretch(weld: Weld, rng: np.random.Generator, run_mm: float | None, *, ends_mm: float = ENDS_MM) -> F32:
    """1 along `run_mm` of the bead (None: all of it), easing to 0 over `ends_mm` at both ends, f32 [1, columns]. Raises DatasetError."""
    bead = weld.bead
    if run_mm is None:
        return np.ones((1, weld.height.shape[1]), dtype=np.float32)
    if run_mm > bead.length:
        raise DatasetError("the bead is shorter than the stretch", seen=f"{bead.length:.1f} < {run_mm:.1f} mm", remedy="Draw shorter runs")
    start = bead.start + float(rng.uniform(0.0, bead.length - run_mm))
    half = ends_mm / 2
    return ease((weld.x - start + half) / ends_mm) * ease((start + run_mm - weld.x + half) / ends_mm)


def spot(weld: Weld, rng: np.random.Generator, reach: float, radius_mm: float) -> tuple[float, float]:
    """A measured place on the bead in mm, at most `reach` half widths from the centre line, clear of ends and gaps. Raises DatasetError."""
    bead = weld.bead
    margin = min(max(radius_mm, 0.6 * bead.half_width), 0.3 * bead.length)
    inside = bead.footprint & np.isfinite(weld.height) & (np.abs(weld.across()) <= reach)
    inside &= (weld.x > bead.start + margin) & (weld.x < bead.end - margin)
    rows, columns = np.nonzero(inside)
    if not len(rows) or 2 * radius_mm > bead.length:
        raise DatasetError("the bead has no place for it", seen=f"radius {radius_mm:.1f} mm", remedy="Draw smaller ones")
    chosen = int(rng.integers(len(rows)))
    return float(columns[chosen] * weld.pitch[0]), float(rows[chosen] * weld.pitch[1])
