"""The reference implementation of a heightmap spec: what training, export and the box all run, exactly defined in docs/heightmap.md."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.inspector.heightmap.fastai_resize import FastaiResize
from edge.inspector.heightmap.heights import Scaler
from edge.inspector.heightmap.letterbox import Letterbox
from edge.inspector.heightmap.outliers import OutlierFinder
from edge.inspector.heightmap.plane import PlaneRemover
from edge.inspector.heightmap.rasterise import CloudReader
from edge.inspector.heightmap.refusals import check_image, constant_view, constant_window, no_heights, nonfinite, require_contrast
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow

Image = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.float32]
GRAYS = 254
"""Steps between the lowest gray 1 and the highest 255."""


class Preparer:
    """Turns frames into network inputs by one spec; buffers are made for a frame's shape once and reused while it stays."""

    def __init__(self, spec: HeightmapSpec) -> None:
        self.spec = spec
        self._work: _Workspace | None = None

    def prepare(
        self,
        image: Image,
        *,
        kind: str,
        z_scale_mm: float = 1.0,
        z_offset_mm: float = 0.0,
        no_data: float = 0.0,
        out: NDArray[np.uint8],
    ) -> None:
        """Write the heightmap of `image` (rows, cols) into `out`, u8 (spec.height, spec.width), 0 = no data.

        `kind` is "heightmap" (u8, 0 = no data), "range" (u16 or f32, z = value * z_scale_mm + z_offset_mm) or "cloud" (f32
        (rows, cols, 3): x, y in mm and a value as in a range image). `no_data` may be NaN for f32. `image` is not changed.
        Raises FrameError: FRAME_KIND, FRAME_DTYPE, FRAME_SHAPE, FRAME_NONFINITE, FRAME_EMPTY.
        """
        check_image(self.spec, image, kind)
        if self._work is None or self._work.takes != image.shape:
            self._work = _Workspace(self.spec, image.shape)
        if kind == "heightmap":
            self._work.from_gray(image, out)
        else:
            self._work.from_heights(image, Scaler(np.float32(z_scale_mm), np.float32(z_offset_mm), no_data), out)


class _Workspace:
    """The buffers and steps for one shape of frame."""

    def __init__(self, spec: HeightmapSpec, takes: tuple[int, ...]) -> None:
        self.takes = takes
        """Shape of the frame: (rows, cols), or (rows, cols, 3) of a cloud."""
        shape = takes[0], takes[1]
        self._cloud = CloudReader(spec.rasterise, shape) if len(takes) == 3 else None
        if self._cloud is not None:
            shape = self._cloud.shape
        self._window = spec.window
        self._resizer = _resizer(spec, shape)
        self._outliers = None if spec.outliers is None else OutlierFinder(spec.outliers, shape)
        self._plane = None if spec.plane is None else PlaneRemover(spec.plane, shape)
        self._z, self._gray = np.empty(shape, np.float32), np.empty(shape, np.uint8)
        self._missing = np.empty(shape, np.bool_)

    def from_gray(self, image: Image, out: NDArray[np.uint8]) -> None:
        counts = cv2.calcHist([image], [0], None, [256], [0, 256]).reshape(-1)
        counts[0] = 0
        require_contrast(counts)
        if isinstance(self._window, MillimetreWindow):
            self._resize(image, out)  # type: ignore[arg-type]
            return
        table = gray_table(counts, self._window.low, self._window.high)
        if self._resizer.fills and self._resizer.identity:
            cv2.LUT(image, table, dst=out)
        else:
            self._resize(cv2.LUT(image, table, dst=self._gray), out)

    def from_heights(self, image: Image, scaler: Scaler, out: NDArray[np.uint8]) -> None:
        z, missing = self._z, self._missing
        if self._cloud is not None:
            self._cloud.read(image, scaler, z)  # type: ignore[arg-type]
        else:
            scaler.scale_heights(image, z, missing)
            _require_finite(z, missing)
            np.copyto(z, np.float32(np.nan), where=missing)
        if self._outliers is not None:
            np.copyto(z, np.float32(np.nan), where=self._outliers.find(z))
        if self._plane is not None:
            self._plane.remove(z)
        self._to_gray(z)
        counts = cv2.calcHist([self._gray], [0], None, [256], [0, 256]).reshape(-1)
        counts[0] = 0
        require_contrast(counts)
        self._resize(self._gray, out)

    def _resize(self, gray: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        self._resizer.place(gray, out)
        if isinstance(self._resizer, FastaiResize) and out.min() == out.max():
            raise constant_view()

    def _to_gray(self, z: NDArray[np.float32]) -> None:
        missing = np.isnan(z, out=self._missing)
        if isinstance(self._window, MillimetreWindow):
            low, high = self._window.low_mm, self._window.high_mm
        else:
            low, high = percentiles(z[~missing], self._window.low, self._window.high)
        np.subtract(z, np.float32(low), out=z)
        np.multiply(z, np.float32(GRAYS / (high - low)), out=z)
        np.clip(np.rint(z, out=z), 0, GRAYS, out=z)
        np.add(z, np.float32(1), out=z)
        np.copyto(z, np.float32(0), where=missing)
        np.copyto(self._gray, z, casting="unsafe")


def _resizer(spec: HeightmapSpec, shape: tuple[int, int]) -> Letterbox | FastaiResize:
    if spec.resize == "letterbox":
        return Letterbox(shape, spec.height, spec.width)
    return FastaiResize(shape, spec.height, spec.width, spec.resize)


def percentiles(values: NDArray[np.float32], low: float, high: float) -> tuple[float, float]:
    """Two percentiles of f32 (n,), linear between order statistics. Raises FrameError FRAME_EMPTY when they coincide."""
    if not len(values):
        raise no_heights()
    places = [_place(len(values), percent) for percent in (low, high)]
    ordered = np.partition(values, sorted({k for first, second, _ in places for k in (first, second)}))
    lowest, highest = (_between(float(ordered[first]), float(ordered[second]), part) for first, second, part in places)
    if not highest > lowest:
        raise constant_window(f"{lowest:g} mm")
    return lowest, highest


def gray_table(counts: NDArray[np.float32], low: float, high: float) -> NDArray[np.uint8]:
    """The 256-entry table of a percentile window from the histogram f32 (256,) of valid grays (counts[0] = 0)."""
    until = np.cumsum(counts, dtype=np.float64)
    places = [_place(int(until[-1]), percent) for percent in (low, high)]
    wanted = [k for first, second, _ in places for k in (first, second)]
    a, b, c, d = np.searchsorted(until, wanted, side="right").tolist()
    lowest, highest = _between(a, b, places[0][2]), _between(c, d, places[1][2])
    if not highest > lowest:
        raise constant_window(f"gray {lowest:g}")
    table = (_RAMP - np.float32(lowest)) * np.float32(GRAYS / (highest - lowest))
    np.clip(np.rint(table, out=table), 0, GRAYS, out=table)
    gray: NDArray[np.uint8] = (table + np.float32(1)).astype(np.uint8)
    gray[0] = 0
    return gray


_RAMP = np.arange(256, dtype=np.float32)


def _place(count: int, percent: float) -> tuple[int, int, float]:
    position = percent / 100.0 * (count - 1)
    first = int(position)
    return first, min(first + 1, count - 1), position - first


def _between(first: float, second: float, part: float) -> float:
    return first + (second - first) * part


def _require_finite(z: NDArray[np.float32], missing: NDArray[np.bool_]) -> None:
    good = np.isfinite(z)
    np.logical_or(good, missing, out=good)
    if not good.all():
        raise nonfinite(good.size - int(np.count_nonzero(good)))
