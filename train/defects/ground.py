"""What the bead lies on: the sheets carried on under it, and where they end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from train.defects.filters import blur, closed, disc, grown
from train.defects.plane import Sheet
from train.defects.weld import F32, Mask, Pitch

Profile: TypeAlias = NDArray[np.float64]

LOWEST, BELOW_MM = 10.0, 0.1
"""Where no sheet is in view the ground is put this far below this percentile of the bead's border: even the toe has some thickness."""

BORDER_MM = 0.3
"""How far the last pixels of a sheet may lie off its surface."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """The surface without the bead, f32 [rows, columns] in mm, finite; and where it would give data."""

    surface: F32
    seen: Mask
    stepped: bool
    """A sheet is in view on one side only, or two at different heights: the surface has a step under the bead."""

    def foot(self, centre: F32, half: F32) -> F32:
        """What the bead stands on: the ground, or, over a step, a smooth way from one toe's ground to the other's; arguments in rows."""
        if not self.stepped:
            return self.surface
        rows, columns = self.surface.shape
        every = np.arange(columns)
        toes = [np.clip(np.rint(centre + side * half), 0, rows - 1).astype(int) for side in (-1, 1)]
        north, south = (self.surface[toe, every] for toe in toes)
        share = np.clip((np.arange(rows)[:, None] - (centre - half)) / np.maximum(2 * half, 1.0), 0.0, 1.0)
        foot = north + (south - north) * share
        between = (share > 0) & (share < 1)
        return np.where(between, foot, self.surface).astype(np.float32)

    def levelled(self, height: F32, footprint: Mask, pitch: Pitch) -> Ground:
        """The same, following the measured sheet's slow waves, so that ground laid bare meets the sheet beside it without a step."""
        known = np.isfinite(height) & self.seen & ~grown(footprint, disc(1.2, pitch))
        sigma = (1.5 / pitch[0], 1.5 / pitch[1])
        weight = blur(known.astype(np.float32), sigma)
        miss = np.clip(np.where(known, height - self.surface, 0.0), -0.3, 0.3).astype(np.float32)
        waves = blur(miss, sigma) / np.maximum(weight, 0.02)
        return replace(self, surface=np.asarray(self.surface + np.where(self.seen, waves, 0.0), dtype=np.float32))


def build_ground(height: F32, body: Mask, borders: tuple[Profile, Profile], present: Mask, sheets: list[Sheet], *, pitch: Pitch) -> Ground:
    """The ground under a bead along the columns with these first and last rows."""
    top, bottom = borders
    rows = np.arange(height.shape[0])[:, None]
    columns = np.arange(height.shape[1])
    on = np.flatnonzero(present)
    middle = np.asarray(np.polyval(np.polyfit(on, (top[on] + bottom[on]) / 2, 1), columns), dtype=np.float64)
    north, south = rows < middle[None], rows >= middle[None]
    nearby = {side: _nearest(sheets, mask & present[None]) for side, mask in (("north", north), ("south", south))}
    if nearby["north"] is None and nearby["south"] is None:
        return Ground(surface=_toe_level(height, body, borders, on), seen=np.zeros_like(body), stepped=False)
    known = [sheet for sheet in nearby.values() if sheet is not None]
    in_view = np.logical_or.reduce([_to_its_edge(sheet, height, body, pitch) for sheet in known])
    if len(known) == 2 and known[0] is known[1]:
        return Ground(surface=known[0].surface, seen=in_view | grown(body, disc(0.6, pitch)), stepped=False)
    side = "north" if nearby["north"] is not None else "south"
    edge = _edge(in_view, middle, body, side, pitch)
    upper = rows <= edge[None] if side == "north" else rows >= edge[None]
    if len(known) == 2:
        first, second = known[0].surface, known[1].surface
        return Ground(surface=np.where(upper, first, second), seen=in_view | grown(body, disc(0.6, pitch)), stepped=True)
    far = bottom if side == "north" else top
    ends = height[far[on].astype(int), on]
    level = np.float32(np.percentile(ends[np.isfinite(ends)], LOWEST) - BELOW_MM)
    at_edge = known[0].surface[np.clip(np.rint(edge), 0, len(rows) - 1).astype(int), columns]
    surface = np.where(upper, known[0].surface, np.minimum(level, at_edge)[None]).astype(np.float32)
    return Ground(surface=surface, seen=in_view | (upper & grown(body, disc(0.6, pitch))), stepped=True)


def _to_its_edge(sheet: Sheet, height: F32, body: Mask, pitch: Pitch) -> Mask:
    """A sheet's region with its ragged border, which finding it smoothed away."""
    border = grown(sheet.region, disc(2.0, pitch)) & ~body & (np.abs(height - sheet.surface) < BORDER_MM)
    return closed(sheet.region | border, disc(1.5, pitch))


def _nearest(sheets: list[Sheet], side: Mask) -> Sheet | None:
    """The sheet that fills most of one side of the bead, if any fills a good part of it."""
    best = max(sheets, key=lambda sheet: int((sheet.region & side).sum()), default=None)
    return best if best is not None and (best.region & side).sum() > 0.15 * best.region.sum() else None


def _toe_level(height: F32, body: Mask, borders: tuple[Profile, Profile], on: NDArray[np.intp]) -> F32:
    """With no sheet in view: a level, straight along the seam, through the bead's lowest pixels on both sides."""
    ends = [height[np.rint(border[on]).astype(int), on] for border in borders]
    lowest = np.nanmin(np.stack([np.where(np.isfinite(end), end, np.inf) for end in ends]), axis=0)
    usable = np.isfinite(lowest)
    line = np.polyfit(on[usable], lowest[usable], 1) if usable.sum() > 10 else np.array([0.0, np.nanmin(height[body])])
    down = np.percentile(lowest[usable] - np.polyval(line, on[usable]), LOWEST) if usable.any() else 0.0
    level = (np.polyval(line, np.arange(height.shape[1])) + down - BELOW_MM).astype(np.float32)
    return np.array(np.broadcast_to(level[None], height.shape), dtype=np.float32)


def _edge(in_view: Mask, middle: Profile, body: Mask, side: str, pitch: Pitch) -> Profile:
    """The row at which the sheet of that side ends, per column, straight, from the columns beside the bead; else the bead's middle."""
    beside = np.asarray(body.any(axis=0))[None]
    free = ~grown(beside, disc(2.0, pitch))[0] & in_view.any(axis=0)
    if free.sum() * pitch[0] < 2.0:
        return middle
    last = in_view.shape[0] - 1 - in_view[::-1].argmax(axis=0) if side == "north" else in_view.argmax(axis=0)
    columns = np.flatnonzero(free)
    for _ in range(3):  # the corners of a tab are no part of its edge
        line = np.polyfit(columns, last[columns], 1)
        miss = np.abs(np.polyval(line, columns) - last[columns])
        columns = columns[miss <= max(2.0, 2.0 * float(np.median(miss)))]
    return np.asarray(np.polyval(line, np.arange(in_view.shape[1])), dtype=np.float64)
