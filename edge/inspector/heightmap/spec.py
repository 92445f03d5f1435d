"""The declarative description of how a frame becomes a heightmap; part of the signed bundle, per typology."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import msgspec

from edge.errors import ConfigError

MAX_SIDE = 2048
"""Largest height or width of a network's input in pixels."""
PITCH_MM = (0.001, 10.0)
"""Plausible distance between neighbouring points."""
MAX_PLACE_MM = 100_000.0
MAX_GRID_SIDE, MAX_GRID_CELLS = 16_384, 1 << 24
"""Largest grid for point clouds: what a frame may have, and as many cells as f32 can number."""
MAX_GAP = 64
INLIER_MM = (1e-4, 1e4)
"""Plausible distance from the sheet's plane: between the noise of no camera and the size of any part."""


class OutlierFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Drop points further than `limit_mm` from the median of their `window` x `window` neighbourhood (valid pixels only)."""

    window: int = 5
    limit_mm: float = 2.0


class PlaneRemoval(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fit z = a x + b y + c robustly and subtract it; points within `inlier_mm` of the plane belong to the sheet."""

    inlier_mm: float = 0.5
    iterations: int = 64


class Rasterise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let every point cloud fall into one fixed grid: cells of `pitch_mm` (x, y) with centres from the first to the last of both sides.

    Columns follow x, rows follow y; a cell keeps its greatest height, and at most `max_gap` empty cells between two heights are filled.
    """

    x_mm: tuple[float, float]
    y_mm: tuple[float, float]
    pitch_mm: tuple[float, float]
    max_gap: int = 3

    def __post_init__(self) -> None:
        for what, (first, last) in (("x_mm", self.x_mm), ("y_mm", self.y_mm)):
            _require(-MAX_PLACE_MM <= first < last <= MAX_PLACE_MM, f"rasterise.{what} (first < last)", (first, last))
        _require(all(PITCH_MM[0] <= pitch <= PITCH_MM[1] for pitch in self.pitch_mm), "rasterise.pitch_mm", self.pitch_mm)
        _require(0 <= self.max_gap <= MAX_GAP, "rasterise.max_gap", self.max_gap)
        rows, cols = self.shape
        _require(max(rows, cols) <= MAX_GRID_SIDE and rows * cols <= MAX_GRID_CELLS, "rasterise's number of rows and columns", (rows, cols))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the grid: floor((last - first) / pitch + 0.5) + 1 along each side."""
        sides = ((self.y_mm, self.pitch_mm[1]), (self.x_mm, self.pitch_mm[0]))
        rows, cols = (math.floor((last - first) / pitch + 0.5) + 1 for (first, last), pitch in sides)
        return rows, cols


class MillimetreWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="mm", tag_field="by"):
    """Heights low_mm..high_mm become gray 1..255, clipped. A u8 `heightmap` frame counts as windowed already."""

    low_mm: float
    high_mm: float


class PercentileWindow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="percentile", tag_field="by"):
    """The image's own percentiles of its valid pixels become gray 1 and 255, clipped; also applied to u8 frames."""

    low: float = 2.0
    high: float = 98.0


Window: TypeAlias = MillimetreWindow | PercentileWindow
Resizing: TypeAlias = Literal["letterbox", "fastai-pad", "fastai-squish", "fastai-crop"]
"""`letterbox` keeps no data apart from heights; the others repeat what a fastai Learner's `Resize` did, mixing included."""


class HeightmapSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Frame (a cloud rasterised first) → outliers → plane → window → u8 (0 = no data) → resized to height x width.

    Normalisation ((gray / 255 - mean) / std per channel, 3 equal channels) happens inside the exported network, so what
    is uploaded is `height` x `width` bytes; `mean` and `std` are kept here as the record of what the network contains.
    """

    window: Window
    height: int = 128
    width: int = 352
    resize: Resizing = "letterbox"
    rasterise: Rasterise | None = None
    outliers: OutlierFilter | None = None
    plane: PlaneRemoval | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        _require(8 <= self.height <= MAX_SIDE and 8 <= self.width <= MAX_SIDE, "height and width", (self.height, self.width))
        _require(self.resize in get_args(Resizing), "resize", self.resize)
        _require(all(math.isfinite(m) for m in self.mean), "mean", self.mean)
        _require(all(math.isfinite(s) and s > 0 for s in self.std), "std", self.std)
        match self.window:
            case MillimetreWindow(low_mm=low, high_mm=high):
                _require(math.isfinite(low) and math.isfinite(high) and low < high, "window.low_mm < window.high_mm", (low, high))
            case PercentileWindow(low=low, high=high):
                _require(0.0 <= low < high <= 100.0, "0 <= window.low < window.high <= 100", (low, high))
        if self.outliers is not None:
            _require(self.outliers.window in (3, 5), "outliers.window", self.outliers.window)
            _require(0 < self.outliers.limit_mm < math.inf, "outliers.limit_mm", self.outliers.limit_mm)
        if self.plane is not None:
            _require(INLIER_MM[0] <= self.plane.inlier_mm <= INLIER_MM[1], "plane.inlier_mm", self.plane.inlier_mm)
            _require(1 <= self.plane.iterations <= 1024, "plane.iterations", self.plane.iterations)


def _require(condition: bool, what: str, seen: object) -> None:
    if not condition:
        raise ConfigError(f"heightmap spec: {what} is out of range", seen=seen, remedy="Correct the spec the network is exported with")


def spec_from_json(text: bytes) -> HeightmapSpec:
    """Read a spec from JSON. Raises ConfigError."""
    try:
        return msgspec.json.decode(text, type=HeightmapSpec)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ConfigError("heightmap spec does not fit the schema", seen=exc, remedy="See docs/heightmap.md") from exc


def spec_to_json(spec: HeightmapSpec) -> bytes:
    """The canonical JSON of a spec; `spec_from_json` reads it back equal."""
    return msgspec.json.encode(spec, order="deterministic")
