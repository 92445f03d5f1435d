"""A frame's payload as 16-bit pixels for the archive: exact where the camera sends integers, 65,535 steps of height elsewhere."""

from __future__ import annotations

import io
import math
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.inspector.frame import FrameHeader, payload_image

STEPS = 65_535
MAX_SIDE = 4096
"""Largest side of the grid into which a cloud in no order is put; a larger extent gets coarser cells."""


class Pixels(msgspec.Struct, frozen=True, kw_only=True):
    """What the pixels mean: height in mm = value x `scale_mm` + `offset_mm`; `no_data` marks missing points (None: there are none).

    `per_gray` is 257 for heightmaps, whose gray level (0 to 255, no unit) is value / 257 exactly; there the millimetres are not known.
    """

    scale_mm: float
    offset_mm: float
    no_data: int | None
    per_gray: int | None = None


class Payload(msgspec.Struct, frozen=True, kw_only=True):
    """The frame's own numbers lie beside the image as `.npy`, equal to the payload; z = value x `z_scale_mm` + `z_offset_mm` in mm."""

    z_scale_mm: float
    z_offset_mm: float
    no_data: float | Literal["nan"]


def payload_of(header: FrameHeader, payload: memoryview | bytes) -> tuple[Payload, bytes] | None:
    """What the numbers mean, and the `.npy`; None for integers, which `to_pixels` keeps exactly."""
    if header.dtype != "f4":
        return None
    stored = io.BytesIO()
    np.save(stored, payload_image(header, payload), allow_pickle=False)
    return Payload(z_scale_mm=header.z_scale_mm, z_offset_mm=header.z_offset_mm, no_data=header.no_data), stored.getvalue()


def to_pixels(header: FrameHeader, payload: memoryview | bytes) -> tuple[NDArray[np.uint16], Pixels]:
    """The image u16 (rows, cols) of a checked frame, and what its values mean. Raises ValueError when a cloud has no finite point."""
    image = payload_image(header, payload)
    if header.kind == "heightmap":
        return image.astype(np.uint16) * np.uint16(257), Pixels(scale_mm=0.0, offset_mm=0.0, no_data=0, per_gray=257)
    if header.kind == "range" and image.dtype == np.uint16:
        value = header.no_data_value
        missing = int(value) if math.isfinite(value) and 0 <= value <= STEPS and value == int(value) else None
        return np.ascontiguousarray(image), Pixels(scale_mm=header.z_scale_mm, offset_mm=header.z_offset_mm, no_data=missing)
    return _quantised(_heights(header, image))


def _heights(header: FrameHeader, image: NDArray[Any]) -> NDArray[np.float64]:
    """Heights in mm (rows, cols), NaN for missing points."""
    raw = image[..., 2] if header.kind == "cloud" else image
    z = raw.astype(np.float64)
    z[raw == header.no_data_value] = np.nan
    z = z * header.z_scale_mm + header.z_offset_mm
    z[~np.isfinite(z)] = np.nan
    return _gridded(header, image, z) if header.kind == "cloud" and header.shape[0] == 1 else z


def _gridded(header: FrameHeader, image: NDArray[Any], z: NDArray[np.float64]) -> NDArray[np.float64]:
    """A cloud in no order, seen from above: the greatest height in each cell of the frame's pitch."""
    points = image.reshape(-1, 3)[:, :2].astype(np.float64)
    heights = z.reshape(-1)
    whole = np.isfinite(points).all(axis=1) & np.isfinite(heights)
    if not whole.any():
        raise ValueError("a cloud without a finite point cannot be drawn")
    points, heights = points[whole], heights[whole]
    first = points.min(axis=0)
    extent = points.max(axis=0) - first
    pitch = np.maximum(np.asarray(header.pitch_mm), extent / (MAX_SIDE - 1))
    cells = np.floor((points - first) / pitch).astype(np.int64)
    cols, rows = (int(side) + 1 for side in cells.max(axis=0))
    grid = np.full((rows, cols), -np.inf)
    np.maximum.at(grid, (cells[:, 1], cells[:, 0]), heights)
    grid[np.isneginf(grid)] = np.nan
    return grid


def _quantised(z: NDArray[np.float64]) -> tuple[NDArray[np.uint16], Pixels]:
    known = np.isfinite(z)
    low, high = (float(z[known].min()), float(z[known].max())) if known.any() else (0.0, 0.0)
    scale = (high - low) / (STEPS - 1) or 1.0
    values = np.zeros(z.shape, np.uint16)
    values[known] = np.rint((z[known] - low) / scale + 1).astype(np.uint16)
    return values, Pixels(scale_mm=scale, offset_mm=low - scale, no_data=0)
