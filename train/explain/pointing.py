"""The pointing game: how often a map's strongest point lies on the defect, and how often chance would put it there.

After J. Zhang et al., "Top-down neural attention by excitation backprop", ECCV 2016: a hit is a maximum inside the object's mask, here
dilated by a few pixels because a cell of the map is larger than a pore.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Cells = NDArray[np.float32]
Mask = NDArray[np.bool_]
TOLERANCE = 8
"""Pixels by which a mask is dilated: half a cell of the networks' finest common map."""


@dataclass(frozen=True, kw_only=True)
class Pointed:
    """One bad weld: whether the maximum hit, and the part of the pixels with data that would have been a hit."""

    defect: str
    hit: bool
    chance: float


def strongest(cells: Cells, size: tuple[int, int]) -> tuple[int, int]:
    """(row, column) of the strongest pixel when `cells` cover `size` (H, W) and are enlarged smoothly."""
    large = cv2.resize(np.asarray(cells, np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    row, column = np.unravel_index(int(large.argmax()), large.shape)
    return int(row), int(column)


def dilated(mask: Mask, tolerance: int) -> Mask:
    """`mask` with everything within `tolerance` pixels of it."""
    side = 2 * tolerance + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc), bool)


def point(defect: str, gray: Gray, cells: Cells, mask: Mask, *, tolerance: int = TOLERANCE) -> Pointed:
    """Play one round: heightmap u8 [H, W], its map, and the defect's true mask [H, W], which holds at least one pixel."""
    wide, known = dilated(mask, tolerance), gray > 0
    chance = float((wide & known).sum() / max(1, known.sum()))
    return Pointed(defect=defect, hit=bool(wide[strongest(cells, (gray.shape[0], gray.shape[1]))]), chance=chance)


def table(rounds: Iterable[Pointed]) -> str:
    """Hits per kind of defect, and of all, beside what chance gives."""
    played: Sequence[Pointed] = sorted(rounds, key=lambda one: one.defect)
    kinds = sorted({one.defect for one in played})
    lines = [f"{'defect':16s} {'welds':>6s} {'hits':>6s} {'rate':>7s} {'chance':>7s}"]
    for name, ones in [*((kind, [one for one in played if one.defect == kind]) for kind in kinds), ("all", list(played))]:
        if ones:
            rate, chance = (float(np.mean(values)) for values in ([one.hit for one in ones], [one.chance for one in ones]))
            lines.append(f"{name:16s} {len(ones):6d} {sum(one.hit for one in ones):6d} {rate:7.1%} {chance:7.1%}")
    return "\n".join(lines)
