"""A contact sheet: many welds on one PNG, each with its truth, its verdict and a border that shows where the two disagree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import SimulationError

U8: TypeAlias = NDArray[np.uint8]
Colour: TypeAlias = tuple[int, int, int]
"""Blue, green, red, as OpenCV has it."""

MAX_WIDTH = 2400
BORDER, GAP, LINE, LEGEND = 4, 8, 18, 44
_PAPER: Colour = (28, 26, 24)
_INK: Colour = (225, 225, 225)
_FAINT: Colour = (165, 165, 165)
_STATES: dict[str, Colour] = {
    "accepted good": (96, 174, 60),
    "rejected bad": (150, 124, 100),
    "ESCAPE: accepted bad": (50, 40, 230),
    "OVERKILL: rejected good": (20, 140, 250),
    "no truth or no verdict": (90, 90, 90),
}


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One weld of the sheet: its heightmap u8 [rows, columns] and what is known about it ("" or None: unknown)."""

    image: U8
    typology: str
    truth: str = ""
    """good or bad."""
    defect: str = ""
    verdict: str | None = None
    """Starts with ACCEPT, or is a refusal with its reason."""
    score: float | None = None

    @property
    def state(self) -> str:
        """What the border says, one of the legend's entries."""
        if not self.verdict or self.truth not in ("good", "bad"):
            return "no truth or no verdict"
        if self.verdict.startswith("ACCEPT"):
            return "accepted good" if self.truth == "good" else "ESCAPE: accepted bad"
        return "rejected bad" if self.truth == "bad" else "OVERKILL: rejected good"


def contact_sheet(tiles: Sequence[Tile], path: Path, *, columns: int = 6) -> None:
    """Draw the tiles row by row into a PNG at most MAX_WIDTH pixels wide. Raises SimulationError: no tiles, or not written."""
    if not tiles or columns < 1:
        raise SimulationError("a contact sheet needs tiles and columns", seen=(len(tiles), columns), remedy="Give at least one of each")
    columns = min(columns, len(tiles))
    width = min(352, (MAX_WIDTH - GAP) // columns - GAP - 2 * BORDER)
    height = round(width * 128 / 352)
    cell = (width + 2 * BORDER + GAP, height + 2 * BORDER + 2 * LINE + GAP)
    rows = math.ceil(len(tiles) / columns)
    sheet = np.full((LEGEND + rows * cell[1] + GAP, max(columns * cell[0] + GAP, 3 * 352), 3), _PAPER, dtype=np.uint8)
    _draw_legend(sheet, tiles)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        _draw_tile(sheet, tile, GAP + column * cell[0], LEGEND + row * cell[1], (width, height))
    if not cv2.imwrite(str(path), sheet):
        raise SimulationError(f"cannot write the contact sheet {path}", remedy="Check that the folder exists and has free space")


def _draw_legend(sheet: U8, tiles: Sequence[Tile]) -> None:
    counts = Counter(tile.state for tile in tiles)
    step = (sheet.shape[1] - GAP) // len(_STATES)
    for index, (state, colour) in enumerate(_STATES.items()):
        x = GAP + index * step
        cv2.rectangle(sheet, (x, 13), (x + 20, 31), colour, cv2.FILLED)
        _write(sheet, f"{state} ({counts[state]})", (x + 27, 27), step - 30, _INK)


def _draw_tile(sheet: U8, tile: Tile, x: int, y: int, size: tuple[int, int]) -> None:
    width, height = size
    cv2.rectangle(sheet, (x, y), (x + width + 2 * BORDER - 1, y + height + 2 * BORDER - 1), _STATES[tile.state], cv2.FILLED)
    inside = sheet[y + BORDER : y + BORDER + height, x + BORDER : x + BORDER + width]
    inside[:] = _fitted(tile.image, width, height)[..., None]
    below = y + height + 2 * BORDER
    truth = ": ".join(word for word in (tile.truth, tile.defect.replace("_", " ")) if word)
    _write(sheet, f"{tile.typology}  {truth}", (x, below + LINE - 5), width, _INK)
    score = "" if tile.score is None else f"  {tile.score:.3f}"
    _write(sheet, f"{tile.verdict or '-'}{score}", (x, below + 2 * LINE - 6), width, _FAINT)


def _fitted(image: U8, width: int, height: int) -> U8:
    """The image as large as fits, centred on black."""
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    out = np.zeros((height, width), dtype=np.uint8)
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    out[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=method)
    return out


def _write(sheet: U8, text: str, start: tuple[int, int], room: int, colour: Colour) -> None:
    """One line of text, set smaller where it would not fit into `room` pixels."""
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.46, 1)
    scale = 0.46 * min(1.0, room / max(width, 1))
    cv2.putText(sheet, text, start, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
