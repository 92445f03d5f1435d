"""What frames are judged on: memory that holds heightmaps, and engines that read it. The CPU is here, the GPU in `edge.inspector.gpu`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Member
from edge.inspector.engines.openvino import Compiler
from edge.inspector.engines.openvino import Engine as CpuEngine
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.inspector.scan import Scan


class Engine(Protocol):
    """One network, compiled and bound to the memory of one preparation."""

    @property
    def member(self) -> Member:
        """The network as the manifest describes it."""

    @property
    def output(self) -> NDArray[np.float32]:
        """Probabilities f32 (classes,) of the last `Machine.run`, overwritten by the next."""

    @property
    def map(self) -> NDArray[np.float32] | None:
        """What each cell f32 (rows, columns) added to the log-odds of bad, likewise; None where there is none or nobody asked."""


class Preparation(Protocol):
    """One heightmap spec with the memory its networks read: prepared once per frame, however many engines share it."""

    @property
    def spec(self) -> HeightmapSpec:
        """What is prepared."""

    def prepare(self, scan: Scan) -> None:
        """Make the heightmap of the frame taken last, or begin to. Raises FrameError for what can be seen at once."""


class Machine(Protocol):
    """Where preparations and engines live. All of them are made first, then `ready` is called once, then frames come."""

    @property
    def name(self) -> str:
        """The runtime, its version and the processor, as every record names it."""

    @property
    def prepared_ns(self) -> int:
        """CLOCK_MONOTONIC when the heightmaps of the last `run` were ready."""

    def preparation(self, spec: HeightmapSpec) -> Preparation:
        """Memory and steps for `spec`. Raises EngineError."""

    def engine(self, member: Member, onnx: memoryview, preparation: Preparation, typology: str | None) -> Engine:
        """An engine for `member` (of the router where `typology` is None), whose verified network is `onnx`. Raises EngineError."""

    def ready(self) -> None:
        """Everything is made: allocate what is shared, and run every engine until it is warm. Raises EngineError."""

    def take(self, scan: Scan) -> None:
        """A new frame; its preparations follow."""

    def run(self, engines: Sequence[Engine]) -> None:
        """Run `engines` on the heightmaps just prepared and wait for them. Raises EngineError or, for what only now shows, FrameError."""

    def warm(self, engines: Sequence[Engine]) -> None:
        """Run `engines` on whatever lies there, so that caches and clocks are up when a frame comes. Raises EngineError."""

    def close(self) -> None:
        """Free everything, in order."""


def prepare_and_run(machine: Machine, scan: Scan, preparations: Sequence[Preparation], engines: Sequence[Engine]) -> None:
    """The way of every frame and golden input; afterwards the outputs of `engines` are about `scan`. Raises FrameError or EngineError."""
    machine.take(scan)
    for preparation in preparations:
        preparation.prepare(scan)
    machine.run(engines)


class CpuPreparation:
    """The reference implementation, writing into memory that OpenVINO reads."""

    def __init__(self, spec: HeightmapSpec) -> None:
        self.spec = spec
        self._preparer = Preparer(spec)
        self.data = np.zeros((spec.height, spec.width), np.uint8)

    def prepare(self, scan: Scan) -> None:
        """Fill `data`. Raises FrameError."""
        self._preparer.prepare(
            scan.image,
            kind=scan.kind,
            z_scale_mm=scan.z_scale_mm,
            z_offset_mm=scan.z_offset_mm,
            no_data=scan.no_data,
            out=self.data,
        )


class CpuMachine:
    """OpenVINO on this box's CPU, with `threads` threads per engine; one engine after the other; `maps`: compute them too."""

    def __init__(self, *, threads: int, maps: bool = False) -> None:
        self._compiler = Compiler(threads=threads, maps=maps)
        self.name = self._compiler.backend
        self.prepared_ns = 0
        self._engines: list[CpuEngine] = []

    def preparation(self, spec: HeightmapSpec) -> CpuPreparation:
        """The CPU's preparation of `spec`."""
        return CpuPreparation(spec)

    def engine(self, member: Member, onnx: memoryview, preparation: Preparation, typology: str | None) -> CpuEngine:  # noqa: ARG002
        """Compile `onnx`. Raises EngineError."""
        assert isinstance(preparation, CpuPreparation), preparation
        engine = self._compiler.compile(member, onnx, preparation.data)
        self._engines.append(engine)
        return engine

    def ready(self) -> None:
        """OpenVINO allocated and compiled everything when the engines were made."""

    def take(self, scan: Scan) -> None:
        """The image is read where it lies."""

    def run(self, engines: Sequence[Engine]) -> None:
        """One after the other: each uses all threads. Raises EngineError."""
        self.prepared_ns = time.monotonic_ns()
        self.warm(engines)

    def warm(self, engines: Sequence[Engine]) -> None:
        """Run `engines`. Raises EngineError."""
        for engine in engines:
            assert isinstance(engine, CpuEngine), engine
            engine.run()

    def close(self) -> None:
        """OpenVINO frees its memory with its objects."""
