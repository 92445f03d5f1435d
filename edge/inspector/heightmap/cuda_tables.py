"""How each output line of a resize is made of source lines, as tables that the kernels read: letterbox as OpenCV does it, and fastai's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.inspector.heightmap.cuda_layout import LINE
from edge.inspector.heightmap.fastai_resize import bilinear_weights, visible_part
from edge.inspector.heightmap.letterbox import placement
from edge.inspector.heightmap.spec import HeightmapSpec

_DROPPED = 1e-3
"""OpenCV leaves out a pixel that an output pixel covers by less."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Axis:
    """One direction of a resize."""

    lines: NDArray[np.void]
    """LINE (out,)."""
    weights: NDArray[Any]
    """f32 (letterbox) or i32 x 2^-22 (fastai), (taps, out)."""
    ratio: float
    """Source lines per output line."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Resize:
    """Where the resized image lies in the network's input, and how it is made."""

    rows: Axis
    cols: Axis
    corner: tuple[int, int]
    """(top, left)."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, cols) of the resized image."""
        return len(self.rows.lines), len(self.cols.lines)


def resize_tables(spec: HeightmapSpec, shape: tuple[int, int]) -> Resize:
    """The tables from images of `shape` (rows, cols) to the spec's height x width. Raises FrameError FRAME_SHAPE as `FastaiResize`."""
    if spec.resize == "letterbox":
        size, corner, shrinks = placement(shape, spec.height, spec.width)
        rows, cols = ((area_axis if shrinks else linear_axis)(*sides) for sides in zip(shape, size, strict=True))
        return Resize(rows=rows, cols=cols, corner=corner)
    part, start = visible_part(shape, spec.height, spec.width, spec.resize)
    sides = zip(shape, part, start, (spec.height, spec.width), strict=True)
    rows, cols = (_fastai_axis(*side) for side in sides)
    return Resize(rows=rows, cols=cols, corner=(0, 0))


def area_axis(size: int, out: int) -> Axis:
    """OpenCV's INTER_AREA from `size` lines to fewer: each output line is the mean over the interval that it covers."""
    scale = size / out
    begin = np.arange(out) * scale
    end, cell = begin + scale, np.minimum(scale, size - begin)
    last = np.minimum(np.floor(end).astype(np.int64), size - 1)
    first = np.minimum(np.ceil(begin).astype(np.int64), last)
    head, tail = first - begin, np.minimum(np.minimum(end - last, 1.0), cell)
    lines = first[:, None] - 1 + np.arange(int((last - first).max()) + 2)
    covered = np.where((lines >= first[:, None]) & (lines < last[:, None]), 1.0, 0.0)
    covered += np.where((lines == first[:, None] - 1) & (head > _DROPPED)[:, None], head[:, None], 0.0)
    covered += np.where((lines == last[:, None]) & (end - last > _DROPPED)[:, None], tail[:, None], 0.0)
    return _axis(size, lines, (covered / cell[:, None]).astype(np.float32), scale)


def linear_axis(size: int, out: int) -> Axis:
    """OpenCV's INTER_LINEAR from `size` lines to more: between the two nearest line centres, edges repeated."""
    scale = size / out
    place = np.clip(((np.arange(out) + 0.5) * scale - 0.5).astype(np.float32), 0, size - 1)
    first = np.floor(place).astype(np.int64)
    part = place - first.astype(np.float32)
    lines = first[:, None] + np.arange(2)
    return _axis(size, lines, np.stack([np.float32(1) - part, part], axis=1), scale)


def _fastai_axis(size: int, part: int, start: int, out: int) -> Axis:
    first, weights = bilinear_weights(part, out)
    lines = first[:, None] + start + np.arange(weights.shape[1])
    return _axis(size, lines, weights, part / out)


def _axis(size: int, lines: NDArray[np.int64], weights: NDArray[Any], ratio: float) -> Axis:
    """Leave out taps outside the image and taps of no weight, and share the source lines out among the output lines."""
    out, taps = weights.shape
    used = (weights != 0) & (lines >= 0) & (lines < size)
    skipped = np.where(used.any(axis=1), used.argmax(axis=1), 0)
    table = np.zeros(out, LINE)
    table["count"] = np.where(used.any(axis=1), taps - used[:, ::-1].argmax(axis=1) - skipped, 0)
    table["first"] = np.clip(lines[np.arange(out), skipped], 0, size)
    table["until"] = np.maximum.accumulate(np.where(table["count"] > 0, table["first"] + table["count"], 0))
    table["until"][-1] = size
    table["own"][1:] = table["until"][:-1]
    place = np.minimum(np.arange(taps) + skipped[:, None], taps - 1)
    kept = np.where(np.arange(taps) < table["count"][:, None], np.take_along_axis(weights, place, axis=1), 0)
    return Axis(lines=table, weights=np.ascontiguousarray(kept.T.astype(weights.dtype)), ratio=ratio)
