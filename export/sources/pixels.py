"""No train/serve difference: the box's heightmaps against the very tensors a fastai Learner gives its network, pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from calib.prepare import prepare_one
from edge.errors import ExportError, FrameError
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec
from export.sources.learner_images import model_inputs
from export.sources.learner_spec import read_transforms, spec_of
from scans.folder import Scale, Scan, read_image

__all__ = ["PixelComparison", "WorstPixel", "require_same_pixels", "spec_of"]

TOLERANCE = 1.0
"""Gray levels."""
ROUNDING = 0.01
"""What f32 arithmetic of normalising and undoing it may add to that."""
MOSTLY = 0.95


class WorstPixel(msgspec.Struct, frozen=True, kw_only=True):
    """Where box and Learner differ most; both in gray levels."""

    file: str
    row: int
    col: int
    edge: int
    learner: float


class PixelComparison(msgspec.Struct, frozen=True, kw_only=True):
    """All pixels of all scans; a pixel's difference is the largest of its channels."""

    images: int
    refused: int
    """Scans that the box would not judge at all, and that were therefore not compared."""
    pixels: int
    max_difference: float
    share_over_one: float
    worst: WorstPixel


def require_same_pixels(learner: Any, scans: Sequence[Scan], spec: HeightmapSpec, scale: Scale) -> PixelComparison:
    """Compare the box's heightmap of every scan with what `learner` gives its network, in gray levels of `spec`'s mean and std.

    The exported network computes (gray / 255 - mean) / std; the Learner's input is turned back by the same rule, so that every
    transform up to the network takes part, its Normalize included. Raises ExportError when a pixel differs by more than one gray level
    or a size differs, and when the box refuses every scan.
    """
    usable, edge = _box_images(scans, spec, scale)
    found = [
        _compare(theirs, ours, scan, spec)
        for scan, ours, theirs in zip(usable, edge, model_inputs(learner, [scan.path for scan in usable]), strict=True)
    ]
    pixels = sum(image.size for image in edge)
    over = sum(count for _, _, count in found)
    at = int(np.argmax([difference for difference, _, _ in found]))
    result = PixelComparison(
        images=len(usable),
        refused=len(scans) - len(usable),
        pixels=pixels,
        max_difference=found[at][0],
        share_over_one=over / pixels,
        worst=found[at][1],
    )
    if over:
        cause = _cause(_grays(next(model_inputs(learner, [usable[at].path])), spec), edge[at])
        raise _difference(result, usable[at], _of_pillow(learner, usable[at]) or cause)
    return result


def _box_images(scans: Sequence[Scan], spec: HeightmapSpec, scale: Scale) -> tuple[list[Scan], list[NDArray[np.uint8]]]:
    preparer, usable, images = Preparer(spec), [], []
    for scan in scans:
        out = np.empty((spec.height, spec.width), np.uint8)
        try:
            prepare_one(preparer, scan, scale, out)
        except FrameError:
            continue
        usable.append(scan)
        images.append(out)
    if not usable:
        raise ExportError(
            "the box would refuse every scan", seen=f"{len(scans)} scans", remedy="Check the heightmap spec against the scans"
        )
    return usable, images


def _compare(theirs: NDArray[np.float32], ours: NDArray[np.uint8], scan: Scan, spec: HeightmapSpec) -> tuple[float, WorstPixel, int]:
    """The largest difference, where it is, and how many pixels differ by more than one gray level."""
    if theirs.shape[1:] != ours.shape:
        raise ExportError(
            f"the Learner makes images of another size of {scan.path}",
            seen=f"{theirs.shape[1]} x {theirs.shape[2]}, the box {ours.shape[0]} x {ours.shape[1]}",
            remedy="Correct height and width of the heightmap spec, or leave the spec out and have it read from the Learner",
        )
    grays = _grays(theirs, spec)
    difference = np.round(np.abs(grays - ours), 3)  # beyond that, it is the f32 of normalising
    difference[~np.isfinite(difference)] = np.inf
    channel, row, col = (int(i) for i in np.unravel_index(int(np.argmax(difference)), difference.shape))
    name = f"{scan.path.parent.name}/{scan.path.name}"
    worst = WorstPixel(file=name, row=row, col=col, edge=int(ours[row, col]), learner=round(float(grays[channel, row, col]), 3) + 0.0)
    return float(difference.max()), worst, int(np.count_nonzero(difference.max(axis=0) > TOLERANCE + ROUNDING))


def _grays(theirs: NDArray[np.float32], spec: HeightmapSpec) -> NDArray[np.float64]:
    """f64 [3, H, W]; a single channel counts for all three, as in the exported network."""
    mean, std = np.array(spec.mean).reshape(3, 1, 1), np.array(spec.std).reshape(3, 1, 1)
    grays: NDArray[np.float64] = (theirs * std + mean) * 255.0
    return grays


def _difference(result: PixelComparison, scan: Scan, cause: str) -> ExportError:
    worst = result.worst
    return ExportError(
        "the box would see other pixels than the Learner was trained on",
        seen=f"{scan.path}, row {worst.row}, column {worst.col}: box {worst.edge}, Learner {worst.learner:g}; "
        f"{100 * result.share_over_one:.3g} % of the pixels of {result.images} images differ by more than {TOLERANCE:g} gray level",
        remedy=f"Likely cause: {cause}. Correct the heightmap spec, or train on what the box sees (`cordon train`)",
    )


def _of_pillow(learner: Any, scan: Scan) -> str:
    if read_transforms(learner).by_pillow and read_image(scan.path).dtype != np.uint8:
        return "PILImage squeezes other than 8-bit images into 8 bits in its own way"
    return ""


def _cause(grays: NDArray[np.float64], ours: NDArray[np.uint8]) -> str:
    """The first simple explanation that holds on nearly all pixels."""
    theirs = np.nan_to_num(grays.mean(axis=0))
    turned = {
        "mirrored left to right": theirs[:, ::-1],
        "mirrored top to bottom": theirs[::-1],
        "turned by half a turn": theirs[::-1, ::-1],
    }
    for how, image in turned.items():
        if _mostly(image, ours):
            return f"the Learner's image is {how}"
    inside = (ours > 1) & (ours < 255)
    if np.ptp(ours[inside]) if inside.any() else 0:
        slope, shift = np.polyfit(ours[inside].astype(float), theirs[inside], 1)
        if _mostly(theirs[inside], slope * ours[inside] + shift):
            return f"the Learner's grays are {slope:.3g} x the box's {shift:+.3g}: another window, normalisation or brightness"
    return "another crop, resize or window"


def _mostly(first: NDArray[np.float64], second: NDArray[Any]) -> bool:
    return float(np.mean(np.abs(first - second) <= TOLERANCE)) > MOSTLY
