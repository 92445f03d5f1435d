"""Scaling into the network's height x width with the aspect kept, centred, zeros around, and no-data never mixed into heights."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LEAST_COVERED = np.float32(0.499)
"""Coverage below which an output pixel is no data. Not 0.5: exactly half is common, and two ways of summing fall on either side of it."""


class Letterbox:
    """Places gray images of one shape into another; holds the buffers for both.

    One factor s = min(H / rows, W / cols) for both directions; the scaled size is floor(size x s + 0.5), at least 1. Shrinking
    averages each output pixel's area (cv2 INTER_AREA), enlarging interpolates linearly between pixel centres (cv2
    INTER_LINEAR), both in f32 over valid pixels only; an output pixel covered by valid ones to less than 0.499 is no data.
    """

    def __init__(self, shape: tuple[int, int], height: int, width: int) -> None:
        size, (top, left), shrinks = placement(shape, height, width)
        self.inside = (slice(top, top + size[0]), slice(left, left + size[1]))
        self.identity = size == shape
        """Pixels are copied as they are, at most with zeros around them."""
        self.fills = size == (height, width)
        self._size = (size[1], size[0])
        self._how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        self._gray, self._mask = np.empty(shape, np.float32), np.empty(shape, np.float32)

    def place(self, gray: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Write `gray` u8 (rows, cols), 0 = no data, into `out` u8 (height, width)."""
        if not self.fills:
            out.fill(0)
        if self.identity:
            np.copyto(out[self.inside], gray)
            return
        np.copyto(self._gray, gray)
        np.minimum(self._gray, 1.0, out=self._mask)
        weight = cv2.resize(self._mask, self._size, interpolation=self._how)
        total = cv2.resize(self._gray, self._size, interpolation=self._how)
        np.divide(total, np.maximum(weight, LEAST_COVERED), out=total)
        np.clip(np.rint(total, out=total), 1, 255, out=total)
        total[weight < LEAST_COVERED] = 0
        np.copyto(out[self.inside], total, casting="unsafe")


def placement(shape: tuple[int, int], height: int, width: int) -> tuple[tuple[int, int], tuple[int, int], bool]:
    """(rows, cols) of the scaled image, (top, left) where it is placed, and whether it was shrunk."""
    rows, cols = shape
    scale = min(height / rows, width / cols)
    size = min(height, max(1, int(rows * scale + 0.5))), min(width, max(1, int(cols * scale + 0.5)))
    return size, ((height - size[0]) // 2, (width - size[1]) // 2), scale < 1
