"""All networks of a bundle resident on the GPU, run side by side on streams and joined by events; nobody waits in here but at start."""

from __future__ import annotations

import functools
import hashlib
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge.bundle import Member
from edge.engines.api import RuntimeApi
from edge.engines.backend import Backend
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.errors import translated
from edge.inspector.cuda.graphs import Graphs
from edge.inspector.cuda.memory import ALIGNMENT, SharedMemory
from edge.inspector.engines.lanes import Lane, Lanes
from edge.inspector.engines.tensorrt_engine import TensorRTEngine
from edge.inspector.engines.tensorrt_load import deserialise, new_runtime
from edge.inspector.engines.tensorrt_match import match
from edge.inspector.engines.tensorrt_rtx import KernelFiles

WARM_UP = 3
"""Executions before a graph is captured: the first ones load kernels, allocate, and let TensorRT-RTX capture its own."""
FIRST_RUN_MS = 60_000.0
"""A first execution may compile kernels."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What `run` needs to know of a choice of engines."""

    lanes: tuple[Lane, ...]
    outputs: tuple[tuple[int, int], ...]
    """(first byte, bytes) of their outputs, neighbours joined."""


class TensorRTRuntime:
    """Engines of one bundle: `add` them all, make them `ready` once, then `run` any choice of them, and `close`.

    `run` wants the device's context current. Frames must come one after another: a `run` may begin when the event of the one before
    was waited for, or on the same stream.
    """

    def __init__(self, device: Device, backend: Backend, *, streams: int = 4, graphs: bool = True, cache: Path | None = None) -> None:
        """`graphs` allows CUDA graphs, `cache` is the folder for kernels compiled by TensorRT-RTX. Raises GpuError, EngineError."""
        self._device, self._backend, self._wants_graphs = device, backend, graphs
        version = ".".join(map(str, device.driver_version))
        major, minor = device.compute_capability
        self.name = f"{backend.name} {backend.version} {device.name} sm_{major}{minor}"
        """What records call it, such as `tensorrt 10.3.0 Orin sm_87`."""
        self.notes: list[str] = []
        """What is not as it could be, and why: no graph, no cache, what TensorRT warned of; for the log."""
        self._graphs = Graphs() if graphs and not backend.features.own_graphs else None
        keeps = cache is not None and backend.features.runtime_cache
        self._kernels = KernelFiles(cache, version=f"{backend.version} {device.name} CUDA {version}") if keeps and cache else None
        self._engines: list[TensorRTEngine] = []
        self._plans: dict[tuple[TensorRTEngine, ...], _Plan] = {}
        self._outputs: SharedMemory | None = None
        with device.current():
            self._runtime: RuntimeApi | None = new_runtime(backend)
            self._lanes = Lanes(device, streams)
            self._begin, self._finished = device.event(), device.event(timing=True)
        device.keep(self)

    def add(self, member: Member, data: bytes, *, shape: tuple[int, int], input_address: int, group: str) -> TensorRTEngine:
        """The engine in `data` for heightmaps u8 `shape` (height, width) at `input_address`; those of one `group` run side by side.

        `data` must be what the box's key signed. Raises EngineError when it is no engine for this box or not what the manifest says.
        """
        if self._runtime is None or self._outputs is not None or input_address % ALIGNMENT:
            raise ValueError(f"{member.name}: the runtime takes no more engines, or {input_address:#x} is no address for one")
        what = f"network {member.name} ({member.file})"
        with self._device.current(), _letting_go(), translated(f"{what} cannot be loaded"):
            made = self._load(self._runtime, member, data, what, shape=shape, input_address=input_address, group=group)
        self.notes += [f"{what}: {warning}" for warning in self._backend.log.of("warning")]
        self._engines.append(made)
        return made

    def _load(
        self, runtime: RuntimeApi, member: Member, data: bytes, what: str, *, shape: tuple[int, int], input_address: int, group: str
    ) -> TensorRTEngine:
        engine = deserialise(self._backend, runtime, data, what)
        features = match(self._backend.api, engine, member, shape)
        number, lane = self._lanes.assign(group, engine.device_memory_size_v2)
        sha256 = hashlib.sha256(data).hexdigest()
        return TensorRTEngine(
            self._backend, engine, member, features=features, input_address=input_address, group=number, lane=lane, sha256=sha256
        )

    def ready(self, after: Any) -> None:
        """Allocate everything, run every engine a few times, capture graphs, and run all once behind the stream `after`.

        Raises GpuError, and EngineError for an engine that does not write its outputs.
        """
        if self._outputs is not None:
            raise ValueError("the runtime was made ready before")
        # One group's outputs lie together: one copy brings them all.
        self._engines.sort(key=lambda engine: engine.group)
        with self._device.current(), _letting_go(), translated("the networks cannot be made ready"):
            self._lanes.allocate()
            total = sum(engine.nbytes for engine in self._engines)
            self._outputs = self._device.shared_memory(max(total, ALIGNMENT) // 4, np.float32)
            self._bind_all(self._outputs)
            self._prove(after)

    def _bind_all(self, outputs: SharedMemory) -> None:
        start = 0
        for engine in self._engines:
            self._bind(engine, outputs, start)
            start += engine.nbytes
        if self._kernels is not None:
            self._kernels.keep()
            self.notes += self._kernels.notes

    def _bind(self, engine: TensorRTEngine, outputs: SharedMemory, start: int) -> None:
        kernels = None if self._kernels is None else functools.partial(self._kernels.attach, engine_sha256=engine.sha256)
        engine.bind(self._device, outputs, start, graphs=self._wants_graphs, kernels=kernels)
        for _ in range(WARM_UP):
            self._first(engine)
        reason = engine.capture(self._graphs) if self._wants_graphs else None
        if reason is not None:
            self.notes.append(f"{engine.what} runs without a CUDA graph: {reason}")
            # CUDA's runtime keeps the refusal as its last error, and TensorRT may take it for its next execution's own.
            engine.execute()
            self._first(engine)

    def _first(self, engine: TensorRTEngine) -> None:
        """One execution, waited for as long as compiling may take."""
        engine.queue()
        engine.lane.done.record(engine.lane.stream)
        self._device.wait(engine.lane.done, f"the first run of {engine.what}", timeout_ms=FIRST_RUN_MS)

    def _prove(self, after: Any) -> None:
        """All of them the way frames take."""
        if self._engines:
            self._device.wait(self.run(self._engines, after), "the first run of all networks", timeout_ms=FIRST_RUN_MS)
        for engine in self._engines:
            engine.require_written()

    def run(self, engines: Sequence[TensorRTEngine], after: Any) -> Any:
        """Queue `engines` side by side behind what is on the stream `after`; their outputs count behind the event returned (with timing).

        Everything later on `after` waits for them. Raises GpuError when one cannot be started.
        """
        chosen, outputs = tuple(engines), self._outputs
        assert outputs is not None, "not ready"
        plan = self._plans.get(chosen) or self._plan(chosen)
        with translated("the networks could not be started"):
            self._begin.record(after)
            for lane in plan.lanes:
                lane.stream.wait_for_event(self._begin)
            for engine in chosen:
                engine.launch()
            for lane in plan.lanes:
                lane.done.record(lane.stream)
                after.wait_for_event(lane.done)
            for start, nbytes in plan.outputs:
                outputs.download(after, nbytes, offset=start)
            self._finished.record(after)
        return self._finished

    def _plan(self, engines: tuple[TensorRTEngine, ...]) -> _Plan:
        """Made once for every choice of engines that occurs."""
        ranges: list[tuple[int, int]] = []
        for engine in sorted(engines, key=lambda engine: engine.start):
            first, nbytes = ranges.pop() if ranges and sum(ranges[-1]) == engine.start else (engine.start, 0)
            ranges.append((first, nbytes + engine.nbytes))
        plan = self._plans[engines] = _Plan(tuple(dict.fromkeys(engine.lane for engine in engines)), tuple(ranges))
        return plan

    def close(self) -> None:
        """Wait for what runs, then free in order: graphs and contexts, engines, memory, streams. Raises GpuError.

        On a GPU that does not answer nothing is freed. A second call does nothing.
        """
        if self._runtime is None or self._device.lost is not None:
            return
        with self._device.current(), translated("the networks cannot be freed"):
            self._device.settle("the networks' last work")
            for engine in self._engines:
                engine.close()
            self._runtime = None
            if self._outputs is not None:
                self._outputs.free()
            self._lanes.close()
            self._device.drop(self, self._begin, self._finished)
            del self._begin, self._finished


@contextmanager
def _letting_go() -> Iterator[None]:
    """An error keeps the variables of the functions it left; an engine among them must not outlive the context."""
    try:
        yield
    except BaseException as exc:
        traceback.clear_frames(exc.__traceback__)
        raise
