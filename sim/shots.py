"""What a simulated camera exposes: scans of a folder, or of the welds a table lists, with everything their headers say."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from edge.config import NAME
from edge.contract import TriggerId
from edge.errors import SimulationError
from scans.folder import Scale, read_image, read_scale, walk_images

COLUMNS = ("part", "weld", "typology", "file")


class CaptureRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the robot asks for, as JSON: an exposure of this weld for this trigger."""

    session: str
    sequence: int
    part: str
    weld: str
    typology: str | None = None


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One scan with everything its header says."""

    image: NDArray[Any]
    """u8 (heightmap), u16 or f32 (range), rows x cols; f32 (cloud), rows x cols x 3."""
    scale: Scale
    part: str
    weld: str
    typology: str | None
    trigger: TriggerId | None = None


class WeldTable:
    """`--welds FILE.csv`: which file is the scan of which weld; paths are relative to the table's folder."""

    def __init__(self, path: Path) -> None:
        rows = _read_table(path)
        self._rows = {(row["part"], row["weld"]): row for row in rows}
        self._folder = path.parent
        self.typologies = tuple(dict.fromkeys(row["typology"] for row in rows if row["typology"]))

    def shot(self, request: CaptureRequest, *, name_typology: bool) -> Shot:
        """The scan of the weld asked for. Raises SimulationError when the table has none, DatasetError when it cannot be read."""
        row = self._rows.get((request.part, request.weld))
        if row is None:
            seen = f"part {request.part}, weld {request.weld}"
            raise SimulationError("the table has no scan for this weld", seen=seen, remedy="Give robot and camera the same table")
        file = self._folder / row["file"]
        return Shot(
            image=read_image(file),
            scale=scale_for(file),
            part=request.part,
            weld=request.weld,
            typology=(request.typology or row["typology"] or None) if name_typology else None,
            trigger=TriggerId(request.session, request.sequence),
        )


def _read_table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise SimulationError(f"cannot read the table {path}", seen=exc, remedy="Give a UTF-8 CSV with a header line") from exc
    missing = set(COLUMNS) - set(reader.fieldnames or ())
    if missing or not rows:
        raise SimulationError(f"{path} is not a table of welds", seen=reader.fieldnames, remedy=f"Columns: {', '.join(COLUMNS)}")
    return rows


def scale_for(file: Path) -> Scale:
    """`scan.toml` beside the scan or one folder up (beside good/ and bad/), else the defaults."""
    folder = next((folder for folder in (file.parent, file.parent.parent) if (folder / "scan.toml").is_file()), file.parent)
    return read_scale(folder)


def folder_shots(folder: Path, typology: str | None) -> Iterator[tuple[Path, Shot]]:
    """Every scan below `folder`, sorted, as a part of its own. Raises DatasetError."""
    for number, file in enumerate(walk_images(folder), 1):
        name = re.sub(r"[^A-Za-z0-9._-]", "_", file.stem)[:24]
        part = name if NAME.match(name) else f"F{number:05d}"
        yield file, Shot(image=read_image(file), scale=scale_for(file), part=part, weld="W1", typology=typology)
