"""Paced timing and its summary: medians and 99th percentiles of what was really waited for."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Timing:
    """Milliseconds over `count` calls."""

    name: str
    count: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    def row(self, reference: Timing | None = None) -> str:
        """One line of a table, with ratios to `reference`."""
        ratio = "" if reference is None else f"{self.p50_ms / reference.p50_ms:>9.2f} x{self.p99_ms / reference.p99_ms:>8.2f} x"
        return f"{self.name:<44}{self.count:>7}{self.p50_ms:>9.2f}{self.p99_ms:>9.2f}{self.max_ms:>9.2f}{ratio}"


HEADER = f"{'':<44}{'calls':>7}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'p50 ratio':>11}{'p99 ratio':>10}"


def summary(name: str, milliseconds: list[float]) -> Timing:
    """Summarise measured calls."""
    values = np.asarray(milliseconds)
    return Timing(name, len(values), float(np.percentile(values, 50)), float(np.percentile(values, 99)), float(values.max()))


def paced(call: Callable[[], object], *, count: int, every_ms: float) -> list[float]:
    """Call `count` times, starting one call every `every_ms` on an absolute schedule; milliseconds of each call."""
    taken: list[float] = []
    gc.collect()
    gc.disable()
    try:
        due_ns = time.monotonic_ns()
        for _ in range(count):
            due_ns = max(due_ns + int(every_ms * 1e6), time.monotonic_ns())
            time.sleep(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
            start_ns = time.monotonic_ns()
            call()
            taken.append((time.monotonic_ns() - start_ns) / 1e6)
    finally:
        gc.enable()
    return taken
