"""What tells two scans of one weld from two welds of one kind: their fine relief, without shape, brightness and place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

F32 = NDArray[np.float32]
Gray = NDArray[np.uint8]
"""A prepared heightmap [height, width], 0 = no data."""

SIZE = (128, 352)
"""Scans are compared at this size, whatever size the network takes: smaller ones have lost the relief."""
FINE_PX, COARSE_PX = 1.2, 6.0
"""Gaussian widths of the band that is kept: finer is the sensor's noise, coarser the shape that all welds of a kind share."""
FLOOR = 8.0
"""Gray levels of relief below which a region is not amplified any further: there is only noise."""
STEP = 12.0
"""Gray levels to which the band is clipped: a step of the shape must not outweigh the relief."""
HOLE = np.ones((3, 3), np.uint8)
"""Lost pixels that fit in here are bridged."""
BORDER = np.ones((7, 7), np.uint8)
"""This far around larger holes nothing is compared: the outline of a bead is its kind's, not its own."""
LUMP = np.ones((5, 5), np.uint8)
"""What only one of two scans shows counts when this fits in."""
CLEAR = 20
"""Gray levels by which a place clearly differs."""
RAREST = 0.02
"""Frequencies weaker than this share of the strongest are not amplified any further."""
FREQUENCIES = 2048
LARGEST_SHIFT = 0.15
"""Of height and width, between two scans of one weld."""
LEAST_OVERLAP = 0.6
"""Of the larger relief, that both must show."""


def relief_of(image: Gray) -> F32:
    """f32 [height, width]: the band-passed relief in units of its local strength, 0 where it cannot be told."""
    valid = (image > 0).astype(np.float32)
    gray = image.astype(np.float32)
    band = np.clip(_mean(gray, valid, FINE_PX) - _mean(gray, valid, COARSE_PX), -STEP, STEP)
    bridged = cv2.morphologyEx(valid, cv2.MORPH_CLOSE, HOLE)
    inner = cv2.erode(bridged, BORDER, borderType=cv2.BORDER_CONSTANT, borderValue=1.0).astype(np.float32)
    strength = np.sqrt(_mean(np.square(band), inner, 2 * COARSE_PX))
    return np.asarray(np.clip(band / (strength + FLOOR), -3.0, 3.0) * inner, dtype=np.float32)


def common_strength(reliefs: Iterable[F32]) -> F32:
    """f32 [height, width // 2 + 1]: how strong each frequency is in the reliefs on average, the strongest 1.

    Ripples and parallel passes, which all welds of a kind have, are strong here. Raises ValueError without any relief.
    """
    total, count = None, 0
    for relief in reliefs:
        power = np.square(np.abs(fft.rfft2(relief)))
        total = power if total is None else total + power
        count += 1
    if total is None:
        raise ValueError("no relief")
    strength = np.sqrt(total / count)
    return np.asarray(strength / max(float(strength.max()), 1e-6), dtype=np.float32)


def whiten(relief: F32, strength: F32) -> F32:
    """f32 [height, width], standard deviation about 1: the relief less what its kind has in common, by dividing by `strength`."""
    told = relief != 0
    if not told.any():
        return relief
    weight = _gain(relief.shape) / np.maximum(strength, RAREST)
    own = fft.irfft2(fft.rfft2(relief) * weight, s=relief.shape) * told
    return np.asarray(np.clip(own / (own[told].std() + 1e-6), -3.0, 3.0), dtype=np.float32)


def spectrum_of(relief: F32) -> F32:
    """f32 [FREQUENCIES], mean 0, length 1: strengths of the band's frequencies, which a shift leaves alone."""
    chosen = np.sqrt(np.abs(fft.rfft2(relief)[_frequencies(relief.shape)]))
    chosen -= chosen.mean()
    return np.asarray(chosen / (np.linalg.norm(chosen) + 1e-6), dtype=np.float32)


