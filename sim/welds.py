"""Simulated scans of welds with known truth: a typology, a defect and a seed give the same 128 x 352 height image every time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import SimulationError
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec, Rasterise
from sim import defects
from sim.capture import Conditions, capture
from sim.defects import Damaged, Side, Where
from sim.surface import F32, HeightField, Mask, draw_field, relief, uniform
from sim.typologies import COLUMNS, PITCH_MM, ROWS, TYPOLOGIES, WeldTypology, spec_of, typology_of

__all__ = [
    "ACCEPTABLE",
    "NO_DATA",
    "PITCH_MM",
    "REJECTABLE",
    "TYPOLOGIES",
    "Z_OFFSET_MM",
    "Z_SCALE_MM",
    "Weld",
    "WeldTypology",
    "cloud_spec",
    "defects_of",
    "draw_weld",
    "make_weld",
    "spec_of",
    "to_cloud",
    "to_heightmap",
    "to_range",
]

Label: TypeAlias = Literal["good", "bad"]

ACCEPTABLE: Mapping[str, float] = MappingProxyType({"none": 5.0, "short_cut": 3.0, "dropout": 1.5, "brightness": 1.5})
"""What a good weld may show, and how often relative to each other; `none` is a weld without blemish."""
REJECTABLE: Mapping[str, float] = MappingProxyType(
    {"deviation": 3.0, "excess": 3.0, "ball": 3.0, "cut": 3.0, "pore": 3.0, "missing": 3.0, "bare_sheet": 1.0, "solid": 0.7}
)
"""What makes a weld bad, and how often relative to each other."""
SHORT, LONG = (0.3, 0.55), (1.4, 2.4)
"""Gap lengths in units of the typology's limit: acceptable ones and rejectable ones, with a clear margin between."""

Z_SCALE_MM = 0.001
Z_OFFSET_MM = -20.0
NO_DATA = 0
"""A range image is u16: height = value * Z_SCALE_MM + Z_OFFSET_MM, NO_DATA where nothing came back."""


@dataclass(frozen=True, kw_only=True)
class Weld:
    """One simulated scan with its truth."""

    typology: str
    defect: str
    label: Label
    height_mm: F32
    """f32 [128, 352], height over the lower sheet in mm, NaN = no data."""
    mask: Mask
    """bool [128, 352], where the named defect (also an acceptable one) changed the weld; empty for `none` and `brightness`."""
    seed: int
    subtype: str = ""


def defects_of(typology: str) -> tuple[str, ...]:
    """What `make_weld` can make of this typology: the acceptable ones first, then the rejectable. Raises SimulationError."""
    typology_of(typology)
    return (*ACCEPTABLE, *REJECTABLE)


def make_weld(typology: str, defect: str, seed: int) -> Weld:
    """The scan of one weld; equal arguments give equal pixels. Raises SimulationError for unknown names or a negative seed."""
    kind = typology_of(typology)
    if defect not in _MAKERS:
        raise SimulationError("no such defect", seen=defect, remedy=f"Choose one of {', '.join(_MAKERS)}")
    rng = _generator(seed, typology, defect)
    field = draw_field(kind, rng)
    field, mask = _MAKERS[defect](field, rng)
    conditions = _conditions(defect, rng)
    height = _solid(kind, rng) if defect == "solid" else capture(field, conditions, rng)
    if defect == "dropout":
        mask = np.isnan(height) & (field.material() > 0.5) & ~field.lost
    label: Label = "good" if defect in ACCEPTABLE else "bad"
    return Weld(typology=typology, defect=defect, label=label, height_mm=height, mask=mask, seed=seed, subtype=field.subtype)


def draw_weld(typology: str, seed: int, bad_fraction: float = 0.5) -> Weld:
    """A weld whose defect the seed chooses: rejectable with probability `bad_fraction`, else acceptable. Raises SimulationError."""
    rng = _generator(seed, typology, "draw")
    weights = REJECTABLE if rng.random() < bad_fraction else ACCEPTABLE
    share = np.array(list(weights.values()))
    return make_weld(typology, str(rng.choice(list(weights), p=share / share.sum())), seed)


def to_heightmap(weld: Weld) -> NDArray[np.uint8]:
    """The weld as the network sees it, u8 [128, 352], 0 = no data, by the typology's own spec."""
    out = np.empty((ROWS, COLUMNS), np.uint8)
    _preparer(weld.typology).prepare(weld.height_mm, kind="range", no_data=float("nan"), out=out)
    return out


def to_range(weld: Weld) -> tuple[NDArray[np.uint16], float, float]:
    """The weld as a camera sends it: u16 [128, 352] with 0 = no data, the scale and the offset in mm."""
    steps = np.rint((weld.height_mm - Z_OFFSET_MM) / Z_SCALE_MM)
    return np.nan_to_num(np.clip(steps, 1, 65535), nan=NO_DATA).astype(np.uint16), Z_SCALE_MM, Z_OFFSET_MM


def to_cloud(weld: Weld, *, organised: bool = True) -> NDArray[np.float32]:
    """The weld as points x, y, z in mm: f32 [128, 352, 3] with z NaN where nothing came back, or [1, points, 3] in no order without those.

    x grows along the columns and y along the rows, from 0 at the first pixel's centre.
    """
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    cloud = np.stack([columns * PITCH_MM, rows * PITCH_MM, weld.height_mm], axis=2).astype(np.float32)
    if organised:
        return cloud
    seen = cloud[~np.isnan(weld.height_mm)]
    return _generator(weld.seed, weld.typology, weld.defect, "order").permutation(seen)[None]


