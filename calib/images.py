"""Which images calibrate: spread over label, missing data, brightness, height range and tilt, by one repeatable rule.

Rule: images that are equal, or of one label and nearly equal (`calib.features.NEAR`), count once; per label, start with the image
nearest to the label's mean in the features of `calib.features`, each divided by its standard deviation, then always add the image
farthest from all chosen ones. Ties and order go by content hash, so file names and their order do not matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calib.features import drop_near, features, shows_nothing
from calib.prepare import Prepared
from calib.sizes import require_one_size
from edge.errors import DatasetError
from scans.folder import Scan

__all__ = ["CalibrationSet", "candidates", "choose_images", "require_one_size", "spread_out"]

MIN_IMAGES = 16
DEFAULT_IMAGES = 64
MAX_CANDIDATES = 256
"""Scans per label that are read; more are thinned evenly."""
MIN_SPREAD = 1.0
"""Gray levels by which some feature must differ over the set."""


@dataclass(frozen=True, kw_only=True)
class CalibrationSet:
    """The chosen images u8 [N, 1, H, W], where they come from, and the SHA-256 of their contents in order."""

    images: NDArray[np.uint8]
    labels: tuple[str, ...]
    scans: tuple[Scan, ...]
    candidates: int
    duplicates: int
    """Candidates that equal another one, or nearly."""
    hash: str


def candidates(scans: Sequence[Scan], *, limit: int = MAX_CANDIDATES) -> tuple[Scan, ...]:
    """At most `limit` scans of each label, evenly spaced over the given order, so that a large folder need not be read whole."""
    kept: list[Scan] = []
    for label in sorted({scan.label for scan in scans}):
        same = [scan for scan in scans if scan.label == label]
        step = max(1.0, len(same) / limit)
        kept.extend(same[int(i * step)] for i in range(min(limit, len(same))))
    return tuple(kept)


def choose_images(prepared: Prepared, *, count: int = DEFAULT_IMAGES) -> CalibrationSet:
    """Choose up to `count` images by the rule above, in equal parts per label where there are enough.

    Raises DatasetError for fewer than 16 different images, a single label, images that hardly differ, or images most of which show
    nothing: no contrast, or gray levels clipped to the ends of the scale.
    """
    _require(count >= MIN_IMAGES, "too few calibration images are asked for", count, f"Ask for at least {MIN_IMAGES}")
    order = _distinct(prepared)
    _require(len(order) >= MIN_IMAGES, "too few different calibration images", len(order), f"Give at least {MIN_IMAGES}, of both labels")
    labels = sorted({prepared.labels[i] for i in order})
    _require(len(labels) >= 2, "the calibration images are all of one label", labels, "Give good and bad scans")
    described = features(prepared.images[order])
    blank = int(shows_nothing(prepared.images[order], described).sum())
    _require(
        2 * blank <= len(order),
        "most calibration images show nothing: no contrast, or clipped to black or white",
        f"{blank} of {len(order)}",
        "Check the scans and the heightmap spec's window",
    )
    spread = float(np.ptp(described, axis=0).max())
    _require(spread >= MIN_SPREAD, "the calibration images hardly differ", f"{spread:.2f} gray levels", "Give scans of different welds")
    chosen: list[int] = []
    for place, label in enumerate(labels):
        members = np.array([i for i, j in enumerate(order) if prepared.labels[j] == label])
        rest = len(labels) - place
        quota = _quota(labels[place:], [prepared.labels[j] for j in order], count - len(chosen), rest)
        chosen.extend(members[k] for k in spread_out(described[members], quota))
    picked = [order[i] for i in chosen]
    return _set(prepared, picked, duplicates=len(prepared.images) - len(order))


def spread_out(points: NDArray[np.float64], count: int) -> list[int]:
    """Greedy k-centre: the point nearest to the mean, then always the one farthest from all chosen; [n, d] → at most `count` indices."""
    if count <= 0 or not len(points):
        return []
    scaled = (points - points.mean(axis=0)) / np.maximum(points.std(axis=0), 1e-9)
    chosen = [int(np.argmin(np.linalg.norm(scaled, axis=1)))]
    nearest = np.linalg.norm(scaled - scaled[chosen[0]], axis=1)
    nearest[chosen[0]] = -1.0
    while len(chosen) < min(count, len(points)):
        farthest = int(np.argmax(nearest))
        chosen.append(farthest)
        nearest = np.minimum(nearest, np.linalg.norm(scaled - scaled[farthest], axis=1))
        nearest[chosen] = -1.0
    return chosen


def _distinct(prepared: Prepared) -> list[int]:
    """One index per distinct content, ordered by label and content hash."""
    first: dict[str, int] = {}
    keys = [_sha256(image) for image in prepared.images]
    for index in sorted(range(len(keys)), key=lambda i: (prepared.labels[i], keys[i])):
        first.setdefault(keys[index], index)
    kept: list[int] = []
    for label in sorted(set(prepared.labels)):
        same = [index for index in first.values() if prepared.labels[index] == label]
        kept.extend(same[place] for place in drop_near([prepared.images[index] for index in same]))
    return kept


def _quota(labels: list[str], have: list[str], left: int, rest: int) -> int:
    """How many of labels[0]: an equal part, and what the labels after it cannot fill."""
    later = sum(min(have.count(label), left // rest) for label in labels[1:])
    return max(left // rest, left - later)


def _set(prepared: Prepared, picked: list[int], *, duplicates: int) -> CalibrationSet:
    images = np.ascontiguousarray(prepared.images[picked])
    digest = hashlib.sha256("".join(_sha256(image) for image in images).encode()).hexdigest()
    return CalibrationSet(
        images=images,
        labels=tuple(prepared.labels[i] for i in picked),
        scans=tuple(prepared.scans[i] for i in picked),
        candidates=len(prepared.images),
        duplicates=duplicates,
        hash=digest,
    )


def _sha256(image: NDArray[np.uint8]) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def _require(condition: bool, what: str, seen: object, remedy: str) -> None:
    if not condition:
        raise DatasetError(what, seen=seen, remedy=remedy)
