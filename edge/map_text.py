"""The map of evidence as verdict records carry it: one short line of text, `ROWSxCOLUMNS PEAK CELLS`, made and read here only.

CELLS is base64 of one byte per cell, row by row: 255 is PEAK, 0 nothing or what speaks against a defect. PEAK is what the strongest
cell adds to the log-odds of the bad label.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from typing import NamedTuple

MAX_ROWS, MAX_COLUMNS = 16, 44
"""No record carries more cells; larger maps are averaged down to this."""
_SHAPE = re.compile(r"([1-9][0-9]?)x([1-9][0-9]?) ([0-9][0-9.e+-]{0,15}) ([A-Za-z0-9+/]+={0,2})")
_LONGEST = 1_100


class RecordedMap(NamedTuple):
    """`cells` are rows x columns bytes, row by row; 255 stands for `peak`."""

    rows: int
    columns: int
    peak: float
    cells: bytes


def pack(found: RecordedMap) -> str:
    """The text of a map within the limits."""
    return f"{found.rows}x{found.columns} {found.peak:.6g} {base64.b64encode(found.cells).decode('ascii')}"


def unpack(text: object) -> RecordedMap:
    """What `pack` packed. Raises ValueError saying what is wrong, for anything else whatever it is."""
    if not isinstance(text, str):
        raise ValueError(f"no text but {type(text).__name__}")  # noqa: TRY004 - callers know one error
    if len(text) > _LONGEST:
        raise ValueError(f"{len(text)} characters")
    hit = _SHAPE.fullmatch(text)
    if hit is None:
        raise ValueError(f"not ROWSxCOLUMNS PEAK CELLS: {text[:40]!r}")
    rows, columns, peak = int(hit[1]), int(hit[2]), float(hit[3])
    if rows > MAX_ROWS or columns > MAX_COLUMNS:
        raise ValueError(f"{rows} x {columns} cells, at most {MAX_ROWS} x {MAX_COLUMNS}")
    if not math.isfinite(peak):
        raise ValueError(f"a peak of {hit[3]}")
    try:
        cells = base64.b64decode(hit[4], validate=True)
    except binascii.Error as exc:
        raise ValueError(f"cells are no base64: {exc}") from exc
    if len(cells) != rows * columns:
        raise ValueError(f"{len(cells)} cells for {rows} x {columns}")
    return RecordedMap(rows, columns, peak, cells)
