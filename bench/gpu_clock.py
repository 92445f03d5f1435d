"""GPU time between two events on a stream, the work queued behind long copies so that the host's launching does not show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from bench.gpu_parts import PATIENCE_MS
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.memory import DeviceMemory

AHEAD_MS = 2.0
"""Queued before the work: longer than the host takes to launch a frame's kernels, on a Jetson too."""
WARM_RUNS = 3


@dataclass(frozen=True, kw_only=True)
class GpuTimes:
    """Milliseconds of GPU time, one per run."""

    ms: tuple[float, ...]
    exposed: int
    """Runs that began before the host had queued all of them: these hold the host's time too."""


class GpuClock:
    """Two events and two blocks of memory that are copied from one to the other; frees the blocks at the end of its `with`."""

    def __init__(self, device: Device, stream: Any, block_bytes: int) -> None:
        self.device, self.stream, self.block_bytes = device, stream, block_bytes
        self._start, self._stop = device.event(timing=True), device.event(timing=True)
        self._from = device.device_memory(block_bytes)
        self._to: DeviceMemory = device.device_memory(block_bytes)
        self._copies = 1

    def __enter__(self) -> GpuClock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.device.lost is None:
            self._from.free()
            self._to.free()

    def copy(self) -> None:
        """Queue one copy of a block within the GPU."""
        self.device.driver.memcpy_dtod_async(self._to.address, self._from.address, self.block_bytes, self.stream)

    def keep_busy_for(self, copy_ms: float) -> None:
        """From now on queue as many copies of `copy_ms` ahead of the work as fill AHEAD_MS; they also empty the caches."""
        self._copies = max(1, min(64, round(AHEAD_MS / max(copy_ms, 1e-3) + 0.5)))

    def times(self, work: Callable[[], object], runs: int, *, warm: int = WARM_RUNS) -> GpuTimes:
        """Run `work`, which queues on the stream and waits for nothing, `runs` times after `warm` unmeasured ones. Raises GpuError."""
        for _ in range(warm):
            self._behind_copies(work)
        taken = [self._behind_copies(work) for _ in range(runs)]
        return GpuTimes(ms=tuple(ms for ms, _ in taken), exposed=sum(exposed for _, exposed in taken))

    def _behind_copies(self, work: Callable[[], object]) -> tuple[float, bool]:
        for _ in range(self._copies):
            self.copy()
        self._start.record(self.stream)
        return self._until_done(work)

    def _until_done(self, work: Callable[[], object]) -> tuple[float, bool]:
        work()
        self._stop.record(self.stream)
        exposed = bool(self._start.query())
        self.device.wait(self._stop, "a measured run", timeout_ms=PATIENCE_MS)
        return float(self._stop.time_since(self._start)), exposed
