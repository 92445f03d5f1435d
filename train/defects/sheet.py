"""A contact sheet of one scan: every defect before and after, its mask outlined, with its name and sizes in mm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from train.defects.weld import F32, Mask, Painted, Weld

U8: TypeAlias = NDArray[np.uint8]

WIDTH = 400
"""Of one picture, pixels."""
GAP, LINE = 8, 20
_PAPER, _INK, _FAINT = (28, 26, 24), (225, 225, 225), (165, 165, 165)
_DEFECT, _SHADOW = (60, 70, 240), (240, 160, 60)


def contact_sheet(weld: Weld, painted: Sequence[tuple[str, Painted]], title: str) -> U8:
    """Rows of before, after, and after with defect (red) and changed shadows (blue) outlined; u8 [rows, columns, 3]."""
    low, high = np.nanpercentile(weld.height, (0.5, 99.5))
    span = (float(low) - 0.3 * float(high - low), float(high) + 0.5 * float(high - low))
    rows = [_caption(title, "before, after, and outlined: the defect (red), shadows it changed (blue)")]
    for name, result in painted:
        sizes = ", ".join(
            f"{key} {value:.2f}" if isinstance(value, float) else f"{key} {value}" for key, value in result.parameters.items()
        )
        rows.append(_caption(f"{name}: {result.label}", sizes))
        rows.append(_pictures(weld, result, span))
    return np.vstack(rows)


def _pictures(weld: Weld, result: Painted, span: tuple[float, float]) -> U8:
    before, after = (_gray(height, span, weld) for height in (weld.height, result.height))
    marked = after.copy()
    for mask, colour in ((result.shadow, _SHADOW), (result.mask, _DEFECT)):
        _outline(marked, mask, colour, weld)
    gap = np.full((before.shape[0], GAP, 3), _PAPER, np.uint8)
    row: U8 = np.hstack([gap, before, gap, after, gap, marked, gap])
    return row


def _size(weld: Weld) -> tuple[int, int]:
    rows, columns = weld.height.shape
    return WIDTH, max(1, round(WIDTH * rows * weld.pitch[1] / (columns * weld.pitch[0])))


def _gray(height: F32, span: tuple[float, float], weld: Weld) -> U8:
    shade = np.clip((height - span[0]) / (span[1] - span[0]), 0.0, 1.0) * 254 + 1
    gray = np.nan_to_num(shade, nan=0.0).astype(np.uint8)
    large: Any = cv2.resize(gray, _size(weld), interpolation=cv2.INTER_NEAREST)
    return np.asarray(np.repeat(large[..., None], 3, axis=2), dtype=np.uint8)


def _outline(picture: U8, mask: Mask, colour: tuple[int, int, int], weld: Weld) -> None:
    large = cv2.resize(mask.astype(np.uint8), _size(weld), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(large, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, 1)


def _caption(name: str, sizes: str) -> U8:
    strip = np.full((LINE + 4, 3 * WIDTH + 4 * GAP, 3), _PAPER, np.uint8)
    cv2.putText(strip, name, (GAP, LINE - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    start = GAP + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0] + 24
    cv2.putText(strip, sizes, (start, LINE - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.42, _FAINT, 1, cv2.LINE_AA)
    return strip
