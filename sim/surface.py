"""The solid surface of one weld in mm: two sheets, and on them a bead with ripples, wander, rounded ends and craters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from sim.typologies import COLUMNS, PITCH_MM, ROWS, Span, UpperSheet, WeldTypology

F32: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.bool_]

X_MM: F32 = ((np.arange(COLUMNS, dtype=np.float32) + 0.5) * np.float32(PITCH_MM))[None, :]
"""Position of the columns along the seam, f32 [1, COLUMNS]."""
Y_MM: F32 = ((np.arange(ROWS, dtype=np.float32) + 0.5) * np.float32(PITCH_MM))[:, None]
"""Position of the rows across the seam from the north border, f32 [ROWS, 1]."""


@dataclass(frozen=True, kw_only=True)
class Bead:
    """Where the bead was meant to lie: ends in mm along the seam, nominal half width in mm, and f32 [1, COLUMNS] in mm each:
    centre line, half width and crown, the last two about 0 beyond the ends.
    """

    start: float
    end: float
    width: float
    centre: F32
    half_width: F32
    crown: F32

    @property
    def length(self) -> float:
        """From end to end, in mm."""
        return self.end - self.start

    def across(self) -> F32:
        """Signed distance from the centre line in half widths (north negative), f32 [ROWS, COLUMNS]."""
        return np.asarray((Y_MM - self.centre) / self.width, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class HeightField:
    """A weld before the sensor sees it, layer by layer; the layers are never changed in place.

    `sheet`, `fillet` and `cap` are f32 [ROWS, COLUMNS] in mm and add up to the surface: the sheets, the material that fills
    the corner between them, the bead above. `seen` marks where the crop keeps the sheets, `lost` where no data can come back.
    """

    typology: WeldTypology
    subtype: str
    bead: Bead
    sheet: F32
    fillet: F32
    cap: F32
    seen: Mask
    lost: Mask

    def material(self) -> F32:
        """Thickness of what was deposited, f32 [ROWS, COLUMNS] in mm."""
        return self.fillet + self.cap

    def surface(self) -> F32:
        """Height over the lower sheet, f32 [ROWS, COLUMNS] in mm."""
        return self.sheet + self.fillet + self.cap


def draw_field(typology: WeldTypology, rng: np.random.Generator) -> HeightField:
    """A sound weld of this typology: every size drawn from the typology's spans."""
    bead = _lay_bead(typology, rng)
    cap = _raise_cap(typology, bead, rng)
    lower = _plane(rng)
    seen = np.full((ROWS, COLUMNS), typology.plane_below)
    lost = np.zeros((ROWS, COLUMNS), dtype=np.bool_)
    if typology.sheet is None:
        none = np.zeros((ROWS, COLUMNS), dtype=np.float32)
        return HeightField(typology=typology, subtype="", bead=bead, sheet=lower, fillet=none, cap=cap, seen=seen, lost=lost)
    subtype, upper, shown, fillet = _lap(typology.sheet, bead, rng)
    return HeightField(
        typology=typology, subtype=subtype, bead=bead, sheet=lower + upper, fillet=fillet, cap=cap, seen=seen | shown, lost=lost
    )


def uniform(rng: np.random.Generator, span: Span) -> float:
    """A value between the span's ends."""
    return float(rng.uniform(span[0], span[1]))


def slow(rng: np.random.Generator, knots: int, *, size: int = COLUMNS) -> F32:
    """Smooth noise of about unit variance through `knots` random values, f32 [1, size]."""
    values = rng.standard_normal((1, knots), dtype=np.float32)
    return np.asarray(cv2.resize(values, (size, 1), interpolation=cv2.INTER_CUBIC), dtype=np.float32).reshape(1, size)


