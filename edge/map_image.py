"""A map of evidence drawn over its heightmap: gray where nothing speaks for a defect, coloured where something does, black without data."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""u8 [rows, columns, 3], blue green red as OpenCV has it."""
COLOURS = cv2.COLORMAP_TURBO
OPAQUE = 0.75
"""How far the colour of the strongest cell hides the heightmap."""
FAINTEST = 0.05
"""Evidence below this part of the strongest cell's is not coloured."""
_WIDTH, _LINE, _BAR = 704, 20, 14
_FONT, _SIZE, _WHITE = cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255)


def overlay(gray: NDArray[np.uint8], cells: NDArray[np.floating], caption: Sequence[str] = (), *, peak: float | None = None) -> Picture:
    """`gray` u8 [H, W] (0 = no data, black) under `cells` [h, w] that cover it evenly, with lines of text and a colour bar.

    The colours run from 0 to `peak` (default: the largest cell). What speaks against a defect, and NaN, is not coloured.
    """
    scale = max(1, -(-_WIDTH // gray.shape[1]))
    size = (gray.shape[1] * scale, gray.shape[0] * scale)
    large = cv2.resize(gray, size, interpolation=cv2.INTER_NEAREST)
    positive = np.nan_to_num(np.asarray(cells, np.float32), nan=0.0, posinf=0.0, neginf=0.0).clip(min=0.0)
    top = float(positive.max()) if peak is None else peak
    share = cv2.resize(positive / top if top > 0 else positive * 0, size, interpolation=cv2.INTER_LINEAR).clip(0.0, 1.0)
    colours = cv2.applyColorMap(np.rint(share * 255).astype(np.uint8), COLOURS).astype(np.float32)
    alpha = np.where(share < FAINTEST, 0.0, OPAQUE * np.sqrt(share))[..., None]
    picture = (large[..., None] * (1.0 - alpha) + colours * alpha).round().astype(np.uint8)
    picture[large == 0] = 0
    return np.concatenate([_captioned(caption, size[0]), picture, _bar(size[0], max(top, 0.0))])


def _captioned(lines: Sequence[str], width: int) -> Picture:
    strip = np.zeros((_LINE * len(lines), width, 3), np.uint8)
    for number, line in enumerate(lines):
        # OpenCV's own fonts know ASCII only.
        text = line.encode("ascii", "replace").decode("ascii")
        cv2.putText(strip, text, (4, _LINE * number + 14), _FONT, _SIZE, _WHITE, 1, cv2.LINE_AA)
    return strip


def _bar(width: int, peak: float) -> Picture:
    """Colours from 0 to `peak`, with both figures."""
    strip = np.zeros((_BAR + _LINE + 4, width, 3), np.uint8)
    ramp = np.linspace(0, 255, width - 8).round().astype(np.uint8)[None].repeat(_BAR, axis=0)
    strip[4 : 4 + _BAR, 4:-4] = cv2.applyColorMap(ramp, COLOURS)
    right = f"{peak:.3g} per cell"
    (length, _), _ = cv2.getTextSize(right, _FONT, _SIZE, 1)
    for text, at in (("0", 4), (right, width - 4 - length)):
        cv2.putText(strip, text, (at, _BAR + _LINE), _FONT, _SIZE, _WHITE, 1, cv2.LINE_AA)
    return strip


def contact_sheet(pictures: Sequence[Picture], *, columns: int = 2, gap: int = 6) -> Picture:
    """Pictures side by side in rows, each scaled to the first one's width."""
    width = pictures[0].shape[1]
    fitted = [p if p.shape[1] == width else cv2.resize(p, (width, max(1, p.shape[0] * width // p.shape[1]))) for p in pictures]
    rows = []
    for start in range(0, len(fitted), columns):
        row = fitted[start : start + columns]
        height = max(p.shape[0] for p in row)
        line = np.full((height + gap, (width + gap) * columns, 3), 64, np.uint8)
        for place, picture in enumerate(row):
            line[: picture.shape[0], place * (width + gap) : place * (width + gap) + width] = picture
        rows.append(line)
    return np.concatenate(rows)


def encoded(picture: NDArray[np.generic]) -> bytes:
    """The picture as PNG. Raises ValueError when OpenCV cannot write it."""
    whole, png = cv2.imencode(".png", picture)
    if not whole:
        raise ValueError(f"an image of {picture.shape} cannot be written as PNG")
    data: bytes = png.tobytes()
    return data
