"""Bandwidth of copies within the GPU, to it and from it: what everything else of the same run is compared with."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from bench.gpu_clock import GpuClock
from bench.gpu_parts import PATIENCE_MS, Scale
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.errors import translated

COPIES = 20
HOST_SHARE = 4
"""Host copies are so much smaller than those within the GPU: pinned memory is scarce."""


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Medians in GB/s (10^9 bytes); a copy within the GPU reads and writes every byte, and both count."""

    block_bytes: int
    within: float
    within_ms: float
    """One block."""
    to_gpu: float
    from_gpu: float


def measure_copies(scale: Scale) -> Copies:
    """Copies of one block by events, from pinned memory where the host takes part. Raises GpuError."""
    device = Device(timeout_ms=PATIENCE_MS, zero_copy="off")
    try:
        with device.current(), translated("copies cannot be measured"):
            stream = device.stream()
            host = device.shared_memory(max(1, scale.block_bytes // HOST_SHARE), "u1")
            with GpuClock(device, stream, scale.block_bytes) as clock:
                within = statistics.median(clock.times(clock.copy, COPIES).ms)
                up = statistics.median(clock.times(lambda: host.upload(stream), COPIES).ms)
                down = statistics.median(clock.times(lambda: host.download(stream), COPIES).ms)
            host.free()
    finally:
        device.close()
    return Copies(
        block_bytes=scale.block_bytes,
        within=gigabytes_per_s(2 * scale.block_bytes, within),
        within_ms=within,
        to_gpu=gigabytes_per_s(host.nbytes, up),
        from_gpu=gigabytes_per_s(host.nbytes, down),
    )


def gigabytes_per_s(nbytes: float, ms: float) -> float:
    """10^9 bytes per second; a time too short to be seen counts as a microsecond."""
    return nbytes / max(ms, 1e-3) / 1e6
