"""A good scan taken apart: the bead in it, the sheets beside it, the complete surface, and what the sensor does to a surface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]
Label: TypeAlias = Literal["good", "bad"]
Origin: TypeAlias = Literal["north", "south"]
"""The side that the sensor looks from: the first row's or the last row's."""
Pitch: TypeAlias = tuple[float, float]
"""Distance of neighbouring pixels in mm along x (columns) and y (rows)."""


@dataclass(frozen=True, kw_only=True)
class Bead:
    """Where the bead lies; the seam runs along the columns. Positions in mm from the centre of the first pixel."""

    start: float
    end: float
    centre: F32
    """f32 [columns]: the centre line's y; beyond the ends it goes on level."""
    half_width: float
    """Median over the bead's length."""
    crown: float
    """Height of the crest over the foot, median over the bead's length."""
    footprint: Mask
    """bool [rows, columns]: the bead's pixels, also those in shadow that it must cover."""
    gaps: Mask
    """bool [columns]: columns between start and end that show no bead."""

    @property
    def length(self) -> float:
        """From end to end, in mm."""
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class Sight:
    """The line of sight in an across-the-seam plane: it comes from the north (first row) or the south, falling `slope` mm per mm."""

    origin: Origin
    slope: float
    spread: float
    """Relative scatter of the slope from column to column, as the edge of the scan's own shadows shows it."""


@dataclass(frozen=True, kw_only=True)
class Weld:
    """One scan with its parts, the seam along the columns; all arrays [rows, columns] and never changed in place."""

    height: F32
    """mm, NaN = no data: the scan itself."""
    pitch: Pitch
    bead: Bead
    ground: F32
    """mm, finite everywhere: the sheets without the bead; where no sheet is in view, the level at which the scan's data end."""
    seen: Mask
    """Where the ground would give data if nothing lay on it."""
    foot: F32
    """mm: what the bead stands on, going smoothly from the ground of one side to that of the other (the fillet of a lap joint included)."""
    solid: F32
    """mm, finite everywhere: the complete surface, shadows and lost pixels filled."""
    noise: tuple[float, float]
    """Standard deviation of the measured heights on the bead and on the sheets, mm."""
    shadow: Mask
    """Where the bead's own shadow took the data."""
    sight: Sight | None = None
    transposed: bool = False
    """The scan's seam runs along the rows: `height` is the scan transposed."""

    @property
    def x(self) -> F32:
        """Position of the columns, f32 [1, columns], mm."""
        return np.asarray((np.arange(self.height.shape[1]) * self.pitch[0])[None, :], dtype=np.float32)

    @property
    def y(self) -> F32:
        """Position of the rows, f32 [rows, 1], mm."""
        return np.asarray((np.arange(self.height.shape[0]) * self.pitch[1])[:, None], dtype=np.float32)

    @property
    def cap(self) -> F32:
        """Thickness of the bead over its foot, f32 [rows, columns], mm; 0 outside the bead."""
        return np.where(self.bead.footprint, np.maximum(self.solid - self.foot, 0.0), 0.0).astype(np.float32)

    def across(self) -> F32:
        """Signed distance from the centre line in half widths, north negative, f32 [rows, columns]."""
        return np.asarray((self.y - self.bead.centre[None, :]) / np.float32(self.bead.half_width), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Painted:
    """A derived scan: heights f32 [rows, columns] in mm (NaN = no data), where the defect is, and the label it earns."""

    height: F32
    mask: Mask
    """Where the defect changed the surface or took its data. Outside it and `shadow` every pixel is the source's."""
    shadow: Mask
    """Where data vanished or came back because the line of sight changed."""
    label: Label
    parameters: dict[str, float | str]
    """Sizes in mm and choices, as drawn."""


def ease(value: NDArray[np.floating[Any]]) -> F32:
    """0 below 0, 1 above 1, smooth (slope at most 1.5) between."""
    t = np.clip(value, 0.0, 1.0).astype(np.float32)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)
