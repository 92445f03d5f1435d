"""The nine weld typologies as simulated on the bench: what a scan shows, its dimensions in mm and the limits that judge it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from edge.errors import SimulationError
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow

ROWS, COLUMNS = 128, 352
PITCH_MM = 0.2
"""Distance of neighbouring pixels, in both directions."""

Span: TypeAlias = tuple[float, float]
"""Lowest and highest value that is drawn, in mm unless the field says otherwise."""


@dataclass(frozen=True, kw_only=True)
class UpperSheet:
    """The upper of two lapped sheets, in view on one side of the bead."""

    side: Literal["north", "south"]
    step_mm: Span
    """How much higher than the lower sheet."""
    depth_mm: Span
    """How much of it the crop shows, from its edge away from the bead."""
    slopes: tuple[tuple[str, float, float], ...] = (("", 0.0, 0.0),)
    """Subtype, lowest and highest rise in mm per mm away from the edge; one of them is drawn."""
    tab_mm: float | None = None
    """A tab that ends this far beyond the bead's ends; None: it fills the frame's length."""


@dataclass(frozen=True, kw_only=True)
class WeldTypology:
    """One kind of weld: the sizes it is drawn from, what else the scan shows, and the longest acceptable gap."""

    name: str
    description: str
    length_mm: Span
    half_width_mm: Span
    crown_mm: Span
    """Height of the bead over what it lies on."""
    row_mm: float
    """Where the bead's centre line lies, from the north border."""
    cut_limit_mm: float
    """Gaps longer than this are rejected by the welding standard; shorter ones are acceptable."""
    window_mm: Span
    """Heights that become gray 1 and 255."""
    sheet: UpperSheet | None = None
    plane_below: bool = False
    """The lower sheet is in view; otherwise the crop has removed it."""
    sight_slope: float = 2.2
    """Steepness in mm per mm of the sensor's line of sight, coming from the north; what it cannot reach is shadow."""
    flange_mm: Span | None = None
    """Height of a flange along the north border that hides what lies behind it."""
    ripple_mm: Span = (1.1, 1.7)
    """Distance of the solidification ripples."""
    flatness: float = 2.2
    """Exponent of the cross-section: 2 is a parabola, more is a flatter top with steeper flanks."""
    end_radius: float = 1.0
    """Rounding of the ends in half widths."""
    crater: Span = (0.4, 0.6)
    """Depth of the end crater as a share of the crown."""
    pass_mm: float = 0.0
    """Distance of parallel passes that fill an area; 0: a single bead."""

    @property
    def grazing(self) -> bool:
        """Whether the sensor looks so flat that the bead's far flank lies in shadow."""
        return self.sight_slope < 1.0


_FULL_SHEET = UpperSheet(side="north", step_mm=(1.4, 1.9), depth_mm=(30.0, 30.0))

_ALL = (
    WeldTypology(
        name="T2",
        description="bead, upper sheet in view as a plane",
        length_mm=(46.0, 54.0),
        half_width_mm=(2.9, 3.5),
        crown_mm=(1.5, 1.9),
        row_mm=14.0,
        cut_limit_mm=3.0,
        window_mm=(-0.5, 5.5),
        sheet=_FULL_SHEET,
    ),
    WeldTypology(
        name="T3",
        description="isolated bead, nothing else in view",
        length_mm=(34.0, 41.0),
        half_width_mm=(3.0, 3.6),
        crown_mm=(1.8, 2.3),
        row_mm=12.8,
        cut_limit_mm=3.0,
        window_mm=(-0.5, 4.5),
    ),
    WeldTypology(
        name="T4",
        description="bead with a plane below",
        length_mm=(42.0, 50.0),
        half_width_mm=(3.0, 3.6),
        crown_mm=(1.8, 2.3),
        row_mm=12.8,
        cut_limit_mm=3.0,
        window_mm=(-1.5, 4.5),
        plane_below=True,
    ),
    WeldTypology(
        name="T5",
        description="bead with a plane below, large shadow areas from the capture angle",
        length_mm=(42.0, 50.0),
        half_width_mm=(3.3, 3.9),
        crown_mm=(1.8, 2.2),
        row_mm=13.4,
        cut_limit_mm=3.5,
        window_mm=(-1.5, 4.5),
        plane_below=True,
        sight_slope=0.42,
        flange_mm=(1.9, 3.0),
        crater=(0.2, 0.3),
    ),
    WeldTypology(
        name="T7",
        description="square weld, not a line; outer sheet oblique (a) or level (b)",
        length_mm=(15.0, 17.5),
        half_width_mm=(6.4, 7.2),
        crown_mm=(1.6, 2.0),
        row_mm=15.4,
        cut_limit_mm=3.0,
        window_mm=(-1.5, 5.0),
        sheet=UpperSheet(
            side="north",
            step_mm=(0.7, 1.1),
            depth_mm=(10.5, 12.5),
            slopes=(("a", 0.13, 0.19), ("b", -0.01, 0.01)),
            tab_mm=6.0,
        ),
        ripple_mm=(1.4, 2.0),
        flatness=5.0,
        end_radius=0.33,
        pass_mm=3.6,
    ),
    WeldTypology(
        name="T8",
        description="wide bead, upper sheet in view as an oblique tab",
        length_mm=(36.0, 43.0),
        half_width_mm=(3.9, 4.5),
        crown_mm=(1.6, 2.0),
        row_mm=9.6,
        cut_limit_mm=3.5,
        window_mm=(-0.5, 6.0),
        sheet=UpperSheet(side="south", step_mm=(1.0, 1.4), depth_mm=(9.0, 11.0), slopes=(("", 0.10, 0.16),), tab_mm=4.5),
        ripple_mm=(1.5, 2.2),
    ),
    WeldTypology(
        name="T9",
        description="short bead, upper sheet in view",
        length_mm=(16.0, 20.0),
        half_width_mm=(2.8, 3.3),
        crown_mm=(1.5, 1.9),
        row_mm=14.0,
        cut_limit_mm=2.5,
        window_mm=(-0.5, 5.5),
        sheet=_FULL_SHEET,
    ),
    WeldTypology(
        name="T10",
        description="isolated bead, shorter than T3",
        length_mm=(17.0, 22.0),
        half_width_mm=(2.9, 3.4),
        crown_mm=(1.8, 2.3),
        row_mm=12.8,
        cut_limit_mm=2.5,
        window_mm=(-0.5, 4.5),
    ),
    WeldTypology(
        name="T11",
        description="isolated bead, longer than T3",
        length_mm=(54.0, 61.0),
        half_width_mm=(3.0, 3.6),
        crown_mm=(1.8, 2.3),
        row_mm=12.8,
        cut_limit_mm=3.5,
        window_mm=(-0.5, 4.5),
    ),
)

TYPOLOGIES: Mapping[str, WeldTypology] = MappingProxyType({typology.name: typology for typology in _ALL})
"""Every typology by name, in the order of the recipe."""


def typology_of(name: str) -> WeldTypology:
    """The typology of that name. Raises SimulationError."""
    if name not in TYPOLOGIES:
        raise SimulationError("no such typology", seen=name, remedy=f"Choose one of {', '.join(TYPOLOGIES)}")
    return TYPOLOGIES[name]


def spec_of(typology: str) -> HeightmapSpec:
    """How a scan of this typology becomes the network's 128 x 352 heightmap. Raises SimulationError."""
    low, high = typology_of(typology).window_mm
    return HeightmapSpec(window=MillimetreWindow(low_mm=low, high_mm=high), height=ROWS, width=COLUMNS)
