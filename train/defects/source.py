"""A folder of good scans: which files, their groups, what a pixel means; heights from pixels and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError
from edge.toml import parse_toml
from scans.folder import LABEL_FOLDERS, SUFFIXES, Scale, read_groups, read_image, read_scale
from train.defects.weld import F32

SCALE_FILE, SPEC_FILE = "scan.toml", "heightmap.json"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One good scan; its derived scans belong to its `group`, so that no split parts them."""

    path: Path
    name: str
    """Relative to the folder, with slashes."""
    group: str


@dataclass(frozen=True, kw_only=True)
class GoodFolder:
    """The good scans of one typology, in a stable order, and the files that say what their pixels mean."""

    root: Path
    sources: tuple[Source, ...]
    scale: Scale
    scale_file: Path
    spec_file: Path | None
    dtype: np.dtype[Any]
    """u8 (heightmap), u16 or f32 (range)."""
    shape: tuple[int, int]


def read_good_folder(folder: Path) -> GoodFolder:
    """Look at every file of a folder of good scans, or of the good/ in it; scan.toml and groups.csv may lie beside good/.

    Raises DatasetError: no folder, no scans, bad scans in it, no pixel pitch, a file that cannot be read, a cloud, or files that
    differ in size or depth.
    """
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}", remedy="Give a folder with good scans")
    images, root = _place(folder)
    paths = [path for path in sorted(images.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not paths:
        raise DatasetError(f"{images} has no scans", remedy=f"Put good scans ({', '.join(SUFFIXES)}) into it")
    groups = read_groups(root)
    names = [path.relative_to(root).as_posix() for path in paths]
    sources = tuple(
        Source(path=path, name=name, group=groups[name][0] if name in groups else name) for path, name in zip(paths, names, strict=True)
    )
    dtype, shape = _common(paths)
    scale_file = _scale_file(root, dtype)
    spec = root / SPEC_FILE
    return GoodFolder(
        root=root,
        sources=sources,
        scale=read_scale(root),
        scale_file=scale_file,
        spec_file=spec if spec.is_file() else None,
        dtype=dtype,
        shape=shape,
    )


def _place(folder: Path) -> tuple[Path, Path]:
    """Where the images are, and the folder that scan.toml and the table lie in. Raises DatasetError for a folder with bad scans."""
    labelled = {LABEL_FOLDERS[f.name.lower()]: f for f in sorted(folder.iterdir()) if f.is_dir() and f.name.lower() in LABEL_FOLDERS}
    named = LABEL_FOLDERS.get(folder.resolve().name.lower())
    remedy = f"Give the folder of good scans alone, for example {folder / 'good'}"
    if named == "bad":
        raise DatasetError(f"{folder} is a folder of bad scans", remedy="Defects are made from good scans: give the good ones")
    if "bad" in labelled and any(path.suffix.lower() in SUFFIXES for path in labelled["bad"].rglob("*")):
        raise DatasetError(f"{folder} has bad scans already", seen=labelled["bad"].name, remedy=remedy)
    if "good" in labelled:
        return labelled["good"], folder
    parent = folder.resolve().parent
    beside = named == "good" and not (folder / SCALE_FILE).is_file() and (parent / SCALE_FILE).is_file()
    return (folder.resolve(), parent) if beside else (folder, folder)


def _common(paths: list[Path]) -> tuple[np.dtype[Any], tuple[int, int]]:
    """What all files have in common. Raises DatasetError naming the first file that differs."""
    first: NDArray[Any] | None = None
    for path in paths:
        image = read_image(path)
        if image.ndim != 2:
            raise DatasetError(
                f"{path} is a point cloud", seen=image.shape, remedy="Project the clouds to range images (f32 NPY, 16-bit PNG)"
            )
        first = image if first is None else first
        if image.shape != first.shape or image.dtype != first.dtype:
            seen = f"{image.dtype} {image.shape}, but {paths[0].name} is {first.dtype} {first.shape}"
            raise DatasetError(f"{path} differs from the other scans", seen=seen, remedy="Give scans of one size and one depth")
    assert first is not None
    return first.dtype, (first.shape[0], first.shape[1])


def _scale_file(root: Path, dtype: np.dtype[Any]) -> Path:
    """The folder's scan.toml. Raises DatasetError when it does not say what this tool must know."""
    path = root / SCALE_FILE
    remedy = "Write pitch_mm = [x, y] and, for integer images, z_scale_mm (and z_offset_mm, no_data) into it"
    if not path.is_file():
        raise DatasetError(f"{root} has no {SCALE_FILE}: sizes in mm need the pixel pitch", remedy=remedy)
    try:
        said = parse_toml(path.read_bytes())
    except ValueError as exc:
        raise DatasetError(f"{path} is not TOML", seen=exc, remedy=remedy) from exc
    needed = ["pitch_mm"] if dtype == np.float32 else ["pitch_mm", "z_scale_mm"]
    if missing := [key for key in needed if key not in said]:
        raise DatasetError(f"{path} does not say {' and '.join(missing)}", seen=sorted(said), remedy=remedy)
    scale = read_scale(root)
    if min(scale.pitch_mm) <= 0 or scale.z_scale_mm <= 0:
        raise DatasetError(f"{path}: pitch and z scale must be positive", seen=(scale.pitch_mm, scale.z_scale_mm), remedy=remedy)
    return path


def to_mm(image: NDArray[Any], scale: Scale) -> F32:
    """Heights f32 [rows, columns] in mm, NaN = no data."""
    height = image.astype(np.float32) * np.float32(scale.z_scale_mm) + np.float32(scale.z_offset_mm)
    return np.asarray(np.where(np.isfinite(height) & (image != scale.no_data), height, np.nan), dtype=np.float32)


def to_image(height: F32, scale: Scale, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Pixels of that depth again; heights outside its range are clipped, and no height takes the value of no data."""
    steps = (height.astype(np.float64) - scale.z_offset_mm) / scale.z_scale_mm
    if dtype == np.float32:
        return np.where(np.isnan(height), np.float32(scale.no_data), steps.astype(np.float32)).astype(np.float32)
    most = int(np.iinfo(dtype).max)
    whole = np.clip(np.rint(np.nan_to_num(steps)), 0, most)
    inwards = 1 if scale.no_data < most else -1
    whole = np.where(whole == scale.no_data, whole + inwards, whole)
    return np.where(np.isnan(height), scale.no_data, whole).astype(dtype)
