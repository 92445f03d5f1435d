"""What goes wrong with a weld: each defect takes a height field and sizes in mm and returns the field with the defect, and where it is."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, TypeAlias

import cv2
import numpy as np

from sim.surface import F32, X_MM, Y_MM, HeightField, Mask, ease, slow
from sim.typologies import COLUMNS, PITCH_MM, ROWS

Where: TypeAlias = Literal["start", "middle", "end"]
Side: TypeAlias = Literal["north", "south"]
Damaged: TypeAlias = tuple[HeightField, Mask]
"""The field with the defect, and bool [ROWS, COLUMNS]: true where it differs."""

VISIBLE_MM = 0.1
"""Changes of the surface below this do not count as the defect's area."""


def deviate(field: HeightField, rng: np.random.Generator, *, where: Where, shift_mm: float, run_mm: float) -> Damaged:
    """The bead leaves its path by `shift_mm` (positive: south) over the first, a middle or the last stretch of `run_mm`."""
    bead = field.bead
    if where == "middle":
        centre = float(rng.uniform(bead.start + 0.42 * bead.length, bead.end - 0.42 * bead.length))
        share = ease(2.0 - np.abs(X_MM - centre) / (0.5 * run_mm))
    else:
        inwards = X_MM - bead.start if where == "start" else bead.end - X_MM
        share = ease(1.0 - inwards / run_mm)
    offset = (shift_mm * share).astype(np.float32)
    rows = (np.arange(ROWS, dtype=np.float32)[:, None] - offset / np.float32(PITCH_MM)).astype(np.float32)
    columns = np.broadcast_to(np.arange(COLUMNS, dtype=np.float32)[None, :], rows.shape)
    moved = cv2.remap(field.cap, np.ascontiguousarray(columns), rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    still = np.clip(1.0 - 1.4 * np.abs(offset) / bead.width, 0.0, 1.0)
    return _damaged(field, replace(field, cap=np.asarray(moved, dtype=np.float32), fillet=(field.fillet * still).astype(np.float32)))


def exceed(field: HeightField, rng: np.random.Generator, *, side: Side, height_mm: float, run_mm: float) -> Damaged:
    """Excess material: one half of the bead stands `height_mm` higher over `run_mm` of its length (all of it: the whole bead)."""
    s = field.bead.across() * _sign(side)
    window = _stretch(field, rng, run_mm, ease_mm=3.5)
    ridge = np.exp(-np.square((s - 0.5) / 0.42)) * (1.0 + 0.08 * slow(rng, 30))
    footprint = ease(field.material() / 0.5)
    return _damaged(field, replace(field, cap=(field.cap + height_mm * window * ridge * footprint).astype(np.float32)))


def drop_balls(field: HeightField, rng: np.random.Generator, *, radii_mm: tuple[float, ...]) -> Damaged:
    """Solidified drops of these radii on the bead: round lumps, highest in the middle."""
    cap = field.cap.copy()
    base = field.sheet + field.fillet
    for radius in radii_mm:
        x, y = _spot(field, rng, 0.75)
        near = np.clip(1.0 - (np.square(X_MM - x) + np.square(Y_MM - y)) / radius**2, 0.0, None)
        foot = float(_at(base + field.cap, x, y)) - 0.1 * radius
        ball = np.where(near > 0, foot + radius * np.sqrt(near) - base, 0.0)
        np.maximum(cap, ball.astype(np.float32), out=cap)
    return _damaged(field, replace(field, cap=cap))


def cut(field: HeightField, rng: np.random.Generator, *, lengths_mm: tuple[float, ...]) -> Damaged:
    """Gaps across the bead of these lengths along the seam; whether one is acceptable is for the typology's limit to say."""
    bead = field.bead
    keep = np.ones((ROWS, COLUMNS), dtype=np.float32)
    lost = field.lost.copy()
    slot = 0.76 * bead.length / len(lengths_mm)
    for index, length in enumerate(lengths_mm):
        low = bead.start + 0.12 * bead.length + index * slot + length / 2
        centre = float(rng.uniform(low, max(low, low + slot - length - 2.0)))
        slant = math.tan(math.radians(float(rng.uniform(-10, 10))))
        outside = np.abs(X_MM - centre - slant * (Y_MM - bead.centre)) - length / 2
        outside += 0.06 * slow(rng, 40, size=ROWS).reshape(ROWS, 1)
        keep *= ease(0.35 + 0.65 * outside / 0.6) * (outside > 0)
        lost |= (outside < 0) & (field.material() > VISIBLE_MM)
    return _damaged(field, replace(field, cap=field.cap * keep, fillet=field.fillet * (keep > 0), lost=lost))


def pierce(field: HeightField, rng: np.random.Generator, *, diameters_mm: tuple[float, ...]) -> Damaged:
    """Holes and pores of these diameters: a sunken rim, and a core so deep that no light returns; inside the bead."""
    cap, lost = field.cap.copy(), field.lost.copy()
    for diameter in diameters_mm:
        x, y = _spot(field, rng, min(0.42, max(0.1, 0.85 - 0.5 * diameter / field.bead.width)))
        squeeze, radius = float(rng.uniform(0.85, 1.15)), diameter / 2
        distance = np.sqrt(np.square((X_MM - x) * squeeze) + np.square((Y_MM - y) / squeeze)) / radius
        distance += 0.06 * np.cos(3.0 * np.arctan2(Y_MM - y, X_MM - x) + float(rng.uniform(0.0, 6.3)))
        sink = 1.0 - ease((distance - 0.7) / 0.6)
        cap -= np.minimum(cap, (1.3 * sink).astype(np.float32))
        lost |= (distance < 0.9) & (field.material() > VISIBLE_MM)
    return _damaged(field, replace(field, cap=cap, lost=lost))


def starve(field: HeightField, rng: np.random.Generator, *, side: Side, run_mm: float, reach: float) -> Damaged:
    """Missing material on one side, over `run_mm`: the bead ends `reach` half widths beyond its centre line (negative: before it)."""
    s = field.bead.across() * _sign(side) + 0.05 * slow(rng, 60)
    gone = _stretch(field, rng, run_mm, ease_mm=2.5) * ease((s - reach) / 0.3)
    keep = (1.0 - gone).astype(np.float32)
    return _damaged(field, replace(field, cap=field.cap * keep, fillet=field.fillet * keep))


def strip(field: HeightField, *, level_mm: float) -> Damaged:
    """Bare sheet: scanned, but not welded; where only a bead should be in view, the sheet fills the frame at `level_mm`."""
    none, everywhere = np.zeros_like(field.cap), np.ones_like(field.seen)
    if field.seen.any():
        return replace(field, cap=none, fillet=none), everywhere
    return replace(field, sheet=field.sheet + np.float32(level_mm), cap=none, fillet=none, seen=everywhere), everywhere


def _sign(side: Side) -> float:
    return 1.0 if side == "south" else -1.0


def _stretch(field: HeightField, rng: np.random.Generator, run_mm: float, *, ease_mm: float) -> F32:
    """1 along `run_mm` of the bead, easing to 0 over `ease_mm` at both ends; f32 [1, COLUMNS]."""
    bead = field.bead
    room = max(0.0, bead.length - run_mm)
    start = bead.start + float(rng.uniform(0.0, room))
    half = ease_mm / 2
    return ease((X_MM - start + half) / ease_mm) * ease((start + run_mm - X_MM + half) / ease_mm)


def _spot(field: HeightField, rng: np.random.Generator, reach: float) -> tuple[float, float]:
    """A place on the bead in mm, at most `reach` half widths from the centre line and where the sensor can see it."""
    bead = field.bead
    margin = min(0.9 * bead.width, 0.2 * bead.length)
    x = float(rng.uniform(bead.start + margin, bead.end - margin))
    s = float(rng.uniform(-reach, 0.0 if field.typology.grazing else reach))
    return x, float(_at(np.broadcast_to(bead.centre, field.cap.shape), x, 0.0)) + s * bead.width


def _at(layer: F32, x_mm: float, y_mm: float) -> np.float32:
    row = min(max(int(y_mm / PITCH_MM), 0), ROWS - 1)
    value: np.float32 = layer[row, min(max(int(x_mm / PITCH_MM), 0), COLUMNS - 1)]
    return value


def _damaged(before: HeightField, after: HeightField) -> Damaged:
    mask: Mask = (np.abs(after.material() - before.material()) > VISIBLE_MM) | (after.lost & ~before.lost)
    return after, mask