def likeness(first: F32, second: F32) -> tuple[float, tuple[int, int]]:
    """Correlation of two reliefs of one size, -1 to 1, with `second` moved to where it fits best; and that move in rows and columns."""
    shape = first.shape
    together = fft.irfft2(fft.rfft2(first) * np.conj(fft.rfft2(second)), s=shape)
    rows, columns = _moves(shape[0]), _moves(shape[1])
    near = together[np.ix_(rows % shape[0], columns % shape[1])]
    best = np.unravel_index(int(near.argmax()), near.shape)
    move = int(rows[best[0]]), int(columns[best[1]])
    here, there = overlap(first, second, move)
    both = (here != 0) & (there != 0)
    largest = max(int(np.count_nonzero(first)), int(np.count_nonzero(second)), 1)
    if int(np.count_nonzero(both)) < LEAST_OVERLAP * largest:
        return 0.0, move
    a, b = here[both], there[both]
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-6)), move


def overlap(first: NDArray[Any], second: NDArray[Any], move: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The parts of both that show the same place when `second` is moved by `move` rows and columns; views."""
    here, there = [], []
    for side, step in zip(first.shape, move, strict=True):
        here.append(slice(max(step, 0), side + min(step, 0)))
        there.append(slice(max(-step, 0), side + min(-step, 0)))
    return first[tuple(here)], second[tuple(there)]


def difference(first: Gray, second: Gray, move: tuple[int, int]) -> tuple[Gray, int]:
    """Where two registered scans differ: u8 [height, width] of gray levels on `first`'s pixels, and how many pixels do so clearly.

    Gain and offset are fitted first. A region that only one of them shows counts as 255 unless it is thin, as outlines and lost
    pixels are.
    """
    here, there = (part.astype(np.float32) for part in overlap(first, second, move))
    both = (here > 0) & (there > 0)
    if np.count_nonzero(both) < 2:
        return np.zeros_like(first), 0
    gap = np.zeros_like(here)
    gap[both] = np.abs(here[both] - _fitted(there[both], here[both]))
    gap = cv2.medianBlur(np.clip(gap, 0, 255).astype(np.uint8), 5)
    lost = cv2.morphologyEx(((here > 0) != (there > 0)).astype(np.uint8), cv2.MORPH_OPEN, LUMP)
    gap[lost > 0] = 255
    shown = np.zeros_like(first)
    overlap(shown, shown, move)[0][:] = gap
    return shown, int(np.count_nonzero(cv2.morphologyEx((gap > CLEAR).astype(np.uint8), cv2.MORPH_OPEN, HOLE)))


def _moves(side: int) -> NDArray[np.int64]:
    reach = round(side * LARGEST_SHIFT)
    return np.arange(-reach, reach + 1)


def _fitted(values: F32, to: F32) -> F32:
    """`values` with the gain and offset that bring their median and spread to those of `to`."""
    low, middle, high = np.percentile(values, (10, 50, 90))
    wanted_low, wanted, wanted_high = np.percentile(to, (10, 50, 90))
    gain = (wanted_high - wanted_low) / (high - low) if high > low else 1.0
    return np.asarray((values - middle) * gain + wanted, dtype=np.float32)


def _mean(image: F32, weight: F32, sigma: float) -> F32:
    """The Gaussian mean of the valid pixels only."""
    total = cv2.GaussianBlur(image * weight, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(total / (cv2.GaussianBlur(weight, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT) + 1e-6), dtype=np.float32)


def _gain(shape: tuple[int, ...]) -> F32:
    """The band's transmission per frequency, f32 [height, width // 2 + 1]."""
    squared = (2 * np.pi) ** 2 * (np.square(fft.fftfreq(shape[0]))[:, None] + np.square(fft.rfftfreq(shape[1]))[None, :])
    return np.asarray(np.exp(-squared * FINE_PX**2 / 2) - np.exp(-squared * COARSE_PX**2 / 2), dtype=np.float32)


def _frequencies(shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which entries of the half spectrum are compared: those that pass the band best."""
    gain = _gain(shape)
    order = np.sort(np.argsort(-gain, axis=None, kind="stable")[:FREQUENCIES])
    rows, columns = np.unravel_index(order, gain.shape)
    return rows, columns
