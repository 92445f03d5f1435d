"""A labelled folder of scans: which files, which label, which group, and how to read one."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import msgspec
from numpy.typing import NDArray

from edge.errors import ConfigError, DatasetError
from edge.inspector.heightmap.spec import HeightmapSpec, spec_from_json
from edge.scan_file import kind_of, read_scan
from scans.unfinished import unfinished

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "GROUP_COLUMNS",
    "LABEL_FOLDERS",
    "SUFFIXES",
    "Label",
    "Scale",
    "Scan",
    "ScanFolder",
    "find_scans",
    "kind_of",
    "read_groups",
    "read_image",
    "read_scale",
    "read_spec",
    "walk_images",
]

Label = Literal["good", "bad"]

SUFFIXES = (".png", ".tif", ".tiff", ".npy")
LABEL_FOLDERS: dict[str, Label] = {
    "good": "good",
    "soldadura_buena": "good",
    "buena": "good",
    "buenas": "good",
    "bad": "bad",
    "soldadura_mala": "bad",
    "mala": "bad",
    "malas": "bad",
}
"""Folder names (compared in lower case) and the label they stand for; the Spanish ones are the thesis's."""
GROUP_COLUMNS = ("group", "scan")
GROUP_TABLE, SPEC_FILE = "groups.csv", "heightmap.json"


