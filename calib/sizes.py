"""Whether all scans of a folder have one size, from their headers alone where the format allows."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError
from scans.folder import Scan, kind_of, read_image

_PNG = b"\x89PNG\r\n\x1a\n"


def require_one_size(scans: Sequence[Scan]) -> tuple[int, int]:
    """(rows, columns) that all scans have. Raises DatasetError naming the sizes, their counts and a file of the rarest, or an
    unreadable file.
    """
    sizes = [image_size(scan.path) for scan in scans]
    counts = Counter(sizes).most_common()
    if not counts:
        raise DatasetError("there are no scans", remedy="Give a folder with good and bad scans")
    if len(counts) > 1:
        rare = next(scan.path for scan, size in zip(scans, sizes, strict=True) if size == counts[-1][0])
        seen = ", ".join(f"{count} of {rows} x {columns}" for (rows, columns), count in counts)
        raise DatasetError(
            "the scans have different sizes",
            seen=f"{seen}; for example {rare}",
            remedy="Keep scans of one camera setting in a folder: a network learns one scale",
        )
    return counts[0][0]


def image_size(path: Path) -> tuple[int, int]:
    """(rows, columns) of one scan; (1, 0) of an unorganised cloud, whose number of points says nothing about its scale.

    Raises DatasetError for a file that is no scan.
    """
    try:
        if path.suffix.lower() == ".png":
            with path.open("rb") as file:
                head = file.read(24)
            if len(head) == 24 and head.startswith(_PNG):
                columns, rows = struct.unpack(">II", head[16:])
                return rows, columns
        if path.suffix.lower() == ".npy":
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
            if stored.ndim == 2 or (stored.ndim == 3 and stored.dtype == np.float32):
                return _size(stored)
    except (OSError, ValueError) as exc:
        raise DatasetError(f"cannot read the scan {path}", seen=exc, remedy="Remove the file or write it again") from exc
    return _size(read_image(path))


def _size(image: NDArray[Any]) -> tuple[int, int]:
    rows, columns = image.shape[:2]
    return (1, 0) if kind_of(image) == "cloud" and rows == 1 else (int(rows), int(columns))
