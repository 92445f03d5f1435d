"""Labelled scans as the box will see them: read, prepared by the heightmap spec, stacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError, FrameError
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec
from scans.folder import Scale, Scan, kind_of, read_image


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Network inputs u8 [N, 1, H, W] with their labels; `refused` counts, by label, the scans the box would not judge at all."""

    images: NDArray[np.uint8]
    labels: tuple[str, ...]
    scans: tuple[Scan, ...]
    refused: dict[str, int]


def prepare_scans(scans: Sequence[Scan], spec: HeightmapSpec, scale: Scale, *, label: str | None = None) -> Prepared:
    """Read and prepare every scan; all get `label` when one is given (the router's classes). Raises DatasetError when none is left."""
    preparer = Preparer(spec)
    images = np.empty((len(scans), 1, spec.height, spec.width), np.uint8)
    kept: list[Scan] = []
    refused: dict[str, int] = {}
    for scan in scans:
        try:
            prepare_one(preparer, scan, scale, images[len(kept), 0])
        except FrameError:
            refused[label or scan.label] = refused.get(label or scan.label, 0) + 1
        else:
            kept.append(scan)
    if not kept:
        raise DatasetError("no scan can be prepared", seen=f"{len(scans)} refused", remedy="Check the heightmap spec against the scans")
    labels = tuple(label or scan.label for scan in kept)
    return Prepared(images=images[: len(kept)], labels=labels, scans=tuple(kept), refused=refused)


def prepare_one(preparer: Preparer, scan: Scan, scale: Scale, out: NDArray[np.uint8]) -> None:
    """One scan into `out` u8 (H, W), exactly as the box prepares its frame. Raises FrameError or DatasetError."""
    image = read_image(scan.path)
    preparer.prepare(image, kind=kind_of(image), z_scale_mm=scale.z_scale_mm, z_offset_mm=scale.z_offset_mm, no_data=scale.no_data, out=out)


def join(parts: Sequence[Prepared]) -> Prepared:
    """Several sets of one size as one."""
    refused: dict[str, int] = {}
    for part in parts:
        for label, count in part.refused.items():
            refused[label] = refused.get(label, 0) + count
    return Prepared(
        images=np.concatenate([part.images for part in parts]),
        labels=tuple(label for part in parts for label in part.labels),
        scans=tuple(scan for part in parts for scan in part.scans),
        refused=refused,
    )