class Scale(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`scan.toml`: what one pixel and one unit of a range image (or of a cloud's z) mean, for every file of the folder."""

    pitch_mm: tuple[float, float] = (1.0, 1.0)
    """Distance of neighbouring pixels along x (columns) and y (rows)."""
    z_scale_mm: float = 1.0
    z_offset_mm: float = 0.0
    no_data: float = 0.0


@dataclass(frozen=True)
class Scan:
    """One file; scans of one `group` (one part, one capture) look alike and never fall on both sides of a split."""

    path: Path
    label: Label
    group: str
    defect: str = ""
    """What is wrong with it, from the table's column `defect`; empty where nobody said."""


@dataclass(frozen=True)
class ScanFolder:
    """What `find_scans` found, in a stable order."""

    root: Path
    scans: tuple[Scan, ...]
    spec: HeightmapSpec | None = None
    """`heightmap.json` of the folder, if there is one."""
    scale: Scale = field(default_factory=Scale)

    def labelled(self, label: Label) -> tuple[Scan, ...]:
        """The scans of one label."""
        return tuple(scan for scan in self.scans if scan.label == label)

    def without(self, listed: Path | None) -> ScanFolder:
        """The folder less the scans in the CSV `listed` (column file, relative to the root); None leaves all. Raises DatasetError."""
        aside = frozenset() if listed is None else _listed(listed, self.root)
        return replace(self, scans=tuple(s for s in self.scans if s.path.relative_to(self.root).as_posix() not in aside))


def find_scans(root: Path, *, table: Path | None = None) -> ScanFolder:
    """Find the scans below `root`'s label folders; groups come from `table`, or the one CSV in `root` that has the columns.

    A scan without a row in the table, or without a group in its row, is a group of its own. Files of an import from the line that was
    interrupted do not count. Raises DatasetError for a missing folder, missing label folders, no scan under one of the labels, a
    groups.csv that names no groups, or a table whose label contradicts the folder; ConfigError for a heightmap.json that does not fit.
    """
    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}", remedy="Give the folder that has good/ and bad/ in it")
    folders = _label_folders(root)
    groups, half = _groups(root, table), unfinished(root)
    scans = tuple(
        Scan(path, label, *groups.get(path.relative_to(root).as_posix(), (path.relative_to(root).as_posix(), "")))
        for folder, label in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and path.is_file() and path.relative_to(root).as_posix() not in half
    )
    for label in ("good", "bad"):
        if not any(scan.label == label for scan in scans):
            raise DatasetError(
                f"{root} has no {label} scans",
                seen=f"{len(scans)} scans in all",
                remedy=f"Put {', '.join(SUFFIXES)} files of both labels into good/ and bad/",
            )
    spec = root / SPEC_FILE
    return ScanFolder(root, scans, read_spec(spec) if spec.is_file() else None, read_scale(root))


def read_groups(root: Path, table: Path | None = None) -> dict[str, tuple[str, str]]:
    """Group and defect of each file that the folder's table names, by path relative to `root`; empty without one. Raises DatasetError."""
    return _groups(root, table)


def _label_folders(root: Path) -> list[tuple[Path, Label]]:
    found = [(f, LABEL_FOLDERS[f.name.lower()]) for f in sorted(root.iterdir()) if f.is_dir() and f.name.lower() in LABEL_FOLDERS]
    if {label for _, label in found} != {"good", "bad"}:
        raise DatasetError(
            f"{root} does not have a folder for each label",
            seen=sorted(f.name for f in root.iterdir() if f.is_dir()),
            remedy=f"Name one folder for each label; known names: {', '.join(LABEL_FOLDERS)}",
        )
    return found


def _groups(root: Path, table: Path | None) -> dict[str, tuple[str, str]]:
    """Group and defect of each file that the table names."""
    tables = [table] if table is not None else sorted(root.glob("*.csv"))
    for path in tables:
        columns, rows = _table(path)
        column = next((c for c in GROUP_COLUMNS if c in columns), None)
        if column is not None and "file" in columns and rows:
            return _group_of_file(root, path, rows, column)
        # Scans that belong together would come apart without a word.
        if rows and (table is not None or path.name == GROUP_TABLE):
            remedy = f"Columns must be file and one of {', '.join(GROUP_COLUMNS)}, with commas between them"
            raise DatasetError(f"{path} names no groups", seen=f"columns {', '.join(columns)}", remedy=remedy)
    if table is not None:
        raise DatasetError(f"{table} names no groups", seen="no rows", remedy="Give a CSV with a row for each scan")
    return {}


def _table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a CSV; missing cells are empty. Raises DatasetError."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark before UTF-8
            reader = csv.DictReader(file, restval="")
            rows = list(reader)
            return list(reader.fieldnames or ()), rows
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DatasetError(f"cannot read the table {path}", seen=exc, remedy="Give a UTF-8 CSV with a header line") from exc


def _group_of_file(root: Path, table: Path, rows: list[dict[str, str]], column: str) -> dict[str, tuple[str, str]]:
    groups: dict[str, tuple[str, str]] = {}
    for row in rows:
        name = row["file"].strip()
        # Tables written above the folder name files with the folder's own name in front.
        name = name.removeprefix(f"{root.name}/")
        label = LABEL_FOLDERS.get(name.split("/", 1)[0].lower())
        said = LABEL_FOLDERS.get((row.get("label") or "").strip().lower())
        if label is not None and said is not None and label != said:
            raise DatasetError(f"{table} says {said}, the folder says {label}", seen=name, remedy="Correct one of the two")
        groups[name] = row[column].strip() or name, (row.get("defect") or "").strip()
    return groups


def _listed(path: Path, root: Path) -> frozenset[str]:
    columns, rows = _table(path)
    if "file" not in columns:
        seen = f"columns {', '.join(columns)}"
        raise DatasetError(f"cannot read the list of scans to keep aside {path}", seen=seen, remedy="Give a CSV with a column file")
    names = [row["file"].strip().removeprefix(f"{root.name}/") for row in rows]
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise DatasetError(f"{path} lists scans that {root} does not have", seen=missing[:3], remedy="List files relative to the folder")
    return frozenset(names)


def read_spec(path: Path) -> HeightmapSpec:
    """A heightmap spec from its JSON file. Raises ConfigError naming the file."""
    try:
        return spec_from_json(path.read_bytes())
    except OSError as exc:
        raise ConfigError(f"cannot read the heightmap spec {path}", seen=exc.strerror, remedy="Check the path") from exc
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc.what}", seen=exc.seen, remedy=exc.remedy) from exc


def read_scale(root: Path) -> Scale:
    """`scan.toml` of a folder, or the defaults. Raises DatasetError when it does not fit."""
    path = root / "scan.toml"
    if not path.is_file():
        return Scale()
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Scale)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as exc:
        raise DatasetError(f"{path} does not fit the schema", seen=exc, remedy=f"Keys: {', '.join(Scale.__struct_fields__)}") from exc


def read_image(path: Path) -> NDArray[Any]:
    """One scan: uint8 (heightmap) or uint16 / float32 (range) rows x cols, or float32 rows x cols x 3 (cloud). Raises DatasetError."""
    return read_scan(path, refusal=DatasetError)


def walk_images(root: Path) -> Iterator[Path]:
    """Every scan file below `root`, sorted, whatever the folders are called."""
    if not root.is_dir():
        raise DatasetError(f"there is no folder {root}", remedy="Give a folder with PNG, TIFF or NPY scans")
    return (path for path in sorted(root.rglob("*")) if path.suffix.lower() in SUFFIXES and path.is_file())
