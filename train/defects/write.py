"""Write a derived data set so that it appears whole or not at all: scans in the source's format, masks on request, the table."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError
from train.defects.source import SCALE_FILE, SPEC_FILE, GoodFolder, Source, to_image
from train.defects.weld import Painted

COLUMNS = ("file", "label", "group", "defect", "source", "seed", "parameters")
TABLE, PROVENANCE, MASKS = "groups.csv", "provenance.json", "masks"


class Writer:
    """Collects a data set in a hidden folder beside `out`; leaving the `with` block without an error gives it its name."""

    def __init__(self, out: Path, folder: GoodFolder, *, masks: bool) -> None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise DatasetError(f"{out} exists and is not empty", remedy="Name another folder, or remove that one: old and new would mix")
        self._out, self._folder, self._masks = out, folder, masks
        self._rows: list[tuple[str, ...]] = []

    def __enter__(self) -> Writer:
        try:
            self._out.parent.mkdir(parents=True, exist_ok=True)
            self.path = Path(tempfile.mkdtemp(prefix=f".{self._out.name}.", dir=self._out.parent))
            self.path.chmod(0o755)
            for label in ("good", "bad"):
                (self.path / label).mkdir()
                if self._masks:
                    (self.path / MASKS / label).mkdir(parents=True)
            shutil.copyfile(self._folder.scale_file, self.path / SCALE_FILE)
            if self._folder.spec_file is not None:
                shutil.copyfile(self._folder.spec_file, self.path / SPEC_FILE)
        except OSError as exc:
            raise _unwritten(self._out, exc) from exc
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        try:
            with (self.path / TABLE).open("w", newline="", encoding="utf-8") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(COLUMNS)
                table.writerows(sorted(self._rows, key=str))
            self.path.replace(self._out)
        except OSError as exc:
            shutil.rmtree(self.path, ignore_errors=True)
            raise _unwritten(self._out, exc) from exc

    def copy(self, source: Source) -> None:
        """A good scan as it is, byte by byte."""
        name = f"good/{_stem(source)}{source.path.suffix.lower()}"
        try:
            shutil.copyfile(source.path, self.path / name)
        except OSError as exc:
            raise _unwritten(self._out / name, exc) from exc
        self._rows.append((name, "good", source.group, "none", source.name, "", "{}"))

    def write(self, source: Source, defect: str, painted: Painted, *, number: int, seed: int, transposed: bool) -> None:
        """A derived scan in the source's format and depth, and its mask if masks are wanted."""
        name = f"{painted.label}/{_stem(source)}_{defect}_{number:05d}{source.path.suffix.lower()}"
        height, mask = (painted.height.T, painted.mask.T) if transposed else (painted.height, painted.mask)
        self._save(self.path / name, to_image(np.ascontiguousarray(height), self._folder.scale, self._folder.dtype))
        if self._masks:
            png = (self.path / MASKS / name).with_suffix(".png")
            self._save(png, np.where(mask, 255, 0).astype(np.uint8))
        said = {key: round(value, 4) if isinstance(value, float) else value for key, value in painted.parameters.items()}
        self._rows.append((name, painted.label, source.group, defect, source.name, f"{seed}-{number}", json.dumps(said)))

    def write_text(self, name: str, text: str) -> None:
        """A small file of the data set."""
        try:
            (self.path / name).write_text(text, encoding="utf-8")
        except OSError as exc:
            raise _unwritten(self._out / name, exc) from exc

    def _save(self, path: Path, image: NDArray[np.generic]) -> None:
        try:
            if path.suffix == ".npy":
                np.save(path, np.asarray(image))
                return
        except OSError as exc:
            raise _unwritten(path, exc) from exc
        if not cv2.imwrite(str(path), image):
            raise _unwritten(path, OSError("the image library could not write it"))


def _stem(source: Source) -> str:
    """The source's name without its label folder, in one piece: scans of several folders may bear one name."""
    parts = Path(source.name).with_suffix("").parts
    return "_".join(parts[1:] if len(parts) > 1 and source.path.parent.name == parts[0] else parts)


def _unwritten(path: Path, exc: OSError) -> DatasetError:
    return DatasetError(f"cannot write {path}", seen=exc.strerror or exc, remedy="Check free space and the folder's rights")
