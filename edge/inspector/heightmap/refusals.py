"""Why a frame gives no heightmap: checks and messages that every way of preparing shares, so that CPU and GPU refuse alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.contract import Reason
from edge.errors import FrameError
from edge.inspector.heightmap.spec import HeightmapSpec

DTYPES = {"heightmap": ("uint8",), "range": ("uint16", "float32"), "cloud": ("float32",)}


def check_image(spec: HeightmapSpec, image: NDArray[Any], kind: str) -> None:
    """Refuse what the host can see: kind, dtype and shape. Raises FrameError FRAME_KIND, FRAME_DTYPE or FRAME_SHAPE."""
    dtypes = DTYPES.get(kind)
    if dtypes is None:
        remedy = "Send heightmap, range or cloud"
        raise FrameError(Reason.FRAME_KIND, "no heightmap is made from this kind of frame", seen=kind, remedy=remedy)
    if image.dtype.name not in dtypes:
        raise FrameError(Reason.FRAME_DTYPE, f"a {kind} frame has another dtype", seen=image.dtype, remedy=f"Send {' or '.join(dtypes)}")
    if kind == "cloud":
        _check_cloud(spec, image)
    elif image.ndim != 2 or 0 in image.shape:
        raise FrameError(Reason.FRAME_SHAPE, "a frame is a 2-D image", seen=image.shape, remedy="Send one plane of rows x cols")


def _check_cloud(spec: HeightmapSpec, image: NDArray[Any]) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise FrameError(Reason.FRAME_SHAPE, "a cloud holds x, y, z per point", seen=image.shape, remedy="Send rows x cols x 3 values")
    if image.shape[0] == 1 and spec.rasterise is None:
        raise FrameError(
            Reason.FRAME_KIND,
            "an unorganised cloud needs a grid to fall into",
            seen=f"1 row of {image.shape[1]} points, and a heightmap spec without rasterise",
            remedy="Let the camera send rows x cols points in their order, or train and export with rasterise in the heightmap spec",
        )


def nonfinite(count: int, what: str = "pixels") -> FrameError:
    """FRAME_NONFINITE for `count` pixels (or points) that are neither missing nor finite."""
    return FrameError(
        Reason.FRAME_NONFINITE,
        "the frame holds NaN, infinity or heights beyond f32",
        seen=f"{count} {what}",
        remedy="Mark missing points with the header's no_data value",
    )


def require_contrast(counts: NDArray[np.float32]) -> None:
    """Refuse a histogram (256,) of valid grays (counts[0] = 0) that holds none, or only one gray. Raises FrameError FRAME_EMPTY."""
    if np.count_nonzero(counts) < 2:
        what = "the heightmap is constant" if counts.any() else "the frame holds no valid height"
        raise empty(what, f"{int(counts.sum())} valid pixels")


def empty(what: str, seen: object = None) -> FrameError:
    """FRAME_EMPTY: nothing to judge by."""
    return FrameError(Reason.FRAME_EMPTY, what, seen=seen, remedy="Check lighting, exposure and the window of the heightmap spec")


def no_plane(samples: int) -> FrameError:
    """FRAME_EMPTY: `samples` grid points with data fix no plane."""
    return FrameError(
        Reason.FRAME_EMPTY,
        "too few heights to fit the sheet's plane",
        seen=f"{samples} samples with data",
        remedy="Check exposure and the camera's field of view, or export without plane removal",
    )
