"""Why a frame gives no heightmap: checks and messages that every way of preparing shares, so that CPU and GPU refuse alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.contract import Reason
from edge.errors import FrameError
from edge.inspector.heightmap.spec import HeightmapSpec

NOTHING_VALID = "the frame holds no valid height"
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
        raise no_contrast(int(counts.sum()))


def no_contrast(valid: int) -> FrameError:
    """FRAME_EMPTY: none of the `valid` pixels differs from the others, or there is none."""
    return empty("the heightmap is constant" if valid else NOTHING_VALID, f"{valid} valid pixels")


def no_heights() -> FrameError:
    """FRAME_EMPTY: there is nothing to take percentiles of."""
    return empty(NOTHING_VALID)


def constant_window(shown: str) -> FrameError:
    """FRAME_EMPTY: both percentiles of the window are what `shown` says."""
    return empty("the frame is constant between the window's percentiles", shown)


def constant_view() -> FrameError:
    """FRAME_EMPTY: there is contrast only outside the part that the network is shown."""
    return empty("the part of the frame that the network sees is constant")


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
