"""One engine with its execution context, bound once to its input, its outputs, its scratch and its stream."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Member
from edge.engines.api import CudaEngineApi, ExecutionContextApi
from edge.engines.backend import Backend
from edge.errors import EngineError, GpuError
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.errors import RESTART
from edge.inspector.cuda.graphs import Graph, Graphs
from edge.inspector.cuda.memory import ALIGNMENT, SharedMemory
from edge.inspector.engines.lanes import Lane
from edge.inspector.engines.tensorrt_load import BUILD_AGAIN, Kernels, new_context

UNWRITTEN = 0xFFFFFFFF
"""Laid over the outputs before every execution: a NaN that no computation gives, so no old score outlives an engine that did not run."""


class TensorRTEngine:
    """A network on the GPU. Made by `TensorRTRuntime.add`, bound by its `ready`, executed by its `run`."""

    def __init__(
        self,
        backend: Backend,
        engine: CudaEngineApi,
        member: Member,
        *,
        features: int,
        input_address: int,
        group: int,
        lane: Lane,
        sha256: str,
    ) -> None:
        self.member, self.group, self.lane, self.sha256 = member, group, lane, sha256
        self.output: NDArray[np.float32] = np.full(len(member.classes), np.nan, np.float32)
        """Probabilities f32 (classes,), valid behind the event of a `run` until the next one; all NaN where the engine did not write."""
        self.embedding: NDArray[np.float32] | None = None if member.embedding is None else np.full(features, np.nan, np.float32)
        """f32 (features,), likewise, where the manifest declares one."""
        self.map: NDArray[np.float32] | None = None if member.map is None else np.full(member.map.shape, np.nan, np.float32)
        """f32 (rows, columns), likewise. An engine's outputs are fixed when it is built: it is computed whether asked for or not."""
        self.graph = False
        """Is it launched as a CUDA graph?"""
        self.start = 0
        """Byte of the memory for all outputs at which its own begin."""
        self.nbytes = _slot(self.output) + _slot(self.embedding) + _slot(self.map)
        """Bytes of its own outputs there."""
        self._backend, self._engine, self._input_address = backend, engine, input_address
        self._context: Any = None
        self._needed: tuple[object, ...] = ()
        self._captured: Graph | None = None

    @property
    def what(self) -> str:
        """What messages call it."""
        return f"network {self.member.name} ({self.member.file})"

    def bind(self, device: Device, outputs: SharedMemory, start: int, *, graphs: bool, kernels: Kernels | None) -> None:
        """Make the context and set its addresses, those of the outputs from byte `start` of `outputs` on. Raises GpuError."""
        context, self._needed = new_context(self._backend, self._engine, self.what, graphs=graphs, kernels=kernels)
        self._context, self._handle, self.start = context, self.lane.handle, start
        self._driver, self._address = device.driver, outputs.address + start
        scratch = self.lane.scratch
        assert scratch is not None
        context.set_device_memory(scratch.address, scratch.nbytes)
        addresses = {self.member.input: self._input_address, self.member.output: self._address}
        floats = outputs.host.view(np.float32)[start // 4 :]
        self.output = floats[: self.output.size]
        if self.member.embedding is not None and self.embedding is not None:
            behind = _slot(self.output)
            addresses[self.member.embedding] = self._address + behind
            self.embedding = floats[behind // 4 :][: self.embedding.size]
        if self.member.map is not None and self.map is not None:
            behind = _slot(self.output) + _slot(self.embedding)
            addresses[self.member.map.name] = self._address + behind
            self.map = floats[behind // 4 :][: self.map.size].reshape(self.member.map.shape)
        self._set(context, addresses)
        if self._engine.num_aux_streams:
            context.set_aux_streams([device.stream().handle for _ in range(self._engine.num_aux_streams)])

    def _set(self, context: ExecutionContextApi, addresses: dict[str, int]) -> None:
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                seen = f"{name} at {address:#x}: {self._backend.log.tail()}"
                raise GpuError(f"{self.what}: an address was refused", seen=seen, remedy=BUILD_AGAIN)

    def execute(self) -> bool:
        """Queue outputs laid over and the network behind them, on its lane; False where TensorRT could not."""
        self._driver.memset_d32_async(self._address, UNWRITTEN, self.nbytes // 4, self.lane.stream)
        done: bool = self._context.execute_async_v3(self._handle)
        return done

    def launch(self) -> None:
        """Queue the same, as a graph where there is one. Raises GpuError."""
        if self._captured is not None:
            self._captured.launch()
        else:
            self.queue()

    def queue(self) -> None:
        """`execute`. Raises GpuError where TensorRT could not."""
        if not self.execute():
            raise GpuError(f"{self.what} could not be started", seen=self._backend.log.tail(), remedy=RESTART)

    def capture(self, graphs: Graphs | None) -> str | None:
        """Make a graph of it, after its first executions are finished; returns why there is none."""
        if graphs is None:
            own = self._backend.features.own_graphs
            self.graph = own and self._context.is_stream_capturable(self._handle)
            return "TensorRT-RTX cannot capture it" if own and not self.graph else None
        self._captured = graphs.capture(self.lane.stream, self.execute)
        self.graph = self._captured is not None
        return graphs.reason

    def require_written(self) -> None:
        """Behind a first run: every output must have been written. Raises EngineError."""
        maps = "map" if self.member.map is None else self.member.map.name
        for name, values in ((self.member.output, self.output), (self.member.embedding, self.embedding), (maps, self.map)):
            if values is not None and (values.view(np.uint32) == UNWRITTEN).any():
                raise EngineError(f"{self.what} leaves values of {name} unwritten", seen=values[:8], remedy=BUILD_AGAIN)

    def close(self) -> None:
        """Graph, context, what it needed, and engine go, in this order; nothing of it may be running. Raises GpuError."""
        captured, self._captured = self._captured, None
        if captured is not None:
            captured.close()
        self._context = None
        self._needed = ()
        del self._engine
        self.output = np.full(self.output.size, np.nan, np.float32)
        self.embedding = None if self.embedding is None else np.full(self.embedding.size, np.nan, np.float32)
        self.map = None if self.map is None else np.full(self.map.shape, np.nan, np.float32)


def _slot(values: NDArray[np.float32] | None) -> int:
    """Bytes that these values take in the memory of all outputs."""
    return 0 if values is None else -(-values.nbytes // ALIGNMENT) * ALIGNMENT
