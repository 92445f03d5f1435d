"""The training folder that is added to: what it holds, how it reads a scan, and whether a frame of the box fits."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow
from scans.folder import LABEL_FOLDERS, SUFFIXES, Label, Scale, kind_of, read_image, read_scale, read_spec
from scans.unfinished import unfinished
from train.intake.images import Frame, content_hash
from train.intake.progress import shown

ANY_SPEC = HeightmapSpec(window=PercentileWindow())
"""What training takes where a folder has no heightmap.json."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A folder of one typology as it is before an import."""

    root: Path
    folders: dict[Label, Path]
    """Where new scans of each label go."""
    spec: HeightmapSpec
    scale: Scale
    scaled: bool
    """It has a scan.toml."""
    formats: Counter[tuple[str, tuple[int, ...]]]
    """How many scans of each pixel format ("range uint16") and shape."""
    content: dict[str, tuple[str, Label]]
    """Hash of a scan's pixels → file and label."""


def read_target(root: Path) -> Target:
    """Read every scan of the folder once.

    Raises DatasetError: no such folder, no folder of a label, unreadable scans, the same pixels under both labels.
    """
    found = label_folders(root)
    spec = root / "heightmap.json"
    formats, content = _scans(root, found)
    return Target(
        root=root,
        folders=_folders(root, found),
        spec=read_spec(spec) if spec.is_file() else ANY_SPEC,
        scale=read_scale(root),
        scaled=(root / "scan.toml").is_file(),
        formats=formats,
        content=content,
    )


def label_folders(root: Path) -> list[tuple[Path, Label]]:
    """The folders of labels in `root`, at least one. Raises DatasetError."""
    if not root.is_dir():
        raise DatasetError(f"there is no training folder {root}", remedy="Name the folder of one typology, with good/ and bad/ in it")
    found = [(f, LABEL_FOLDERS[f.name.lower()]) for f in sorted(root.iterdir()) if f.is_dir() and f.name.lower() in LABEL_FOLDERS]
    if not found:
        remedy = f"Name the folder of one typology; its label folders are called {', '.join(LABEL_FOLDERS)}"
        raise DatasetError(f"{root} has no folder for a label", seen=sorted(f.name for f in root.iterdir())[:10], remedy=remedy)
    return found


def _folders(root: Path, found: list[tuple[Path, Label]]) -> dict[Label, Path]:
    return {"good": root / "good", "bad": root / "bad", **{label: folder for folder, label in reversed(found)}}


def _scans(root: Path, folders: list[tuple[Path, Label]]) -> tuple[Counter[tuple[str, tuple[int, ...]]], dict[str, tuple[str, Label]]]:
    half = unfinished(root)
    files = [
        (path, label)
        for folder, label in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and path.relative_to(root).as_posix() not in half
    ]
    formats: Counter[tuple[str, tuple[int, ...]]] = Counter()
    content: dict[str, tuple[str, Label]] = {}
    for path, label in shown(files, "reading the training folder"):
        image = read_image(path)
        formats[format_of(image), image.shape] += 1
        name = path.relative_to(root).as_posix()
        twin, said = content.setdefault(content_hash(image), (name, label))
        if said != label:
            remedy = "Decide which label is right and remove the other file"
            raise DatasetError(f"{root} has the same scan under both labels", seen=f"{twin} and {name}", remedy=remedy)
    return formats, content


def format_of(image: NDArray[Any]) -> str:
    """Kind and type of pixels: "heightmap uint8", "range uint16", "range float32", "cloud float32"."""
    return f"{kind_of(image)} {image.dtype.name}"


def scan_for(target: Target, frame: Frame) -> NDArray[Any]:
    """The pixels of a file in this folder that training prepares as the box prepared the frame; exact frames come back as they are.

    Raises DatasetError when the folder's scans are of another kind, size, pitch or height scale; both values are named.
    """
    _require_format(target, frame.image)
    if target.scaled:
        _require_pair("pitch_mm", frame.pitch_mm, target.scale.pitch_mm, target)
    if frame.kind == "heightmap":
        return frame.image
    if frame.exact:
        _require_scale(target, frame)
        return frame.image
    values = (frame.image.astype(np.float64) - target.scale.z_offset_mm) / target.scale.z_scale_mm
    return np.where(np.isnan(frame.image), target.scale.no_data, values).astype(np.float32)


def _require_format(target: Target, image: NDArray[Any]) -> None:
    formats = {name for name, _ in target.formats}
    if formats and format_of(image) not in formats:
        raise _other("pixels", format_of(image), " and ".join(sorted(formats)), target=target)
    shapes = {shape for _, shape in target.formats}
    # Scans of several sizes are wanted where they are; points of a cloud in no order are never equally many.
    if len(shapes) == 1 and image.ndim == 2 and image.shape not in shapes:
        raise _other("rows and columns", image.shape, next(iter(shapes)), target=target)


def _require_scale(target: Target, frame: Frame) -> None:
    scale = target.scale
    _require_pair("z_scale_mm", (frame.z_scale_mm,), (scale.z_scale_mm,), target)
    _require_pair("z_offset_mm", (frame.z_offset_mm,), (scale.z_offset_mm,), target)
    if _marker(frame.no_data, frame.image) != _marker(scale.no_data, frame.image):
        raise _other("no_data", frame.no_data, scale.no_data, target=target)


def _marker(no_data: float, image: NDArray[Any]) -> float | None:
    """The value that marks missing points, None where no pixel of this type can have it (NaN is its own mark in floats)."""
    if image.dtype == np.uint16:
        return no_data if math.isfinite(no_data) and no_data == int(no_data) and 0 <= no_data <= 65_535 else None
    return None if math.isnan(no_data) else no_data


def _require_pair(what: str, seen: tuple[float, ...], wanted: tuple[float, ...], target: Target) -> None:
    if not all(np.float32(one) == np.float32(other) for one, other in zip(seen, wanted, strict=True)):
        raise _other(what, *(values[0] if len(values) == 1 else values for values in (seen, wanted)), target=target)


def _other(what: str, seen: object, wanted: object, *, target: Target) -> DatasetError:
    remedy = "Import into the folder of this camera and typology, or make one with the box's heightmap.json and scan.toml"
    return DatasetError(
        f"the box's frames do not fit {target.root}: {what}", seen=f"{seen} from the box, {wanted} in the folder", remedy=remedy
    )
