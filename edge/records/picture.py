"""`cordon records show PART --map FILE.png`: the maps of evidence that the records of a part carry, drawn."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config import load_config
from edge.errors import RecordError, StorageError
from edge.gate.audit import read_part
from edge.gate.records_cli import DEFAULT_CONFIG, records_main
from edge.map_image import Picture, contact_sheet, encoded, overlay
from edge.map_text import unpack

CELL_PIXELS, GROUND = 16, 48
"""Without an image: the size of a cell, and the gray under it."""


def show_map(argv: Sequence[str]) -> int:
    """As `cordon records show PART`, and draw the part's maps into one PNG; over --image where a single weld is drawn.

    Returns 1 when the part is unknown or none of its verdicts carries a map. Raises RecordError, StorageError and ConfigError.
    """
    arguments = _parser().parse_args(argv)
    path: Path = arguments.records or load_config(arguments.config).gate.records
    code = records_main(["show", arguments.part, "--records", str(path)])
    found = [row for row in read_part(path, arguments.part) if row.get("verdict.map") and arguments.weld in (None, row["weld"])]
    if not found:
        print(f"no verdict of part {arguments.part} carries a map; inspector.explain asks for them")
        return 1
    image = None if arguments.image is None else _image(arguments.image)
    if image is not None and len(found) > 1:
        remedy = "Name one with --weld, or leave out --image"
        raise RecordError(f"the part has {len(found)} maps, and an image belongs to one of them", seen=arguments.image, remedy=remedy)
    pictures = [_drawn(row, image) for row in found]
    _write(arguments.map, encoded(pictures[0] if len(pictures) == 1 else contact_sheet(pictures)))
    print(f"{len(found)} maps in {arguments.map}")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon records show", description=show_map.__doc__)
    parser.add_argument("part")
    parser.add_argument("--map", type=Path, required=True, metavar="FILE.png", help="where to draw")
    parser.add_argument("--weld", help="only this weld of the part")
    parser.add_argument("--image", type=Path, metavar="FILE.png", help="the heightmap to draw over, 8 or 16 bit")
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="take gate.records from here (default %(default)s)")
    parser.add_argument("--records", type=Path, help="the record file itself")
    return parser


def _drawn(row: dict[str, Any], image: NDArray[np.uint8] | None) -> Picture:
    try:
        found = unpack(row["verdict.map"])
    except ValueError as exc:
        remedy = "Prove the records with `cordon records verify`"
        raise RecordError(f"the map of trigger {row['session']}/{row['sequence']} cannot be read", seen=exc, remedy=remedy) from exc
    cells = np.frombuffer(found.cells, np.uint8).reshape(found.rows, found.columns) * (found.peak / 255.0)
    gray = np.full((found.rows * CELL_PIXELS, found.columns * CELL_PIXELS), GROUND, np.uint8) if image is None else image
    judged = f"{row['verdict.outcome']} {row['verdict.reason']} score {row['verdict.score']:.4f} threshold {row['verdict.threshold']:.4f}"
    return overlay(gray, cells, [f"{row['part']} {row['weld']} {row['verdict.typology']}", judged], peak=found.peak)


def _image(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 2:
        raise RecordError(f"{path} is no image of one channel", seen=path.suffix, remedy="Give the heightmap, or an image of the archive")
    if image.dtype == np.uint8:
        return np.asarray(image, np.uint8)
    # An archived image: 16 bit, 0 without data; stretched to what it holds.
    known = image > 0
    low, high = (float(image[known].min()), float(image[known].max())) if known.any() else (0.0, 1.0)
    stretched = 1.0 + (image.astype(np.float64) - low) * (254.0 / max(high - low, 1.0))
    drawn: NDArray[np.uint8] = np.where(known, stretched.clip(1, 255), 0).round().astype(np.uint8)
    return drawn


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as exc:
        raise StorageError(f"cannot write {path}", seen=exc.strerror, remedy="Check the folder and its rights") from exc
