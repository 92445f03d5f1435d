"""From a camera's values to heights in millimetres, with the missing ones told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scaler:
    """What one value of a frame means: z = value x `scale` + `offset`, and which value says that a point is missing."""

    scale: np.float32
    offset: np.float32
    no_data: float

    def scale_heights(self, values: NDArray[Any], z: NDArray[np.float32], missing: NDArray[np.bool_]) -> None:
        """Write the heights of `values` (u16 or f32) into `z` and the missing ones into `missing`, all of one shape; f32 throughout."""
        with np.errstate(over="ignore", invalid="ignore"):
            if math.isnan(self.no_data):
                np.not_equal(values, values, out=missing)
            else:
                np.equal(values, self.no_data, out=missing)
            np.multiply(values, self.scale, out=z, casting="same_kind")
            np.add(z, self.offset, out=z)
