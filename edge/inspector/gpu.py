"""The GPU as a machine: a frame goes up once, its heightmaps are made there, engines run side by side, and one wait ends it all."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import cast

from edge.bundle import Bundle, Member
from edge.config import GpuConfig
from edge.engines.backend import BackendChoice, load_backend
from edge.engines.box import box_facts
from edge.engines.store import EngineStore
from edge.engines.trust import open_engine
from edge.errors import GpuError
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.errors import translated
from edge.inspector.cuda.leave import give_up
from edge.inspector.engines.tensorrt import TensorRTRuntime
from edge.inspector.engines.tensorrt_engine import TensorRTEngine
from edge.inspector.heightmap.cuda import CudaPreparer, FrameUpload, Kernels
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.inspector.machine import Engine, Preparation
from edge.inspector.scan import Scan

NS_PER_MS = 1_000_000
ROUTER = "router"

log = logging.getLogger("cordon.inspector")


class GpuPreparation:
    """The heightmap of one spec in the GPU's memory; all engines of the spec read it where it is made."""

    def __init__(self, machine: GpuMachine, preparer: CudaPreparer) -> None:
        self._machine = machine
        self.preparer = preparer
        self.spec = preparer.spec
        self.frame = 0
        """Number of the frame that was prepared last."""

    def prepare(self, scan: Scan) -> None:
        """Queue the kernels. Raises FrameError for what the host can see; the rest shows in `Machine.run`."""
        self.preparer.enqueue(scan, self._machine.raw)
        self.frame = self._machine.frame


class GpuMachine:
    """One GPU with TensorRT. Belongs to the thread that made it, in which the GPU's context stays current until `close`."""

    def __init__(self, bundle: Bundle, backend: BackendChoice, config: GpuConfig) -> None:
        """Raises EngineError (TensorRT, the folder of the engines) or GpuError (driver, GPU, kernels)."""
        loaded = load_backend(backend)
        self._bundle, self._config = bundle, config
        self._store, self._box = EngineStore(config.engines), box_facts(loaded)
        self._device = Device(timeout_ms=config.timeout_ms, zero_copy=config.zero_copy)
        self._context, self._engines, self._frames = ExitStack(), ExitStack(), ExitStack()
        try:
            self._context.enter_context(self._device.current())
            self._stream = self._device.stream()
            self._prepared = self._device.event(timing=True)
            self._kernels = Kernels(self._device)
            self._upload = FrameUpload(self._device, self._stream)
            self._frames.callback(self._upload.close)
            self._runtime = TensorRTRuntime(self._device, loaded, streams=config.streams, graphs=config.graphs, cache=config.cache)
            self._engines.callback(self._runtime.close)
        except BaseException:
            self.close()
            raise
        self.name = self._runtime.name
        self.prepared_ns = 0
        self.frame = 0
        """Number of the frame taken last."""
        self.raw = 0
        """Where its bytes are on the GPU."""
        self._preparation_of: dict[TensorRTEngine, GpuPreparation] = {}

    # -- making

    def preparation(self, spec: HeightmapSpec) -> GpuPreparation:
        """Memory and kernels for `spec`. Raises GpuError."""
        preparer = CudaPreparer(spec, self._device, self._kernels, self._stream)
        self._frames.callback(preparer.close)
        return GpuPreparation(self, preparer)

    def engine(self, member: Member, onnx: memoryview, preparation: Preparation, typology: str | None) -> TensorRTEngine:  # noqa: ARG002
        """The engine that this box built and signed for the network `onnx`. Raises EngineError or GpuError."""
        assert isinstance(preparation, GpuPreparation), preparation
        shape = (preparation.spec.height, preparation.spec.width)
        trusted = open_engine(
            self._store,
            self._bundle,
            member,
            typology=typology,
            shape=shape,
            box=self._box,
            keys=self._config.box_keys,
            compute_capability=self._device.compute_capability,
        )
        engine = self._runtime.add(
            member, trusted.data, shape=shape, input_address=preparation.preparer.tensor.address, group=typology or ROUTER
        )
        self._preparation_of[engine] = preparation
        return engine

    def ready(self) -> None:
        """Allocate what engines share, warm them up and capture their graphs. Raises GpuError."""
        self._runtime.ready(self._stream)
        for note in self._runtime.notes:
            log.info("%s", note)

    # -- judging

    def take(self, scan: Scan) -> None:
        """Send a frame's bytes up. Raises GpuError."""
        self.frame += 1
        self.raw = self._upload.take(scan)

    def run(self, engines: Sequence[Engine]) -> None:
        """Run `engines` side by side behind their heightmaps and wait once. Raises GpuError, or FrameError for what the kernels found."""
        ours = cast("Sequence[TensorRTEngine]", engines)
        preparations = self._prepared_for(ours)
        with translated("a heightmap cannot be timed"):
            self._prepared.record(self._stream)
        finished = self._runtime.run(ours, self._stream)
        self._device.wait(finished, "judging a frame")
        finished_ns = time.monotonic_ns()
        for preparation in preparations:
            preparation.preparer.settle()
        with translated("a heightmap cannot be timed"):
            self.prepared_ns = finished_ns - int(finished.time_since(self._prepared) * NS_PER_MS)

    def warm(self, engines: Sequence[Engine]) -> None:
        """Run `engines` on whatever lies there. Raises GpuError."""
        ours = cast("Sequence[TensorRTEngine]", engines)
        self._device.wait(self._runtime.run(ours, self._stream), "warming the engines")

    def _prepared_for(self, engines: Sequence[TensorRTEngine]) -> tuple[GpuPreparation, ...]:
        """The heightmaps that `engines` will read; each must be of the frame taken last."""
        found = {id(preparation): preparation for preparation in (self._preparation_of[engine] for engine in engines)}
        for preparation in found.values():
            if preparation.frame != self.frame:
                seen = f"frame {preparation.frame}, now {self.frame}"
                raise GpuError(
                    "an engine would judge another frame's heightmap", seen=seen, remedy="Report this: the inspector is at fault"
                )
        return tuple(found.values())

    def close(self) -> None:
        """Engines, heightmaps, context, in this order. A GPU that does not answer is left alone; the process must then `leave`."""
        try:
            if self._device.lost is None:
                self._engines.close()
                self._frames.close()
                self._context.close()
                self._device.close()
        except GpuError as exc:
            log.warning("the GPU was not left in order: %s", exc)
            self._device.lost = str(exc)
        if self._device.lost is not None:
            self._device.abandon()
            give_up(self)  # collected, it would take a context off that nobody may touch


def open_gpu(bundle: Bundle, backend: BackendChoice, config: GpuConfig) -> GpuMachine:
    """The GPU for `bundle`. Raises EngineError or GpuError."""
    return GpuMachine(bundle, backend, config)
