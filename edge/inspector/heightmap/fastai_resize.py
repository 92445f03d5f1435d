"""fastai's `Resize` as on its validation set: centre crop or zeros around, then Pillow's antialiased bilinear filter to the last bit."""

from __future__ import annotations

from typing import Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.contract import Reason
from edge.errors import FrameError

Method: TypeAlias = Literal["fastai-pad", "fastai-squish", "fastai-crop"]
BITS = 22
"""Pillow resamples 8-bit images in fixed point: a weight is a whole number of 2^-22, which leaves 31 bits for a weighted sum."""
HALF = 1 << (BITS - 1)


class FastaiResize:
    """Resizes gray images of one shape to another; holds the weights of both directions and every buffer.

    No data is gray 0 like any other gray here, so heights and no data mix wherever they meet, and no pixel is told apart afterwards:
    that is what such a Learner was trained on.
    """

    def __init__(self, shape: tuple[int, int], height: int, width: int, method: Method) -> None:
        """Raises FrameError FRAME_SHAPE for an image so narrow that the part to be resized has no pixel (Pillow refuses it too)."""
        part, corner = visible_part(shape, height, width, method)
        self.identity = part == (height, width) == shape
        """Pixels are copied as they are."""
        self.fills = True
        self._columns = _Axis(shape[1], part[1], corner[1], width)
        self._rows = _Axis(shape[0], part[0], corner[0], height)
        self._upright, self._sideways = np.empty(shape[::-1], np.uint8), np.empty((width, shape[0]), np.uint8)
        self._narrow = np.empty((shape[0], width), np.uint8)
        self._across, self._down = _Sum((width, shape[0])), _Sum((height, width))

    def place(self, gray: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Write `gray` u8 (rows, cols) into `out` u8 (height, width): along the rows, rounded to u8, then along the columns."""
        if self.identity:
            np.copyto(out, gray)
            return
        # Whole rows are gathered fastest, so the pass along the rows runs on the transposed image.
        cv2.transpose(gray, self._upright)
        self._across.of(self._upright, self._columns, self._sideways)
        cv2.transpose(self._sideways, self._narrow)
        self._down.of(self._narrow, self._rows, out)


def visible_part(shape: tuple[int, int], height: int, width: int, method: Method) -> tuple[tuple[int, int], tuple[int, int]]:
    """(rows, cols) of the part of the image that is resized and (row, col) of its upper left pixel, negative where zeros are put around.

    As fastai's `Resize.encodes` computes them with the validation set's centre (0.5, 0.5), truncations included. Raises FrameError.
    """
    if method == "fastai-squish":
        return shape, (0, 0)
    ratios = shape[1] / width, shape[0] / height
    scale = max(ratios) if method == "fastai-pad" else min(ratios)
    part = int(scale * height), int(scale * width)
    if 0 in part:
        raise FrameError(
            Reason.FRAME_SHAPE, f"the frame is too narrow for {method} to {height} x {width}", seen=shape, remedy="Send the whole scan"
        )
    return part, (int(0.5 * (shape[0] - part[0])), int(0.5 * (shape[1] - part[1])))


class _Axis:
    """One direction: for each tap, which source line and with what weight every output line takes; zeros outside are left out."""

    def __init__(self, size: int, part: int, corner: int, out: int) -> None:
        first, weights = bilinear_weights(part, out)
        lines = first[:, None] + np.arange(weights.shape[1]) + corner
        weights[(lines < 0) | (lines >= size)] = 0
        lines = np.clip(lines, 0, size - 1)
        self.taps = tuple(
            (np.ascontiguousarray(lines[:, k], np.intp), np.ascontiguousarray(weights[:, k, None]))
            for k in range(weights.shape[1])
            if weights[:, k].any()
        )


def bilinear_weights(size: int, out: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Pillow's bilinear (triangle) filter from `size` lines to `out`: first source line i64 (out,) and weights i32 (out, taps) x 2^22.

    With s = size / out, the triangle has half-width max(1, s), is centred on (i + 0.5) s and sampled at pixel centres; weights
    are divided by their sum and rounded (Pillow's `precompute_coeffs` and `normalize_coeffs_8bpc`).
    """
    scale = size / out
    reach = max(scale, 1.0)
    centre = (np.arange(out) + 0.5) * scale
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + reach + 0.5).astype(np.int64), size)
    lines = first[:, None] + np.arange(int((last - first).max()))
    weights = np.maximum(1.0 - np.abs((lines - centre[:, None] + 0.5) * (1.0 / reach)), 0.0)
    weights[lines >= last[:, None]] = 0.0
    weights /= np.cumsum(weights, axis=1)[:, -1:]  # added one after the other, as Pillow does
    return first, (weights * (1 << BITS) + 0.5).astype(np.int32)


class _Sum:
    """Weighted sums of gathered lines, for one shape of result."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._gathered = np.empty(shape, np.uint8)
        self._product, self._total = np.empty(shape, np.int32), np.empty(shape, np.int32)

    def of(self, lines: NDArray[np.uint8], axis: _Axis, out: NDArray[np.uint8]) -> None:
        """Write round(sum of weight x line) into `out`; no weight is negative and they add up to 1, so nothing needs clipping."""
        self._total.fill(HALF)
        for index, weight in axis.taps:
            np.take(lines, index, axis=0, out=self._gathered, mode="clip")  # "clip" is the mode that writes straight into `out`
            np.multiply(self._gathered, weight, out=self._product)
            np.add(self._total, self._product, out=self._total)
        np.right_shift(self._total, BITS, out=self._total)
        np.copyto(out, self._total, casting="unsafe")
