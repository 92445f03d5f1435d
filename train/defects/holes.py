"""Defects that take data: cuts, pores, a bare sheet, one solid colour."""

from __future__ import annotations

import math

import numpy as np

from edge.errors import DatasetError
from train.defects.filters import blur
from train.defects.sensor import sense
from train.defects.shape import listed, spot, waves
from train.defects.values import Bare, Cut, Pore, Solid
from train.defects.weld import F32, Label, Painted, Weld, ease

TAPER_MM = 0.8
"""The bead sinks towards a gap over this length."""
BETWEEN_MM = 2.0
"""Least distance of two gaps, and of a gap from the bead's ends: closer ones would be one longer gap."""
THIN_MM = 0.1
"""Material thinner than this leaves no dark hole."""


def label_of(parameters: Cut) -> Label:
    """Good when every gap is shorter than the limit, bad when one is longer. Raises DatasetError for lengths too close to it."""
    limit = parameters.limit_mm
    close = [length for length in parameters.lengths_mm if abs(length - limit) < parameters.margin * limit]
    if close or not parameters.lengths_mm or min(parameters.lengths_mm) <= 0:
        remedy = f"Draw lengths further than {parameters.margin:.0%} from the limit of {limit} mm"
        raise DatasetError("a cut of this length has no safe label", seen=parameters.lengths_mm, remedy=remedy)
    return "bad" if max(parameters.lengths_mm) > limit else "good"


def cut(weld: Weld, parameters: Cut, seed: int) -> Painted:
    """Gaps across the whole bead, a little oblique and ragged. Raises DatasetError: no safe label, or no room on this bead."""
    rng = np.random.default_rng(seed)
    label = label_of(parameters)
    thick = weld.solid - weld.ground
    keep = np.ones_like(weld.solid)
    lost, bare = np.zeros_like(weld.seen), np.zeros_like(weld.seen)
    for length, centre in zip(parameters.lengths_mm, _places(weld, parameters.lengths_mm, rng), strict=True):
        slant = math.tan(math.radians(float(rng.uniform(-10.0, 10.0))))
        outside = np.abs(weld.x - centre - slant * (weld.y - weld.bead.centre[None])) - length / 2
        outside = outside + 0.06 * _ragged(rng, weld)
        inside = (outside < 0) & weld.bead.footprint
        sunk = 0.35 + 0.65 * ease(outside / TAPER_MM) if parameters.floor == "dark" else ease(outside / TAPER_MM)
        keep = np.minimum(keep, np.where(inside, 0.0, sunk))
        bare |= inside
    visible = weld.seen if parameters.floor == "ground" else np.zeros_like(weld.seen)
    lost |= bare & ~visible & ((thick > THIN_MM) | ~weld.seen)
    base = np.where(bare, weld.ground, weld.foot)
    solid = np.where(weld.bead.footprint & (keep < 1), base + weld.cap * keep, weld.solid).astype(np.float32)
    height, mask, shadow = sense(weld, solid, rng, fresh=bare | weld.shadow, lost=lost)
    said: dict[str, float | str] = {"lengths_mm": listed(parameters.lengths_mm), "limit_mm": parameters.limit_mm, "floor": parameters.floor}
    return Painted(height=height, mask=mask, shadow=shadow, label=label, parameters=said)


def _ragged(rng: np.random.Generator, weld: Weld) -> F32:
    return blur(rng.standard_normal((weld.height.shape[0], 1), dtype=np.float32), (0.01, 1.5)) * 2.3


def _places(weld: Weld, lengths: tuple[float, ...], rng: np.random.Generator) -> list[float]:
    """Centres in mm, clear of the ends, of each other and of gaps that the scan has. Raises DatasetError."""
    bead = weld.bead
    columns = np.flatnonzero(bead.gaps) * weld.pitch[0]
    taken = [(float(x), float(x)) for x in columns]
    centres: list[float] = []
    for length in lengths:
        low, high = bead.start + BETWEEN_MM + length / 2, bead.end - BETWEEN_MM - length / 2
        tries = rng.uniform(low, high, 64) if low < high else np.zeros(0)
        clear = length / 2 + BETWEEN_MM
        free = [float(x) for x in tries if all(x + clear <= a or x - clear >= b for a, b in taken)]
        if not free:
            seen = f"{length:.1f} mm on {bead.length:.1f} mm"
            raise DatasetError("the bead has no room for this cut", seen=seen, remedy="Draw shorter cuts, or leave the scan out")
        centres.append(free[0])
        taken.append((free[0] - length / 2, free[0] + length / 2))
    return centres


