"""Draw a defect's parameters from a standard's ranges, so that they fit the bead at hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from train.defects.standards import Span, Standard
from train.defects.values import (
    Ball,
    Bare,
    Conditions,
    Cut,
    Deviation,
    Excess,
    Missing,
    Parameters,
    Pore,
    Side,
    Solid,
    Sound,
    Where,
)
from train.defects.weld import Weld

GOOD = ("sound", "short_cut")
BAD = ("deviation", "excess", "ball", "cut", "pore", "missing", "bare", "solid")
DEFECTS = (*GOOD, *BAD)
"""What can be derived from a good scan; the first two keep it good."""


def draw(defect: str, weld: Weld, standard: Standard, rng: np.random.Generator) -> Parameters:
    """Parameters of one of DEFECTS for this weld, within the standard's ranges and what the bead has room for."""
    return _DRAWERS[defect](weld, standard, rng)


def draw_conditions(standard: Standard, rng: np.random.Generator) -> Conditions:
    """How a derived scan was taken; drawn alike for good and bad ones, so that conditions tell nothing about the label."""
    table = standard.good
    chosen = rng.random(3) < (table.brightness_share, table.dropout_share, table.pose_share)
    gain, offset = 1.0 + rng.uniform(-table.gain, table.gain), rng.uniform(-table.offset_mm, table.offset_mm)
    shift, turn = rng.uniform(-table.move_mm, table.move_mm, 2), rng.uniform(-table.turn_deg, table.turn_deg)
    return Conditions(
        gain=float(gain) if chosen[0] else 1.0,
        offset_mm=float(offset) if chosen[0] else 0.0,
        dropout=table.dropout if chosen[1] else 0.0,
        move_mm=(float(shift[0]), float(shift[1])) if chosen[2] else (0.0, 0.0),
        turn_deg=float(turn) if chosen[2] else 0.0,
    )


def weights(standard: Standard) -> tuple[dict[str, float], dict[str, float]]:
    """How often each defect is drawn: those that keep the label good, and those that make it bad."""
    good = {"sound": standard.good.untouched_weight, "short_cut": standard.cut.acceptable_weight}
    return good, {name: float(getattr(standard, name).weight) for name in BAD}


def _within(rng: np.random.Generator, span: Span, most: float = np.inf) -> float:
    """A value from the span, its upper end lowered to `most` where the bead has no more room (the painter refuses what is left)."""
    return float(rng.uniform(span[0], max(span[0], min(span[1], most))))


def _side(weld: Weld, rng: np.random.Generator) -> Side:
    """Either half of the bead; where the far one lies in the bead's own shadow, the near one."""
    if weld.shadow.any() and weld.sight is not None:
        return weld.sight.origin
    return "north" if rng.random() < 0.5 else "south"


def _deviation(weld: Weld, standard: Standard, rng: np.random.Generator) -> Parameters:
    table, bead = standard.deviation, weld.bead
    shift = _within(rng, table.shift_mm)
    frame = weld.height.shape[0] * weld.pitch[1]
    room = {-1.0: float(bead.centre.min()) - bead.half_width, 1.0: frame - float(bead.centre.max()) - bead.half_width}
    signs = [sign for sign, free in room.items() if free > shift] or [max(room, key=lambda sign: room[sign])]
    where: Where = ("start", "middle", "end")[int(rng.integers(3))]
    run = max(_within(rng, table.run_mm, 0.8 * bead.length), 2.0 * shift)
    return Deviation(where=where, shift_mm=signs[int(rng.integers(len(signs)))] * shift, run_mm=run)


def _excess(weld: Weld, standard: Standard, rng: np.random.Generator) -> Parameters:
    table = standard.excess
    run = None if rng.random() < table.whole else _within(rng, table.section_mm, 0.6 * weld.bead.length)
    return Excess(side=_side(weld, rng), height_mm=_within(rng, table.height_mm), run_mm=run)


def _ball(_: Weld, standard: Standard, rng: np.random.Generator) -> Parameters:
    table = standard.ball
    count = int(rng.integers(table.count[0], table.count[1] + 1))
    return Ball(radii_mm=tuple(float(r) for r in rng.uniform(*table.radius_mm, count)), rise=_within(rng, table.rise))


def _cut(_: Weld, standard: Standard, rng: np.random.Generator) -> Cut:
    length = _within(rng, standard.cut.rejectable_mm)
    return _gaps(standard, rng, (length,))


def _fitting_cut(weld: Weld, standard: Standard, rng: np.random.Generator) -> Parameters:
    parameters = _cut(weld, standard, rng)
    most = max(standard.cut.rejectable_mm[0], 0.4 * weld.bead.length)
    return _gaps(standard, rng, (min(parameters.lengths_mm[0], most),))


def _short_cut(_: Weld, standard: Standard, rng: np.random.Generator) -> Parameters:
    lengths = rng.uniform(*standard.cut.acceptable_mm, int(rng.integers(1, 3)))
    return _gaps(standard, rng, tuple(float(length) for length in lengths))


def _gaps(standard: Standard, rng: np.random.Generator, lengths: tuple[float, ...]) -> Cut:
    # A painter refuses what lies strictly inside the margin; ranges may begin exactly at its end.
    margin = standard.cut.margin * 0.999
    floor: Literal["dark", "ground"] = "ground" if rng.random() < standard.cut.ground else "dark"
    return Cut(lengths_mm=lengths, limit_mm=standard.cut_limit_mm, margin=margin, floor=floor)


def _pore(weld: Weld, standard: Standard, rng: np.random.Generator) -> Parameters:
    table = standard.pore
    if rng.random() < 0.5:
        return Pore(diameters_mm=(_within(rng, table.single_mm, 1.4 * weld.bead.half_width),))
    count = int(rng.integers(table.count[0], table.count[1] + 1))
    return Pore(diameters_mm=tuple(float(d) for d in rng.uniform(*table.many_mm, count)))


def _missing(weld: Weld, standard: Standard, rng: np.random.Generator) -> Parameters:
    table = standard.missing
    run = _within(rng, table.run_mm, weld.bead.length)
    return Missing(side=_side(weld, rng), run_mm=run, reach_mm=_within(rng, table.reach_mm))


def _bare(_: Weld, standard: Standard, rng: np.random.Generator) -> Parameters:
    return Bare(level_mm=_within(rng, standard.bare.level_mm))


def _solid(_: Weld, standard: Standard, rng: np.random.Generator) -> Parameters:
    table = standard.solid
    return Solid(level_mm=_within(rng, table.level_mm), noise_mm=_within(rng, table.noise_mm))


_DRAWERS: dict[str, Callable[[Weld, Standard, np.random.Generator], Parameters]] = {
    "sound": lambda _weld, _standard, _rng: Sound(),
    "short_cut": _short_cut,
    "deviation": _deviation,
    "excess": _excess,
    "ball": _ball,
    "cut": _fitting_cut,
    "pore": _pore,
    "missing": _missing,
    "bare": _bare,
    "solid": _solid,
}