def relief(rng: np.random.Generator, rows: int, columns: int) -> F32:
    """Smooth noise of about unit variance in both directions, f32 [ROWS, COLUMNS]."""
    values = rng.standard_normal((rows, columns), dtype=np.float32)
    return np.asarray(cv2.resize(values, (COLUMNS, ROWS), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def ease(value: NDArray[np.floating[Any]]) -> F32:
    """0 below 0, 1 above 1, smooth between."""
    t = np.clip(value, 0.0, 1.0).astype(np.float32)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def _lay_bead(typology: WeldTypology, rng: np.random.Generator) -> Bead:
    length = uniform(rng, typology.length_mm)
    middle = COLUMNS * PITCH_MM / 2 + float(rng.uniform(-2.0, 2.0))
    start, end = middle - length / 2, middle + length / 2
    tilt = math.tan(math.radians(float(rng.uniform(-1.2, 1.2))))
    row = typology.row_mm + float(rng.uniform(-0.8, 0.8))
    centre = row + tilt * (X_MM - middle) + 0.16 * slow(rng, 9)
    width = uniform(rng, typology.half_width_mm)
    radius = width * typology.end_radius
    rounding = _end(X_MM - start, radius) * _end(end - X_MM, radius)
    half_width = np.maximum(width * rounding * (1.0 + 0.035 * slow(rng, 22)), 1e-3)
    hump = 1.0 + 0.14 * np.exp(-np.square((X_MM - start - radius) / 2.5))
    crown = uniform(rng, typology.crown_mm) * hump * (0.3 + 0.7 * rounding) * (1.0 + 0.04 * slow(rng, 18))
    return Bead(
        start=start,
        end=end,
        width=width,
        centre=centre.astype(np.float32),
        half_width=half_width.astype(np.float32),
        crown=(crown * (rounding > 0)).astype(np.float32),
    )


def _end(distance: F32, radius: float) -> F32:
    """The rounded end of a bead: 0 outside, 1 from `radius` inwards, a quarter circle between."""
    t = np.clip(distance / radius, 0.0, 1.0)
    return np.asarray(np.sqrt(1.0 - np.square(1.0 - t)), dtype=np.float32)


def _raise_cap(typology: WeldTypology, bead: Bead, rng: np.random.Generator) -> F32:
    s = (Y_MM - bead.centre) / bead.half_width
    inside = np.clip(1.0 - np.abs(s) ** typology.flatness, 0.0, 1.0)
    cap = bead.crown * inside
    cap += inside * _ripples(typology, bead, s, rng)
    cap += inside * 0.05 * relief(rng, 14, 38)
    if typology.pass_mm:
        phase = 2.0 * math.pi * (Y_MM - bead.centre) / typology.pass_mm + float(rng.uniform(0.0, 6.3))
        cap += inside * 0.11 * np.cos(phase)
    radius = bead.width * min(typology.end_radius, 1.0)
    cap -= inside * _crater(bead, bead.end - 1.05 * radius, radius, uniform(rng, typology.crater))
    cap -= inside * _crater(bead, bead.start + 0.9 * radius, 0.8 * radius, float(rng.uniform(0.12, 0.25)))
    smooth = cv2.GaussianBlur(np.maximum(cap, 0.0).astype(np.float32), (0, 0), 1.3)
    return np.asarray(smooth, dtype=np.float32)


def _ripples(typology: WeldTypology, bead: Bead, s: F32, rng: np.random.Generator) -> F32:
    """Crescents left by the freezing pool, convex towards the start; f32 [ROWS, COLUMNS] in mm."""
    wavelength = uniform(rng, typology.ripple_mm)
    trail = 0.6 * bead.width * typology.end_radius
    phase = (X_MM - trail * np.clip(s, -1.0, 1.0) ** 2 + 0.35 * slow(rng, 16)) * np.float32(2.0 * math.pi / wavelength)
    amplitude = float(rng.uniform(0.07, 0.11)) * (1.0 + 0.35 * slow(rng, 12))
    return np.asarray(amplitude * (np.sin(phase) + 0.3 * np.sin(2.0 * phase)), dtype=np.float32)


def _crater(bead: Bead, x: float, radius: float, depth: float) -> F32:
    """A bowl on the centre line, f32 [ROWS, COLUMNS] in mm; `depth` is a share of the crown."""
    across = np.square((Y_MM - bead.centre) / (0.5 * radius))
    along = np.square((X_MM - x) / (0.55 * radius))
    return np.asarray(depth * float(bead.crown.max()) * np.exp(-across - along), dtype=np.float32)


def _plane(rng: np.random.Generator) -> F32:
    """The lower sheet: about level, a little bowed, rolled texture."""
    tilt_x, tilt_y = float(rng.uniform(-0.006, 0.006)), float(rng.uniform(-0.012, 0.012))
    plane = tilt_x * (X_MM - COLUMNS * PITCH_MM / 2) + tilt_y * (Y_MM - ROWS * PITCH_MM / 2)
    return np.asarray(plane + 0.04 * relief(rng, 3, 5) + 0.008 * relief(rng, 40, 24), dtype=np.float32)


def _lap(sheet: UpperSheet, bead: Bead, rng: np.random.Generator) -> tuple[str, F32, Mask, F32]:
    """Subtype, height of the upper sheet over the lower, where it is in view, and the fillet along its edge."""
    sign = -1.0 if sheet.side == "north" else 1.0
    name, low, high = sheet.slopes[int(rng.integers(len(sheet.slopes)))]
    straight = np.polynomial.Polynomial.fit(X_MM[0], bead.centre[0], 1)(X_MM[0]).astype(np.float32)[None, :]
    edge = straight + sign * 0.2 * bead.width
    inwards = sign * (Y_MM - edge)
    step = uniform(rng, sheet.step_mm)
    on_sheet = (inwards > 0) & (inwards < uniform(rng, sheet.depth_mm) + 0.12 * slow(rng, 90))
    if sheet.tab_mm is not None:
        ends = 0.12 * relief(rng, 64, 4)
        from_start, to_end = X_MM - bead.start + sheet.tab_mm, bead.end + sheet.tab_mm - X_MM
        on_sheet &= (from_start > ends) & (to_end > ends)
    upper = np.where(on_sheet, step + float(rng.uniform(low, high)) * inwards, 0.0).astype(np.float32)
    reach = np.maximum(bead.half_width * 1.15, 1e-3)
    fillet = np.where(inwards <= 0, step * (1.0 - ease(-inwards / reach)), 0.0)
    return name, upper, on_sheet, (fillet * (bead.half_width > 0.4 * bead.width)).astype(np.float32)
