"""One network and several at batch 1: INT8 beside FP16, with and without CUDA graphs, on one stream and on more."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.gpu_build import Built
from bench.gpu_clock import GpuClock
from bench.gpu_parts import PATIENCE_MS, Scale
from bench.timing import Timing, summary
from edge.inspector.cuda.device import Device
from edge.inspector.engines.tensorrt import TensorRTRuntime
from edge.inspector.engines.tensorrt_engine import TensorRTEngine


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is run how."""

    precision: str
    networks: int
    streams: int
    graphs: bool

    @property
    def name(self) -> str:
        """One row's head."""
        how = "graphs" if self.graphs else "no graphs"
        return f"{self.networks} x {self.precision}, {self.streams} stream{'s' * (self.streams > 1)}, {how}"


@dataclass(frozen=True, kw_only=True)
class EngineTimes:
    """One setting's milliseconds for all its networks together."""

    setting: Setting
    gpu: Timing
    """Between two events, launched before: the GPU's time alone."""
    call: Timing
    """From the call to outputs that the CPU can read, on an idle GPU."""
    captured: int
    """Networks that ran as CUDA graphs of ours."""
    exposed: int
    """Runs of `gpu` that hold some of the host's time as well."""
    notes: tuple[str, ...]


def settings(scale: Scale, precisions: Sequence[str]) -> Iterator[Setting]:
    """Every combination that makes sense: one network needs one stream."""
    for networks in dict.fromkeys((1, scale.typologies)):
        streams = (1,) if networks == 1 else scale.streams
        for precision, count, graphs in itertools.product(precisions, streams, (True, False)):
            yield Setting(precision=precision, networks=networks, streams=count, graphs=graphs)


def measure_engines(built: Sequence[Built], scale: Scale, copy_ms: float) -> tuple[EngineTimes, ...]:
    """All settings, one after the other. Raises EngineError or GpuError."""
    of_precision = {one.networks.precision: one for one in built}
    return tuple(_measure(of_precision[setting.precision], setting, scale, copy_ms) for setting in settings(scale, list(of_precision)))


def _measure(built: Built, setting: Setting, scale: Scale, copy_ms: float) -> EngineTimes:
    with _running(built, setting) as (device, stream, runtime, engines), GpuClock(device, stream, scale.block_bytes) as clock:
        clock.keep_busy_for(copy_ms)
        taken = clock.times(lambda: runtime.run(engines, stream), scale.runs)
        calls = []
        for _ in range(scale.runs):
            began_ns = time.monotonic_ns()
            device.wait(runtime.run(engines, stream), "a measured run", timeout_ms=PATIENCE_MS)
            calls.append((time.monotonic_ns() - began_ns) / 1e6)
        return EngineTimes(
            setting=setting,
            gpu=summary(setting.name, list(taken.ms)),
            call=summary(setting.name, calls),
            captured=sum(engine.graph for engine in engines),
            exposed=taken.exposed,
            notes=tuple(runtime.notes),
        )


@contextmanager
def _running(built: Built, setting: Setting) -> Iterator[tuple[Device, Any, TensorRTRuntime, list[TensorRTEngine]]]:
    """The setting's networks, ready to run on a weld that their first typology accepts."""
    device = Device(timeout_ms=PATIENCE_MS)
    config = built.config()
    try:
        with device.current():
            stream, image = device.stream(), built.networks.accepted[0]
            tensor, pinned = device.device_memory(image.nbytes), device.shared_memory(image.shape, image.dtype)
            pinned.host[...] = image
            device.driver.memcpy_htod_async(tensor.address, pinned.host, stream)
            runtime = TensorRTRuntime(device, built.backend, streams=setting.streams, graphs=setting.graphs, cache=config.cache)
            engines = [
                runtime.add(
                    member,
                    built.engine(typology, member),
                    shape=(image.shape[0], image.shape[1]),
                    input_address=tensor.address,
                    group=typology,
                )
                for typology, member in built.members(setting.networks)
            ]
            runtime.ready(stream)
            yield device, stream, runtime, engines
            runtime.close()
    finally:
        device.close()


def fastest(times: Sequence[EngineTimes], precision: str, networks: int) -> EngineTimes:
    """The setting with the least median of the GPU's time."""
    return min((t for t in times if (t.setting.precision, t.setting.networks) == (precision, networks)), key=lambda t: t.gpu.p50_ms)


def gain(times: Sequence[EngineTimes], networks: int) -> float:
    """How many times faster INT8 is than FP16, each at its best."""
    return fastest(times, "fp16", networks).gpu.p50_ms / max(1e-6, fastest(times, "int8", networks).gpu.p50_ms)
