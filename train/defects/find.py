"""Find the bead of a good weld in its scan: no truth, only heights; what cannot be found is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from train.defects.assemble import MIN_LENGTH_MM, assemble, no_bead
from train.defects.filters import blur, closed, disc, filled, grown, noise_of, opened, parts, within
from train.defects.plane import Sheet, find_sheets
from train.defects.weld import F32, Mask, Pitch, Weld

Axis: TypeAlias = Literal["auto", "columns", "rows"]

MIN_WIDTH_MM = 1.0
CARRIED_ON_MM = 10.0
"""Flat pixels at a sheet's level are that sheet's up to this far from its large parts: narrow strips beyond the bead too."""
MAX_GAP_MM = 5.0
"""A good bead may show acceptable gaps; pieces further apart along the seam do not belong together."""
ELONGATED = 1.25
"""A bead less elongated than this has no axis of its own: the columns are taken unless the standard says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Hint:
    """What the standard may say about odd welds: the seam's axis, and x0, y0, x1, y1 in mm of the part of the scan that holds the bead."""

    axis: Axis = "auto"
    region_mm: tuple[float, float, float, float] | None = None


ANYWHERE = Hint()


def find_weld(height: F32, pitch: Pitch, hint: Hint = ANYWHERE) -> Weld:
    """Take a good scan apart: f32 [rows, columns] in mm, NaN = no data. Equal input gives equal output.

    Raises DatasetError when no bead can be told from its surroundings.
    """
    valid = np.isfinite(height)
    if valid.sum() * pitch[0] * pitch[1] < MIN_LENGTH_MM * MIN_WIDTH_MM:
        raise no_bead("hardly a pixel has data")
    noise = max(noise_of(height, valid), 1e-3)
    whole = closed(valid, disc(0.7, pitch))
    level = blur(filled(height, whole), 0.8)
    sheets = find_sheets(level, whole, pitch, max(3.0 * noise, 0.06))
    candidate = _raised(level, whole & _region(hint, height.shape, pitch), sheets, pitch, max(4.0 * noise, 0.15))
    body = _body(candidate, pitch, hint.axis)
    if hint.axis == "rows" or (hint.axis == "auto" and _runs_along_rows(body, pitch)):
        flipped = [Sheet(surface=sheet.surface.T, region=sheet.region.T) for sheet in sheets]
        return assemble(np.ascontiguousarray(height.T), (pitch[1], pitch[0]), body.T, flipped, transposed=True)
    return assemble(height, pitch, body, sheets, transposed=False)


def _region(hint: Hint, shape: tuple[int, ...], pitch: Pitch) -> Mask:
    if hint.region_mm is None:
        return np.ones(shape, dtype=np.bool_)
    x0, y0, x1, y1 = hint.region_mm
    y, x = np.meshgrid(np.arange(shape[0]) * pitch[1], np.arange(shape[1]) * pitch[0], indexing="ij")
    return np.asarray((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1), dtype=np.bool_)


def _raised(level: F32, valid: Mask, sheets: list[Sheet], pitch: Pitch, least_mm: float) -> Mask:
    """The pixels that belong to no sheet."""
    candidate = valid.copy()
    for sheet in sheets:
        flat = np.abs(level - sheet.surface) < least_mm
        candidate &= ~(sheet.region | (flat & within(sheet.region, CARRIED_ON_MM, pitch)))
        candidate &= ~((level < sheet.surface) & grown(sheet.region, disc(0.8, pitch)))
    regions = [sheet.region for sheet in sheets]
    # Where the bead passes through a sheet's level, a thin line is missing from it.
    candidate = closed(candidate, disc(0.6, pitch)) & valid
    return candidate & ~np.logical_or.reduce(regions) if regions else candidate


def _body(candidate: Mask, pitch: Pitch, axis: Axis) -> Mask:
    """The bead's pixels: what is no sheet, in one piece, or in pieces that lie behind each other along the seam."""
    pieces = [piece for piece in parts(opened(candidate, disc(0.9, pitch))) if piece.sum() * pitch[0] * pitch[1] > MIN_WIDTH_MM**2]
    if not pieces:
        raise no_bead("only flat sheet, or nothing but noise")
    body = _joined(pieces, pitch, axis)
    x, y = _extent(body, 1) * pitch[0], _extent(body, 0) * pitch[1]
    if max(x, y) < MIN_LENGTH_MM or min(x, y) < MIN_WIDTH_MM:
        raise no_bead(f"the largest raised part measures {x:.1f} x {y:.1f} mm")
    return body


def _joined(pieces: list[Mask], pitch: Pitch, axis: Axis) -> Mask:
    """The largest piece, and those that lie before or behind it along the seam across gaps that a good weld may have."""
    every = np.logical_or.reduce([piece for piece in pieces if piece.sum() > 0.05 * pieces[0].sum()])
    longer = 1 if _extent(every, 1) * pitch[0] >= _extent(every, 0) * pitch[1] else 0
    along = {"auto": longer, "columns": 1, "rows": 0}[axis]
    body, left = pieces[0], [piece for piece in pieces[1:] if piece.sum() > 0.02 * pieces[0].sum()]
    while more := [piece for piece in left if _continues(body, piece, along, pitch[1 - along])]:
        body = np.logical_or.reduce([body, *more])
        left = [piece for piece in left if not any(piece is other for other in more)]
    return body


def _span(mask: Mask, axis: int) -> tuple[int, int]:
    hit = np.flatnonzero(mask.any(axis=1 - axis))
    return int(hit[0]), int(hit[-1])


def _extent(mask: Mask, axis: int) -> int:
    first, last = _span(mask, axis)
    return last - first + 1


def _continues(body: Mask, piece: Mask, along: int, pitch: float) -> bool:
    """Whether the piece lies behind or before the body along the seam, close by and mostly within the body's width."""
    (a, b), (c, d) = _span(body, along), _span(piece, along)
    (e, f), (g, h) = _span(body, 1 - along), _span(piece, 1 - along)
    gap = max(a - d, c - b) * pitch
    shared = min(f, h) - max(e, g) + 1
    return gap < MAX_GAP_MM and shared > 0.5 * (h - g + 1)


def _runs_along_rows(body: Mask, pitch: Pitch) -> bool:
    rows, columns = np.nonzero(body)
    variances, axes = np.linalg.eigh(np.cov(np.stack([columns * pitch[0], rows * pitch[1]])))
    longest = axes[:, 1]
    return bool(abs(longest[1]) > abs(longest[0]) and variances[1] > ELONGATED**2 * variances[0])
