"""IExecutionContext: addresses set by name, work enqueued on a stream; everything that goes wrong is a False."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from trt_standin import driver
from trt_standin.binding import integer, only, require
from trt_standin.faults import strikes
from trt_standin.logger import Voice
from trt_standin.memory import Block, take
from trt_standin.plan import TensorSpec
from trt_standin.reporting import count, violation
from trt_standin.rtx import IRuntimeCache, IRuntimeConfig, compile_for
from trt_standin.values import Dims, invalid
from trt_standin.voiced import Voiced
from trt_standin.work import RUN, Execution, Place, Turn

if TYPE_CHECKING:
    from trt_standin.engine import ICudaEngine

ALIGNMENT = 256
_PERSISTENT, _LAZY = 4096, 16384
_FIRST_MS = 2.0
"""The first enqueue takes longer, as lazy loading makes it."""


class IExecutionContext(Voiced):
    """One execution at a time, from one thread at a time; keeps its engine alive."""

    __slots__ = (
        "_addresses",
        "_blocks",
        "_cache",
        "_config",
        "_consumed",
        "_engine",
        "_executions",
        "_lock",
        "_name",
        "_own_graphs",
        "_scratch",
        "_stale",
        "_strategy",
        "_turn",
        "_warm",
    )
    _consumed: int
    _engine: ICudaEngine
    _lock: Any
    _name: str
    _own_graphs: bool
    _config: weakref.ref[IRuntimeConfig] | None
    _cache: weakref.ref[IRuntimeCache] | None
    _scratch: tuple[int, int] | None
    _stale: bool
    """A refused capture left its error behind, which the next execution takes for its own."""
    _strategy: Any
    _turn: Turn
    _warm: bool
    _blocks: list[Block]
    _executions: dict[Any, Execution]
    _addresses: dict[str, int]

    def __del__(self) -> None:
        for execution in getattr(self, "_executions", {}).values():
            execution.forget()
        if hasattr(self, "_blocks"):
            count("contexts", -1, born=self._blocks[0].born)
            for block in self._blocks:
                block.free()

    @property
    def engine(self) -> ICudaEngine:
        return self._engine

    @property
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @property
    def active_optimization_profile(self) -> int:
        return 0

    @property
    def all_binding_shapes_specified(self) -> bool:
        return True

    @only("10.16", "11.4", "rtx")
    def get_runtime_config(self) -> IRuntimeConfig | None:
        return self._config and self._config()

    def get_tensor_shape(self, name: str) -> Dims:
        spec = self._spec(name, "getTensorShape")
        return invalid(self._api.dims) if spec is None else self._api.dims(spec.shape)

    def set_input_shape(self, name: str, shape: Any) -> bool:
        spec = self._spec(name, "setInputShape")
        wanted = tuple(integer(size, "set_input_shape") for size in shape)
        if spec is None or spec.output or wanted != spec.shape:
            self._voice.error(f"IExecutionContext::setInputShape: Error Code 3: API Usage Error ({wanted} is no shape for {name}.)")
            return False
        return True

    def infer_shapes(self) -> list[str]:
        return []

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        integer(stream_handle, "set_optimization_profile_async")
        if integer(profile_index, "set_optimization_profile_async") != 0:
            raise RuntimeError(f"Error in set optimization profile: {profile_index} is out of range.")
        return True

    def update_device_memory_size_for_shapes(self) -> int:
        return self._engine.device_memory_size_v2

    def get_max_output_size(self, name: str) -> int:
        spec = self._spec(name, "getMaxOutputSize")
        return -1 if spec is None else self._place(spec, 0).nbytes

    def set_device_memory(self, memory: int, size: int) -> None:
        address, nbytes = integer(memory, "set_device_memory"), integer(size, "set_device_memory")
        needed = self._engine.device_memory_size_v2
        managed = self._strategy == self._api.enums["ExecutionContextAllocationStrategy"].USER_MANAGED
        if not managed or nbytes < needed or address % ALIGNMENT or (needed and not address):
            self._voice.error(
                f"IExecutionContext::setDeviceMemoryV2: Error Code 3: API Usage Error ({nbytes} bytes at {address:#x}, needed {needed})"
            )
            return
        self._scratch = (address, needed)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        with self._alone("set_tensor_address"):
            address = integer(memory, "set_tensor_address")
            if self._spec(name, "setTensorAddress") is None or strikes("address") is not None:
                return False
            if address % ALIGNMENT:
                text = f"{name}: {address:#x} is not aligned to {ALIGNMENT} bytes"
                self._voice.error(f"IExecutionContext::setTensorAddress: Error Code 3: API Usage Error ({text})")
                return False
            self._addresses[name] = address
            return True

    def get_tensor_address(self, name: str) -> int:
        self._spec(name, "getTensorAddress")
        return self._addresses.get(name, 0)

    def set_input_consumed_event(self, event: int) -> bool:
        self._consumed = integer(event, "set_input_consumed_event")
        return True

    def get_input_consumed_event(self) -> int:
        return self._consumed

    def set_aux_streams(self, aux_streams: Sequence[int]) -> None:
        for stream in aux_streams:
            integer(stream, "set_aux_streams")

    @only("rtx")
    def is_stream_capturable(self, stream: int) -> bool:
        return integer(stream, "is_stream_capturable") != 0

    def execute_async_v3(self, stream_handle: int) -> bool:
        """False too for the legacy default stream, which TensorRT itself takes, with a warning and device-wide waits."""
        with self._alone("execute_async_v3"):
            stream = integer(stream_handle, "execute_async_v3")
            refusal = self._refusal(stream) or self._warm_up() or self._enqueue(stream)
            if refusal:
                self._voice.error(f"IExecutionContext::enqueueV3: {refusal}")
                return False
            count("enqueued")
            return True

    def execute_v2(self, bindings: Sequence[int]) -> bool:
        """By I/O index; waits for its end."""
        specs = self._engine._plan.tensors
        if len(bindings) < len(specs) or not all(self.set_tensor_address(s.name, a) for s, a in zip(specs, bindings, strict=False)):
            return False
        stream = driver.new_stream()
        done = bool(stream) and self.execute_async_v3(stream) and driver.synchronise(stream) == 0
        driver.end_stream(stream)
        return done

    def _refusal(self, stream: int) -> str | None:
        """Why nothing may be enqueued on `stream` now."""
        capturing = stream != 0 and driver.capturing(stream)
        if self._stale and not capturing:
            self._stale = False
            return f"Error Code 1: Cuda Runtime ({driver.text(901)})"
        if capturing and strikes("capture") is not None:
            self._stale = True
            return "Error Code 1: Cuda Runtime (asked for by the test)"
        if strikes("execute") is not None:
            return "Error Code 1: Cuda Runtime (asked for by the test)"
        if not driver.current():
            return f"Error Code 1: Cuda Runtime ({driver.text(201)})"
        if driver.current() != self._engine._weights.context:
            return "Error Code 1: Cuda Runtime (cudaError 400: invalid resource handle)"
        if stream == 0:
            violation(f"{self._turn.what} was enqueued on the default stream")
            return "Using default stream in enqueueV3() may lead to performance issues due to additional cudaStreamSynchronize() calls."
        missing = [spec.name for spec in self._engine._plan.tensors if not self._addresses.get(spec.name)]
        if missing:
            return f"Error Code 3: API Usage Error (Parameter check failed. Address is not set for tensor {missing[0]}.)"
        if self._scratch is None and self._engine.device_memory_size_v2:
            return "Error Code 3: API Usage Error (Parameter check failed. Device memory of a user-managed context is not set.)"
        if self._cache is not None and self._cache() is None:
            violation(f"{self._turn.what} was used after its cache of compiled kernels was freed")
        if capturing and self._own_graphs:
            violation(f"{self._turn.what} makes CUDA graphs of its own and was captured beside them")
        return None

    def _warm_up(self) -> str | None:
        """The first enqueue allocates, which no capture allows."""
        if self._warm:
            return None
        block = take(_LAZY, "first execution of a context", self._voice)
        if block is None:
            return "Error Code 1: Cuda Runtime (the first execution needs device memory)"
        self._blocks.append(block)
        time.sleep(_FIRST_MS / 1000)
        self._warm = True
        return None

    def _enqueue(self, stream: int) -> str | None:
        scratch = self._scratch or (0, 0)
        key = (tuple(self._addresses.items()), scratch, bool(self._consumed))
        execution = self._executions.get(key)
        if execution is None:
            specs = self._engine._plan.tensors
            execution = Execution(
                turn=self._turn,
                inputs={spec.name: self._place(spec, self._addresses[spec.name]) for spec in specs if not spec.output},
                outputs={spec.name: self._place(spec, self._addresses[spec.name]) for spec in specs if spec.output},
                scratch=scratch,
                inputs_stay=not self._consumed,
            )
            self._executions[key] = execution
        error = (
            driver.launch(stream, RUN, execution.begin)
            or (self._consumed and driver.record(self._consumed, stream))
            or driver.launch(stream, RUN, execution.finish)
        )
        return f"Error Code 1: Cuda Runtime ({driver.text(error)})" if error else None

    def _place(self, spec: TensorSpec, address: int) -> Place:
        return Place(address, spec.shape, np.dtype(self._api.numpy_types[spec.dtype]))

    def _spec(self, name: str, function: str) -> TensorSpec | None:
        found = next((spec for spec in self._engine._plan.tensors if spec.name == require(name, str, function)), None)
        if found is None:
            self._voice.error(f"IExecutionContext::{function}: Error Code 3: Internal Error (Given invalid tensor name: {name}.)")
        return found

    @contextmanager
    def _alone(self, function: str) -> Iterator[None]:
        free = self._lock.acquire(blocking=False)
        if not free:
            violation(f"{self._turn.what}: {function} while another thread uses the context")
        try:
            yield
        finally:
            if free:
                self._lock.release()


def new_context(engine: ICudaEngine, strategy: Any, config: IRuntimeConfig | None) -> IExecutionContext | None:
    """A context with its memory on the device, or None with the reason in the log alone."""
    api, voice = engine._api, Voice(engine._api, engine._voice.recorder)
    if strikes("context") is not None:
        voice.error("ICudaEngine::createExecutionContext: Error Code 2: OutOfMemory (asked for by the test)")
        return None
    managed = strategy == api.enums["ExecutionContextAllocationStrategy"].USER_MANAGED
    persistent = take(_PERSISTENT, "persistent memory of a context", voice)
    if persistent is None:
        return None
    blocks, scratch, needed = [persistent], None, engine.device_memory_size_v2
    if needed and not managed:
        own = take(needed, "scratch memory of a context", voice)
        if own is None:
            persistent.free()
            return None
        blocks.append(own)
        scratch = (own.address, own.nbytes)
    if api.rtx:
        compile_for(engine._plan, config)
    count("contexts")
    turn = Turn(f"context of {'/'.join(spec.name for spec in engine._plan.tensors)}", engine._numbers.request())
    context: IExecutionContext = api.make(
        "IExecutionContext",
        _engine=engine,
        _strategy=strategy,
        _own_graphs=config is not None and config._captures(),
        _config=config and weakref.ref(config),
        _cache=config and config._cache and weakref.ref(config._cache),
        _blocks=blocks,
        _scratch=scratch,
        _stale=False,
        _voice=voice,
        _turn=turn,
        _addresses={},
        _executions={},
        _lock=threading.RLock(),
        _consumed=0,
        _warm=False,
        _name="",
    )
    return context
