"""How long one image takes on this machine: shipped graph, FP32 graph and the source's own runtime, measured in turns."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.inspector.engines.openvino import Compiler
from export.network import THREADS, Network

ROUNDS, CALLS, SOURCE_CALLS = 3, 20, 4
PAUSE_S = 0.25
"""PyTorch's threads go on spinning for a while after a call and would slow down whoever comes next."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds per image: medians, and the 99th percentile of what is shipped. No part of what is signed: it differs by run."""

    member: str
    shipped_ms: float
    shipped_p99_ms: float
    fp32_ms: float
    source_ms: float
    """PyTorch in FP32, or onnxruntime for ONNX sources."""
    threads: int = THREADS


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where latency was measured."""

    processor: str
    cores: int
    system: str


def measure_latency(network: Network, images: NDArray[np.uint8]) -> Latency:
    """Time single images u8 [1, 1, H, W], the three in turns of some calls, so that a slow minute hits all of them. Raises EngineError."""
    compiler = Compiler(threads=THREADS)
    data = images[0, 0].copy()
    shipped = compiler.compile(network.member, network.shipped, data)
    full = compiler.compile(msgspec.structs.replace(network.member, map=None), network.full, data)
    few = images[:SOURCE_CALLS]
    network.source.run(few[:1])
    times: dict[str, list[float]] = {"shipped": [], "fp32": [], "source": []}
    for _ in range(ROUNDS):
        time.sleep(PAUSE_S)
        times["shipped"] += _timed(shipped.run, CALLS)
        times["fp32"] += _timed(full.run, CALLS)
        times["source"] += [whole / len(few) for whole in _timed(lambda: network.source.run(few), 1)]
    return Latency(
        member=network.member.name,
        shipped_ms=float(np.median(times["shipped"])),
        shipped_p99_ms=float(np.quantile(times["shipped"], 0.99)),
        fp32_ms=float(np.median(times["fp32"])),
        source_ms=float(np.median(times["source"])),
    )


def _timed(call: Callable[[], object], count: int) -> list[float]:
    """Milliseconds of each of `count` calls, after one that does not count."""
    times = []
    if count > 1:
        call()
    for _ in range(count):
        started = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - started))
    return times


def this_machine() -> Machine:
    """The processor's name where Linux tells it."""
    name = platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a file one would look for
            name = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), name)
    except OSError:
        pass
    return Machine(processor=name, cores=os.cpu_count() or 1, system=f"{platform.system()} {platform.release()}")
