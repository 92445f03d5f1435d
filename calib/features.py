"""What distinguishes one heightmap from another, in a few figures, and which heightmaps are as good as equal."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

NEAR = 1.0
"""Mean difference in gray levels, over the pixels where either image has data, below which two images count as one."""
MIN_CONTRAST = 4.0
"""Gray levels (5th to 95th percentile of the pixels with data) below which an image shows nothing."""
MAX_CLIPPED = 0.5
"""Part of the pixels with data that may lie at the lowest or highest gray, 1 or 255."""
_GRID = 8
NAMES = ("missing", "mean", "deviation", "range", "tilt along rows", "tilt along columns")


def features(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """[N, 6] of u8 [N, 1, H, W], in gray levels, in the order of NAMES.

    Missing is the part of pixels without data x 255; mean, standard deviation and 5-95 % range are those of the pixels with data;
    tilts are the slopes of their least-squares plane, over the whole height and width, and at most 255: what lies in a narrow strip
    may rise faster than an image can show.
    """
    found = np.zeros((len(images), len(NAMES)))
    for row, (image,) in zip(found, images, strict=True):
        valid = image[image > 0]
        row[0] = 255.0 * (1.0 - valid.size / image.size)
        if valid.size:
            low, high = np.percentile(valid, (5, 95))
            row[1:4] = valid.mean(), valid.std(), high - low
            row[4:] = np.clip(_tilt(image), -255.0, 255.0)
    return found


def shows_nothing(images: NDArray[np.uint8], described: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[N]: whether an image has nearly no contrast, or is clipped to the ends of the gray scale; `described` are its features."""
    clipped = np.array([((image == 1) | (image == 255)).sum() > MAX_CLIPPED * (image > 0).sum() for image in images])
    blank: NDArray[np.bool_] = clipped | (described[:, NAMES.index("range")] < MIN_CONTRAST)
    return blank


def drop_near(images: Sequence[NDArray[np.uint8]]) -> list[int]:
    """Indices of the images that differ from every kept one before them by NEAR or more."""
    if not images:
        return []
    kept = [0]
    sums = np.array([_block_sums(image[0]).ravel() for image in images])
    counts = np.array([np.count_nonzero(image) for image in images])
    for index in range(1, len(images)):
        # Sums over blocks differ by no more than the pixels do, and there are no more pixels with data than both counts.
        close = np.abs(sums[kept] - sums[index]).sum(axis=1) < NEAR * (counts[kept] + counts[index])
        if not any(_near(images[index][0], images[kept[place]][0]) for place in np.flatnonzero(close)):
            kept.append(index)
    return kept


def _near(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return bool(cv2.norm(one, other, cv2.NORM_L1) < NEAR * cv2.countNonZero(cv2.bitwise_or(one, other)))


def _block_sums(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    rows, columns = (np.unique(np.arange(_GRID) * side // _GRID) for side in image.shape)
    return np.add.reduceat(np.add.reduceat(image, rows, axis=0, dtype=np.int64), columns, axis=1)


def _tilt(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Slopes along rows (downwards) and columns (to the right); 0 where the pixels with data do not span a plane."""
    rows, columns = np.nonzero(image)
    heights = image[rows, columns].astype(np.float64)
    places = np.stack([rows / max(image.shape[0] - 1, 1), columns / max(image.shape[1] - 1, 1)])
    places -= places.mean(axis=1, keepdims=True)
    slopes: NDArray[np.float64] = np.linalg.pinv(places @ places.T, rcond=1e-9) @ (places @ (heights - heights.mean()))
    return slopes