def cloud_spec(typology: str) -> HeightmapSpec:
    """`spec_of` with the grid that clouds in no order fall into: the scan's own pixels. Raises SimulationError."""
    x_mm, y_mm = (0.0, (COLUMNS - 1) * PITCH_MM), (0.0, (ROWS - 1) * PITCH_MM)
    return msgspec.structs.replace(spec_of(typology), rasterise=Rasterise(x_mm=x_mm, y_mm=y_mm, pitch_mm=(PITCH_MM, PITCH_MM)))


@cache
def _preparer(typology: str) -> Preparer:
    return Preparer(spec_of(typology))


def _generator(seed: int, *words: str) -> np.random.Generator:
    if seed < 0:
        raise SimulationError("a weld's seed is not negative", seen=seed, remedy="Give 0 or more")
    return np.random.default_rng([seed, *"/".join(words).encode()])


def _conditions(defect: str, rng: np.random.Generator) -> Conditions:
    """How the frame is taken; bad welds see the acceptable variations too, so that these tell nothing about the label."""
    bright = defect == "brightness" or (defect in REJECTABLE and rng.random() < 0.3)
    dropped = defect == "dropout" or (defect in REJECTABLE and rng.random() < 0.3)
    spread, shift = (0.07, 0.3) if bright else (0.015, 0.06)
    return Conditions(
        gain=1.0 + float(rng.uniform(-spread, spread)),
        offset_mm=float(rng.uniform(-shift, shift)),
        dropout=0.02 if dropped else 0.002,
    )


def _sound(field: HeightField, _: np.random.Generator) -> Damaged:
    return field, np.zeros_like(field.seen)


def _deviation(field: HeightField, rng: np.random.Generator) -> Damaged:
    where: Where = ("start", "middle", "end")[int(rng.integers(3))]
    bead = field.bead
    size = min(uniform(rng, (1.0, 1.25)) * bead.width, 4.2)
    low, high = float(bead.centre.min()) - bead.width, float(bead.centre.max()) + bead.width
    room = {-1.0: low, 1.0: ROWS * PITCH_MM - high}
    possible = [sign for sign, free in room.items() if free > size] or [max(room, key=lambda sign: room[sign])]
    sign = possible[int(rng.integers(len(possible)))]
    run = max(uniform(rng, (0.3, 0.45)) * bead.length, 3.0 * size)
    return defects.deviate(field, rng, where=where, shift_mm=sign * size, run_mm=min(run, 0.6 * bead.length))


def _excess(field: HeightField, rng: np.random.Generator) -> Damaged:
    whole = rng.random() < 0.5
    run = field.bead.length if whole else uniform(rng, (0.35, 0.6)) * field.bead.length
    return defects.exceed(field, rng, side=_side(field, rng), height_mm=uniform(rng, (1.2, 1.7)), run_mm=run)


def _balls(field: HeightField, rng: np.random.Generator) -> Damaged:
    radii = rng.uniform(1.5, 2.2, int(rng.integers(1, 4)))
    return defects.drop_balls(field, rng, radii_mm=tuple(float(radius) for radius in radii))


def _short_cuts(field: HeightField, rng: np.random.Generator) -> Damaged:
    lengths = rng.uniform(*SHORT, int(rng.integers(1, 3))) * field.typology.cut_limit_mm
    return defects.cut(field, rng, lengths_mm=tuple(float(length) for length in lengths))


def _long_cut(field: HeightField, rng: np.random.Generator) -> Damaged:
    limit = field.typology.cut_limit_mm
    return defects.cut(field, rng, lengths_mm=(min(uniform(rng, LONG) * limit, max(LONG[0] * limit, 0.35 * field.bead.length)),))


def _pores(field: HeightField, rng: np.random.Generator) -> Damaged:
    if rng.random() < 0.5:
        return defects.pierce(field, rng, diameters_mm=(uniform(rng, (2.4, 3.2)),))
    diameters = rng.uniform(1.4, 2.0, int(rng.integers(4, 9)))
    return defects.pierce(field, rng, diameters_mm=tuple(float(diameter) for diameter in diameters))


def _missing(field: HeightField, rng: np.random.Generator) -> Damaged:
    run = uniform(rng, (0.45, 1.0)) * field.bead.length
    return defects.starve(field, rng, side=_side(field, rng), run_mm=run, reach=uniform(rng, (-0.25, 0.15)))


def _bare(field: HeightField, rng: np.random.Generator) -> Damaged:
    return defects.strip(field, level_mm=uniform(rng, (0.0, 2.5)))


def _side(field: HeightField, rng: np.random.Generator) -> Side:
    """Either half; seen from a grazing angle only the near one shows."""
    far = not field.typology.grazing and rng.random() < 0.5
    return "south" if far else "north"


def _solid(typology: WeldTypology, rng: np.random.Generator) -> F32:
    """A frame that is almost one height: a covered lens, or a sensor that sees one flat thing only."""
    low, high = typology.window_mm
    level = float(rng.uniform(low + 0.15 * (high - low), high - 0.05 * (high - low)))
    noise = float(rng.uniform(0.015, 0.06)) * rng.standard_normal((ROWS, COLUMNS), dtype=np.float32)
    return np.asarray(level + 0.02 * relief(rng, 2, 3) + noise, dtype=np.float32)


_MAKERS: Mapping[str, Callable[[HeightField, np.random.Generator], Damaged]] = MappingProxyType(
    {
        "none": _sound,
        "short_cut": _short_cuts,
        "dropout": _sound,
        "brightness": _sound,
        "deviation": _deviation,
        "excess": _excess,
        "ball": _balls,
        "cut": _long_cut,
        "pore": _pores,
        "missing": _missing,
        "bare_sheet": _bare,
        "solid": _bare,
    }
)
