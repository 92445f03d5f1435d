"""The parameters of every defect: sizes in mm, choices by name; frozen, so that a painted scan can say what was painted."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Side: TypeAlias = Literal["north", "south"]
Where: TypeAlias = Literal["start", "middle", "end"]


class Deviation(msgspec.Struct, frozen=True, kw_only=True, tag="deviation", tag_field="defect"):
    """The bead leaves its path by `shift_mm` (south positive) over `run_mm` at its start, its middle or its end."""

    where: Where
    shift_mm: float
    run_mm: float


class Excess(msgspec.Struct, frozen=True, kw_only=True, tag="excess", tag_field="defect"):
    """One half of the bead stands `height_mm` higher over `run_mm` of its length; None: all of it."""

    side: Side
    height_mm: float
    run_mm: float | None = None


class Ball(msgspec.Struct, frozen=True, kw_only=True, tag="ball", tag_field="defect"):
    """Solidified drops of these foot radii on the bead, each `rise` times as high as its radius."""

    radii_mm: tuple[float, ...]
    rise: float = 0.9


class Cut(msgspec.Struct, frozen=True, kw_only=True, tag="cut", tag_field="defect"):
    """Gaps across the bead of these lengths along the seam; `limit_mm` of the welding standard decides the label."""

    lengths_mm: tuple[float, ...]
    limit_mm: float
    margin: float = 0.1
    """Lengths closer to the limit than this share of it get no label and are refused."""
    floor: Literal["dark", "ground"] = "dark"
    """Whether a gap returns no data, or shows the sheet where one is in view."""


class Pore(msgspec.Struct, frozen=True, kw_only=True, tag="pore", tag_field="defect"):
    """Holes of these diameters, too deep to return light, with a sunken rim."""

    diameters_mm: tuple[float, ...]


class Missing(msgspec.Struct, frozen=True, kw_only=True, tag="missing", tag_field="defect"):
    """Over `run_mm` the bead's material ends `reach_mm` beyond its centre line on that side (negative: before it)."""

    side: Side
    run_mm: float
    reach_mm: float


class Bare(msgspec.Struct, frozen=True, kw_only=True, tag="bare", tag_field="defect"):
    """No bead at all; where the scan shows no sheet, one fills the frame `level_mm` above the bead's toe."""

    level_mm: float = 0.0


class Solid(msgspec.Struct, frozen=True, kw_only=True, tag="solid", tag_field="defect"):
    """One height everywhere, `level_mm` above the bead's toe, with noise."""

    level_mm: float
    noise_mm: float


class Sound(msgspec.Struct, frozen=True, kw_only=True, tag="sound", tag_field="defect"):
    """The good weld itself."""


Parameters: TypeAlias = Deviation | Excess | Ball | Cut | Pore | Missing | Bare | Solid | Sound


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What a capture may change without changing the weld: heights times `gain` about the toe plus `offset_mm` (brightness), a share of
    the weld's pixels lost (dropout), and the part lying elsewhere: `move_mm` (x, y) and `turn_deg`, by nearest pixel.
    """

    gain: float = 1.0
    offset_mm: float = 0.0
    dropout: float = 0.0
    move_mm: tuple[float, float] = (0.0, 0.0)
    turn_deg: float = 0.0