def pierce(weld: Weld, parameters: Pore, seed: int) -> Painted:
    """Roundish holes: a rim that sinks, a core without data. Raises DatasetError: no room on this bead."""
    rng = np.random.default_rng(seed)
    solid = weld.solid.copy()
    lost = np.zeros_like(weld.seen)
    for diameter in parameters.diameters_mm:
        reach = min(0.6, max(0.1, 0.85 - 0.5 * diameter / weld.bead.half_width))
        x, y = spot(weld, rng, reach, diameter / 2)
        squeeze = float(rng.uniform(0.85, 1.15))
        away = np.hypot((weld.x - x) * squeeze, (weld.y - y) / squeeze) / (diameter / 2)
        away = away + 0.06 * np.cos(3.0 * np.arctan2(weld.y - y, weld.x - x) + float(rng.uniform(0.0, 2 * math.pi)))
        sink = (1.0 - ease((away - 0.7) / 0.6)) * weld.bead.footprint
        solid -= np.minimum(np.maximum(solid - weld.ground, 0.0), 0.6 * diameter * sink)
        lost |= (away < 0.9) & weld.bead.footprint
    height, mask, shadow = sense(weld, solid.astype(np.float32), rng, fresh=np.zeros_like(lost), lost=lost)
    said: dict[str, float | str] = {"diameters_mm": listed(parameters.diameters_mm)}
    return Painted(height=height, mask=mask, shadow=shadow, label="bad", parameters=said)


def strip(weld: Weld, parameters: Bare, seed: int) -> Painted:
    """Bare sheet: the bead taken away, its shadow with it; without a sheet in view, one fills the frame."""
    rng = np.random.default_rng(seed)
    nothing = np.zeros_like(weld.seen)
    said: dict[str, float | str] = {"level_mm": parameters.level_mm}
    if weld.seen.any():
        solid = np.where(weld.bead.footprint, weld.ground, weld.solid).astype(np.float32)
        height, mask, shadow = sense(weld, solid, rng, fresh=weld.bead.footprint, lost=nothing)
        return Painted(height=height, mask=mask, shadow=shadow, label="bad", parameters=said)
    height = _sheet(weld, rng, parameters.level_mm, max(weld.noise[1], 1e-3))
    share = float(np.isnan(weld.height[weld.bead.footprint]).mean())
    height[rng.random(height.shape) < min(share, 0.05)] = np.nan
    return Painted(height=height, mask=~nothing, shadow=nothing, label="bad", parameters=said)


def fill(weld: Weld, parameters: Solid, seed: int) -> Painted:
    """One solid colour: a covered lens, or a sensor that sees one flat thing only."""
    rng = np.random.default_rng(seed)
    height = _sheet(weld, rng, parameters.level_mm, parameters.noise_mm)
    everywhere = np.ones_like(weld.seen)
    said: dict[str, float | str] = {"level_mm": parameters.level_mm, "noise_mm": parameters.noise_mm}
    return Painted(height=height, mask=everywhere, shadow=~everywhere, label="bad", parameters=said)


def _sheet(weld: Weld, rng: np.random.Generator, level_mm: float, noise_mm: float) -> F32:
    """A nearly level sheet over the frame: tilted by up to 0.6 degrees, a few hundredths of a mm wavy, and noisy."""
    tilt = np.tan(np.radians(rng.uniform(-0.6, 0.6, 2)))
    middle = float(weld.x.mean()), float(weld.y.mean())
    plane = tilt[0] * (weld.x - middle[0]) + tilt[1] * (weld.y - middle[1])
    slow = 0.03 * waves(rng, weld, 15.0)
    toe = float(np.median(weld.ground))
    return np.asarray(toe + level_mm + plane + slow + noise_mm * rng.standard_normal(weld.height.shape), dtype=np.float32)
