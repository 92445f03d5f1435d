"""What every part of the GPU benchmark shares: how much is measured, and what a part that could not be measured says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from edge.errors import CordonError

MIB = 1 << 20
PATIENCE_MS = 120_000.0
"""Nothing measured here hangs by taking long."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much is measured."""

    cloud: tuple[int, int]
    """(rows, cols) of the big point cloud."""
    block_bytes: int
    """Of the copies whose bandwidth everything is compared with: more than any cache."""
    runs: int
    """Of heightmaps and engines, each timed by itself."""
    cpu_runs: int
    typologies: int
    """Networks that run together, beside one alone."""
    streams: tuple[int, ...]
    frames: int
    """Judged in this process, after `warm_frames` unmeasured ones."""
    warm_frames: int
    line_frames: int
    """Judged by the daemons, trigger to verdict; 0 leaves that out."""
    agreement: int
    """Images on which GPU and CPU are compared, at most."""


FULL = Scale(
    cloud=(1200, 1944),
    block_bytes=256 * MIB,
    runs=500,
    cpu_runs=10,
    typologies=9,
    streams=(1, 2, 4),
    frames=1000,
    warm_frames=20,
    line_frames=400,
    agreement=64,
)
QUICK = Scale(
    cloud=(75, 120), block_bytes=MIB, runs=3, cpu_runs=2, typologies=2, streams=(1, 2), frames=3, warm_frames=1, line_frames=5, agreement=4
)
"""Shows that everything runs; its figures are worth nothing."""


@dataclass(frozen=True)
class Skipped:
    """A part that needs what is not here."""

    reason: str


@dataclass(frozen=True)
class Failed:
    """A part that should have worked."""

    reason: str


T = TypeVar("T")


class MissingError(CordonError):
    """A part cannot be measured here: what it needs is missing."""


def attempt(part: Callable[[], T]) -> T | Skipped | Failed:
    """What `part` measured, or why it did not; errors that nobody foresaw go through."""
    try:
        return part()
    except MissingError as exc:
        return Skipped(str(exc))
    except CordonError as exc:
        return Failed(f"{type(exc).__name__}: {exc}")
