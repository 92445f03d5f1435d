"""One scan kept in a file, as the image or cloud that a camera would have sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError, CordonError

Kind: TypeAlias = Literal["heightmap", "range", "cloud"]


def read_scan(path: Path, *, refusal: type[CordonError] = ConfigError) -> NDArray[Any]:
    """A PNG, TIFF or NPY scan: (rows, cols) of u8 (heightmap), u16 or f32 (range); or, NPY only, f32 (rows, cols, 3) of x, y, z (cloud).

    Raises `refusal` for a file that cannot be read or holds something else.
    """
    stored = path.suffix.lower() == ".npy"
    try:
        image: Any = np.load(path, allow_pickle=False) if stored else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except (OSError, ValueError, EOFError) as exc:
        raise refusal(f"cannot read the scan {path}", seen=exc, remedy="Check the path, or remove the file or write it again") from exc
    if image is None:
        raise refusal(
            f"cannot read the scan: {path} is not an image",
            remedy="Check the path, or remove the file or write it again as PNG, TIFF or NPY",
        )
    if stored and image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.float32:
        return np.ascontiguousarray(image)
    if image.ndim == 3 and image.shape[2] and (image == image[..., :1]).all():
        image = image[..., 0]  # gray saved as colour: equal channels
    if image.ndim != 2 or image.dtype not in (np.uint8, np.uint16, np.float32):
        raise refusal(
            f"{path} is not a height image",
            seen=f"{image.dtype} {image.shape}",
            remedy="Save one channel as uint8, uint16 or float32, or a cloud as NPY of float32 rows x cols x 3",
        )
    return np.ascontiguousarray(image)


def kind_of(image: NDArray[Any]) -> Kind:
    """`cloud` for x, y, z of points, `heightmap` for 8-bit images (made elsewhere), `range` for 16-bit and float ones."""
    if image.ndim == 3:
        return "cloud"
    return "heightmap" if image.dtype == np.uint8 else "range"
