"""What is to be explained: scans of a labelled folder, of any folder, or single images, as the box's own heightmaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.errors import DatasetError, FrameError
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec
from scans.folder import LABEL_FOLDERS, SUFFIXES, Scale, find_scans, kind_of, read_image, read_scale, walk_images


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One heightmap u8 [H, W] with what is known of it; `label` and `defect` are empty where nobody said."""

    name: str
    gray: NDArray[np.uint8]
    label: str = ""
    defect: str = ""


def find(paths: Sequence[Path], *, limit: int | None = None) -> list[tuple[Path, str, str, str, Scale]]:
    """(file, name, label, defect, scale) below folders and of single files, at most `limit`, taken evenly. Raises DatasetError."""
    found: list[tuple[Path, str, str, str, Scale]] = []
    for path in paths:
        before = f"{path.name}/" if len(paths) > 1 and path.is_dir() else ""
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            found.append((path, path.name, "", "", read_scale(path.parent)))
        elif path.is_dir() and any(sub.name.lower() in LABEL_FOLDERS for sub in path.iterdir() if sub.is_dir()):
            folder = find_scans(path)
            found += [(s.path, before + s.path.relative_to(path).as_posix(), s.label, s.defect, folder.scale) for s in folder.scans]
        else:
            found += [(file, before + file.relative_to(path).as_posix(), "", "", read_scale(path)) for file in walk_images(path)]
    if not found:
        raise DatasetError("there is no scan to explain", seen=", ".join(map(str, paths)), remedy=f"Give files or folders of {SUFFIXES}")
    if limit is None or len(found) <= limit:
        return found
    return [found[place] for place in np.unique(np.linspace(0, len(found) - 1, limit).astype(int))]


def prepare(found: Sequence[tuple[Path, str, str, str, Scale]], spec: HeightmapSpec) -> tuple[list[Shown], list[str]]:
    """The heightmaps, and the names of those the box refuses before any network with its reason. Raises DatasetError."""
    preparer, shown, refused = Preparer(spec), [], []
    for path, name, label, defect, scale in tqdm(found, desc="heightmaps", unit="scan", leave=False, disable=None):
        gray, image = np.zeros((spec.height, spec.width), np.uint8), read_image(path)
        try:
            preparer.prepare(
                image, kind=kind_of(image), z_scale_mm=scale.z_scale_mm, z_offset_mm=scale.z_offset_mm, no_data=scale.no_data, out=gray
            )
        except FrameError as exc:
            refused.append(f"{name}: {exc.reason.value}")
            continue
        shown.append(Shown(name=name, gray=gray, label=label, defect=defect))
    return shown, refused


def read_mask(folder: Path, shown: Shown) -> NDArray[np.bool_] | None:
    """The defect's true mask bool [H, W] in `folder` under the scan's own name, as PNG; None where there is none or it is empty.

    Raises DatasetError for a mask of another size or no image.
    """
    path = (folder / shown.name).with_suffix(".png")
    if not path.is_file():
        return None
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None or mask.shape != shown.gray.shape:
        seen = "no image" if mask is None else mask.shape
        raise DatasetError(f"{path} is no mask of this heightmap", seen=seen, remedy=f"Give an image of {shown.gray.shape}, 0 where sound")
    return np.asarray(mask > 0) if mask.any() else None
