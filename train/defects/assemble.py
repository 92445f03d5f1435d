"""From the bead's pixels to a weld in parts: centre line, half width, what it stands on, the surface that its shadow hides."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError
from train.defects.filters import closed, disc, filled, grown, noise_of
from train.defects.ground import build_ground
from train.defects.plane import Sheet
from train.defects.shadow import find_shadow
from train.defects.weld import F32, Bead, Mask, Origin, Pitch, Weld

Profile: TypeAlias = NDArray[np.float64]
Borders: TypeAlias = tuple[Profile, Profile]
"""First and last row of the bead in every column."""

MIN_LENGTH_MM, MIN_CROWN_MM = 4.0, 0.35
TRUNCATED = 0.45
"""A bead whose visible border stands higher than this share of its crest ends in a shadow, not at its toe."""


def no_bead(seen: str) -> DatasetError:
    """The refusal of a scan."""
    return DatasetError("no bead found", seen=seen, remedy="Leave the scan out, or give a region and an axis in the standard's [find]")


def assemble(height: F32, pitch: Pitch, body: Mask, sheets: list[Sheet], *, transposed: bool) -> Weld:
    """The parts of a weld whose bead (`body`) runs along the columns. Raises DatasetError: too short, or hardly raised."""
    borders, present = _borders(body, pitch)
    inside = np.isfinite(height) & body
    level = filled(height, body | (grown(body, disc(2.0, pitch)) & closed(np.isfinite(height), disc(0.6, pitch))))
    ground = build_ground(height, body, borders, present, sheets, pitch=pitch)
    borders, origin = _without_shadow(level - ground.surface, borders, present, pitch)
    footprint = _footprint(height, body, borders, present & (origin is not None), ground.seen, pitch=pitch)
    ground = ground.levelled(height, footprint, pitch)
    centre, half = _line(borders, present, pitch)
    foot = ground.foot(centre / pitch[1], half / pitch[1])
    solid = _solid(height, level, footprint, np.where(footprint, foot, ground.surface), (centre, half), pitch=pitch)
    bead = _bead(footprint, present, (centre, half), solid - foot, pitch)
    on_bead = noise_of(height, inside)
    if bead.crown < max(MIN_CROWN_MM, 6.0 * on_bead):
        raise no_bead(f"the raised part stands {bead.crown:.2f} mm over its surroundings")
    on_sheet = noise_of(height, np.isfinite(height) & ~grown(footprint, disc(1.0, pitch))) if ground.seen.any() else 0.0
    shadow, sight = find_shadow(height, level - ground.surface, footprint & present, origin, pitch)
    return Weld(
        height=height,
        pitch=pitch,
        bead=bead,
        ground=ground.surface,
        seen=ground.seen | shadow,
        foot=np.where(footprint, foot, ground.surface).astype(np.float32),
        solid=solid,
        noise=(on_bead, on_sheet or on_bead),
        shadow=shadow | (footprint & ~np.isfinite(level)),
        sight=sight,
        transposed=transposed,
    )


def _borders(body: Mask, pitch: Pitch) -> tuple[Borders, Mask]:
    """The borders, and which columns count (those far narrower than the rest do not)."""
    hit = body.any(axis=0)
    top = np.where(hit, body.argmax(axis=0), 0).astype(np.float64)
    bottom = np.where(hit, body.shape[0] - 1 - body[::-1].argmax(axis=0), 0).astype(np.float64)
    width = np.where(hit, bottom - top + 1, 0.0)
    present = np.asarray(width > 0.3 * np.median(width[hit]), dtype=np.bool_)
    if present.sum() * pitch[0] < MIN_LENGTH_MM:
        raise no_bead(f"the raised part is {present.sum() * pitch[0]:.1f} mm long")
    return (top, bottom), present


def _without_shadow(rise: F32, borders: Borders, present: Mask, pitch: Pitch) -> tuple[Borders, Origin | None]:
    """The borders as they would be without shadow, and where the light comes from: a hidden side mirrors the other about the crest."""
    top, bottom = borders
    columns = np.flatnonzero(present)
    at_border = [rise[side[columns].astype(int), columns] for side in borders]
    rows = np.arange(rise.shape[0])[:, None]
    within = (rows >= top[None, columns]) & (rows <= bottom[None, columns]) & np.isfinite(rise[:, columns])
    crest = np.where(within, rise[:, columns], -np.inf).max(axis=0)
    high = [float(np.median(edge / np.maximum(crest, 0.1))) > TRUNCATED for edge in at_border]
    if high[0] == high[1]:
        return borders, None
    if high[1]:
        toe = _smooth_line(top, present, pitch).astype(np.float64)
        return (toe, toe + 2 * _crest_offset(rise, toe, columns, 1)), "north"
    toe = _smooth_line(bottom, present, pitch).astype(np.float64)
    return (toe - 2 * _crest_offset(rise, toe, columns, -1), toe), "south"


def _crest_offset(rise: F32, toe: Profile, columns: NDArray[np.intp], sign: int) -> float:
    """Distance in pixels from the visible toe to the crest: the vertex of a parabola through the top of the median section."""
    reach = rise.shape[0] // 2
    at = np.rint(toe[columns])[None, :].astype(int) + sign * np.arange(reach)[:, None]
    usable = (at >= 0) & (at < rise.shape[0])
    section = np.where(usable, rise[np.clip(at, 0, rise.shape[0] - 1), columns[None, :]], np.nan)
    known = np.isfinite(section).sum(axis=1) > 0.5 * len(columns)
    last = int(np.argmin(known)) if not known.all() else reach
    profile = np.nanmedian(section[: max(last, 3)], axis=1)
    peak = int(np.argmax(profile))
    near = np.flatnonzero(profile > 0.8 * profile[peak])
    near = near[(near >= near[0]) & (np.abs(near - peak) <= max(3, peak))]
    if len(near) >= 5:
        a, b, _ = np.polyfit(near, profile[near], 2)
        if a < 0:
            return float(np.clip(-b / (2 * a), 0.5 * peak, 1.5 * peak + 2))
    return float(max(peak, 2))


def _smooth_line(values: Profile, present: Mask, pitch: Pitch) -> F32:
    """A line over all columns: running median, then a blur of 1.5 mm; carried on level beyond the first and the last column."""
    columns = np.flatnonzero(present)
    line = np.interp(np.arange(len(present)), columns, values[columns])
    reach = max(1, round(1.0 / pitch[0]))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(line, reach, mode="edge"), 2 * reach + 1)
    median = np.median(windows, axis=1).astype(np.float32)[None, :]
    return np.asarray(cv2.GaussianBlur(median, (0, 0), 1.5 / pitch[0], borderType=cv2.BORDER_REPLICATE)[0], dtype=np.float32)


def _footprint(height: F32, body: Mask, borders: Borders, hidden: Mask, seen: Mask, *, pitch: Pitch) -> Mask:
    """The body, what of it must lie in the shadow, and its toe: thinner than what tells bead from sheet, narrower than the filters."""
    rows = np.arange(body.shape[0])[:, None]
    whole = body | ((rows >= borders[0][None]) & (rows <= borders[1][None]) & hidden[None])
    toe = grown(whole, disc(0.6, pitch)) | (grown(whole, disc(2.0, pitch)) & ~seen)
    return np.asarray(whole | (np.isfinite(height) & toe), dtype=np.bool_)


def _line(borders: Borders, present: Mask, pitch: Pitch) -> tuple[F32, F32]:
    """Centre line and half width in mm, f32 [columns] each."""
    top, bottom = borders
    middle, half = (top + bottom) / 2 * pitch[1], (bottom - top + 1) / 2 * pitch[1]
    return _smooth_line(middle, present, pitch), _smooth_line(half, present, pitch)


def _bead(footprint: Mask, present: Mask, line: tuple[F32, F32], cap: F32, pitch: Pitch) -> Bead:
    centre, half = line
    columns = np.flatnonzero(present)
    start, end = float(columns[0] * pitch[0]), float(columns[-1] * pitch[0])
    x = np.arange(len(present)) * pitch[0]
    rounded = min(float(half.max()), 0.2 * (end - start))
    straight = present & (x > start + rounded) & (x < end - rounded)
    gaps: Mask = ~np.asarray(footprint.any(axis=0))
    gaps[: columns[0]] = gaps[columns[-1] + 1 :] = False
    return Bead(
        start=start,
        end=end,
        centre=centre,
        half_width=float(np.median(half[straight if straight.any() else present])),
        crown=float(np.median(cap.max(axis=0, where=footprint, initial=0.0)[present])),
        footprint=footprint,
        gaps=np.asarray(gaps, dtype=np.bool_),
    )


def _solid(height: F32, level: F32, footprint: Mask, base: F32, line: tuple[F32, F32], *, pitch: Pitch) -> F32:
    """The complete surface: measured where there are data, the bead's section continued in its own shadow, `base` elsewhere."""
    solid = np.where(np.isfinite(height), height, base)
    known = footprint & np.isfinite(level)
    solid[known] = level[known]
    hidden = footprint & ~known
    if hidden.any():
        centre, half = line
        y = np.arange(height.shape[0], dtype=np.float32)[:, None] * pitch[1]
        section = np.clip(1.0 - np.square((y - centre) / np.maximum(half, 0.1)), 0.0, None)
        shown = known & (section > 0.3)
        crest = np.where(shown, (level - base) / np.maximum(section, 0.3), 0.0).sum(axis=0) / np.maximum(shown.sum(axis=0), 1)
        solid = np.where(hidden, base + crest[None, :] * section, solid)
    return np.asarray(solid, dtype=np.float32)
