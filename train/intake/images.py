"""The box's image archive: finding its images, and turning a 16-bit PNG back into what the camera sent."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError
from edge.inspector.archive import MAP_SUFFIX, Entry
from train.intake.progress import shown

PER_GRAY = 257
REMEDY = "Copy the archive's folder again, each PNG with the .json beside it"


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchivedImage:
    """One image of the archive, not opened yet, and what stands beside it."""

    path: Path
    entry: Entry


@dataclass(frozen=True, kw_only=True)
class Archive:
    """All images of a folder; `unusable` names those without a readable entry, and why."""

    folder: Path
    images: tuple[ArchivedImage, ...]
    unusable: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A camera's frame again: u8, u16 or f32 (rows, cols), or f32 (rows, cols, 3).

    `exact`: the very bytes the box judged, proved by their hash; otherwise (floats from 16-bit steps) height in mm = value x
    `z_scale_mm` + `z_offset_mm`, within half a step, NaN for missing points.
    """

    image: NDArray[Any]
    kind: str
    pitch_mm: tuple[float, float]
    exact: bool
    z_scale_mm: float = field(default=1.0)
    z_offset_mm: float = field(default=0.0)
    no_data: float = field(default=math.nan)


def find_archive(folder: Path) -> Archive:
    """Every image below `folder` with its entry. Raises DatasetError when there is no image at all."""
    found = sorted(folder.rglob("*.png")) if folder.is_dir() else []
    paths = [path for path in found if not path.name.endswith(MAP_SUFFIX)]
    if not paths:
        remedy = "Give a copy of the folder that [inspector.archive] names on the box, or of some of its days"
        raise DatasetError(f"{folder} holds no images of the archive", remedy=remedy)
    images, unusable = [], []
    for path in shown(paths, "reading the archive"):
        try:
            images.append(ArchivedImage(path=path, entry=msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Entry)))
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
            unusable.append(f"{path.name}: its .json cannot be read ({exc})")
    return Archive(folder=folder, images=tuple(images), unusable=tuple(unusable))


def content_hash(image: NDArray[Any]) -> str:
    """BLAKE2b-128 of the pixels as a camera sends them (little-endian, row by row): the record's `payload_hash`."""
    little = np.ascontiguousarray(image.astype(image.dtype.newbyteorder("<"), copy=False))
    return hashlib.blake2b(little.data, digest_size=16).hexdigest()


def read_frame(archived: ArchivedImage) -> Frame:
    """The frame the camera sent. Raises DatasetError: no 16-bit PNG, not what the box judged, or a cloud kept as a picture only."""
    entry = archived.entry
    if entry.payload is not None:
        return _stored(archived)
    pixels = cv2.imread(str(archived.path), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 2:
        seen = "nothing" if pixels is None else f"{pixels.dtype} {pixels.shape}"
        raise DatasetError(f"{archived.path.name} is not an image of the archive, one channel of 16 bit", seen=seen, remedy=REMEDY)
    if entry.kind == "cloud":
        remedy = "Set payloads = true in [inspector.archive], so that the box keeps the points themselves"
        raise DatasetError(f"{archived.path.name} is a cloud of which only a picture was kept", remedy=remedy)
    if entry.kind == "range" and entry.dtype == "f4":
        return _from_steps(entry, pixels)
    image = _grays(archived, pixels) if entry.kind == "heightmap" else pixels
    _require_same(archived, image)
    no_data = 0.0 if entry.kind == "heightmap" else math.nan if entry.pixels.no_data is None else float(entry.pixels.no_data)
    scale, offset = entry.pixels.scale_mm, entry.pixels.offset_mm
    return Frame(image=image, kind=entry.kind, pitch_mm=entry.pitch_mm, exact=True, z_scale_mm=scale, z_offset_mm=offset, no_data=no_data)


def _grays(archived: ArchivedImage, pixels: NDArray[np.uint16]) -> NDArray[np.uint8]:
    grays, rest = np.divmod(pixels, np.uint16(PER_GRAY))
    if rest.any():
        raise DatasetError(f"{archived.path.name} was altered", seen=f"values that are no gray x {PER_GRAY}", remedy=REMEDY)
    return grays.astype(np.uint8)


def _require_same(archived: ArchivedImage, image: NDArray[Any]) -> None:
    found = content_hash(image)
    if found != archived.entry.payload_hash:
        seen = f"hash {found[:16]}, the box judged {archived.entry.payload_hash[:16]}"
        raise DatasetError(f"{archived.path.name} is not the image that was judged", seen=seen, remedy=REMEDY)


def _from_steps(entry: Entry, pixels: NDArray[np.uint16]) -> Frame:
    heights = pixels.astype(np.float64) * entry.pixels.scale_mm + entry.pixels.offset_mm
    heights[pixels == entry.pixels.no_data] = np.nan
    return Frame(image=heights.astype(np.float32), kind=entry.kind, pitch_mm=entry.pitch_mm, exact=False)


def _stored(archived: ArchivedImage) -> Frame:
    entry, payload = archived.entry, archived.entry.payload
    assert payload is not None
    path = archived.path.with_suffix(".npy")
    try:
        image = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as exc:
        raise DatasetError(f"the payload {path.name} cannot be read", seen=exc, remedy=REMEDY) from exc
    if not isinstance(image, np.ndarray) or image.dtype != np.dtype("<f4"):
        raise DatasetError(f"the payload {path.name} is no array of float32", seen=getattr(image, "dtype", "an archive"), remedy=REMEDY)
    _require_same(archived, image)
    no_data = math.nan if payload.no_data == "nan" else payload.no_data
    return Frame(
        image=image,
        kind=entry.kind,
        pitch_mm=entry.pitch_mm,
        exact=True,
        z_scale_mm=payload.z_scale_mm,
        z_offset_mm=payload.z_offset_mm,
        no_data=no_data,
    )
