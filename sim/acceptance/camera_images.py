"""What a look at the numbers of exposures tells of a driver: rows left over from the one before, bytes in the other order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TORN_SHARE = 0.1
"""Rows that equal the exposure before in every bit: noise makes that impossible for one that says anything."""
ROUGH = 8.0
"""A scan whose neighbours differ so many times less with its bytes swapped was sent in the other order."""


def torn_rows(before: NDArray[Any], image: NDArray[Any]) -> int:
    """How many rows were left over from the exposure `before`; 0 when they are too few to say so, or when shape or dtype differ."""
    if before.shape != image.shape or before.dtype != image.dtype or image.size == 0:
        return 0
    old, new = (np.ascontiguousarray(each).reshape(len(each), -1) for each in (before, image))
    told = (np.diff(new, axis=1) != 0).mean(axis=1) >= 0.25 if new.shape[1] > 1 else np.zeros(len(new), np.bool_)
    same = told & (old.view(np.uint8) == new.view(np.uint8)).all(axis=1)
    count = int(same.sum())
    return count if count > 1 and count >= TORN_SHARE * told.sum() else 0


def is_swapped(image: NDArray[Any], valid: NDArray[np.bool_]) -> bool:
    """Are the bytes of these integers (rows, columns) in the other order? Told by how rough neighbours are either way."""
    if image.dtype.kind not in "iu" or image.dtype.itemsize == 1:
        return False
    both = valid[:, 1:] & valid[:, :-1]
    rough, other = (np.abs(np.diff(each.astype(np.float64), axis=1))[both] for each in (image, image.byteswap()))
    return bool(rough.size) and float(rough.mean()) > ROUGH * max(float(other.mean()), 1.0)
