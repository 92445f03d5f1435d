"""From the bytes of an engine to an engine in memory; TensorRT answers None where it refuses, and here that becomes a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from edge.engines.api import CudaEngineApi, ExecutionContextApi, RuntimeApi, RuntimeCacheApi, RuntimeConfigApi
from edge.engines.backend import Backend
from edge.errors import EngineError, GpuError
from edge.inspector.cuda.errors import NO_GPU, OUT_OF_MEMORY, free_memory

Kernels: TypeAlias = "Callable[[RuntimeConfigApi], RuntimeCacheApi | None]"
"""Gives a runtime configuration the engine's cache of compiled kernels and returns it; None where there is none to give."""

BUILD_AGAIN = "Build the engines on this box with `cordon engine build`"
_WORDS = {
    "VERSION_MISMATCH": "it was built by another version",
    "UNSUPPORTED_CC": "it was built for other GPUs",
    "OLD_CUDA_DRIVER": "the driver is older than it needs",
    "OLD_CUDA_RUNTIME": "the CUDA runtime is older than it needs",
    "INSUFFICIENT_GPU_MEMORY": "the GPU has too little memory for it",
    "MALFORMED_ENGINE": "it is damaged or no engine",
}


def new_runtime(backend: Backend) -> RuntimeApi:
    """What deserialises engines, for the one log of this process. Raises GpuError where there is no usable GPU or driver."""
    try:
        runtime = backend.api.Runtime(backend.log.logger)
    except TypeError as exc:  # a nullptr; the cause is in the log only
        raise GpuError(f"{backend.name} {backend.version} found no usable GPU or driver", seen=backend.log.tail(), remedy=NO_GPU) from exc
    runtime.engine_host_code_allowed = False
    return runtime


def deserialise(backend: Backend, runtime: RuntimeApi, data: bytes, what: str) -> CudaEngineApi:
    """The engine in `data`, whose signature was checked. Raises EngineError, and GpuError without a usable GPU or enough of its memory."""
    if backend.features.engine_validity:
        _require_valid(backend, runtime, data, what)
    with backend.log.collecting():
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            said = backend.log.tail()
            if "outofmemory" in said.lower().replace(" ", ""):
                raise _no_memory(backend, f"{what}: the engine does not fit")
            raise EngineError(f"{what}: {backend.name} {backend.version} refuses the engine", seen=said, remedy=BUILD_AGAIN)
    return engine


def _require_valid(backend: Backend, runtime: RuntimeApi, data: bytes, what: str) -> None:
    trt = backend.api
    validity, bits = runtime.get_engine_validity(data)
    if validity != trt.EngineValidity.INVALID:
        return
    said = [name for name, flag in trt.EngineInvalidityDiagnostics.__members__.items() if bits & int(flag)]
    if set(said) <= {"CUDA_ERROR"}:  # without a GPU a good engine is invalid for no reason given
        raise GpuError(f"{backend.name} {backend.version} found no usable GPU or driver", seen=backend.log.tail(), remedy=NO_GPU)
    reasons = "; ".join(_WORDS.get(name, name) for name in said)
    raise EngineError(f"{what}: {backend.name} {backend.version} cannot run the engine here", seen=reasons, remedy=BUILD_AGAIN)


def new_context(
    backend: Backend, engine: CudaEngineApi, what: str, *, graphs: bool, kernels: Kernels | None
) -> tuple[ExecutionContextApi, tuple[object, ...]]:
    """An execution context whose scratch memory is the caller's, and what must live as long as it does. Raises GpuError.

    Only TensorRT-RTX looks at `kernels`, and at `graphs`: it then captures a CUDA graph itself at the second execution.
    """
    how: object = backend.api.ExecutionContextAllocationStrategy.USER_MANAGED
    needed: tuple[object, ...] = ()
    with backend.log.collecting():
        if backend.features.own_graphs:
            # The bindings tie neither to the context, and the cache takes in whatever it compiles later.
            needed = _config(backend, engine, what, graphs=graphs, kernels=kernels)
            how = needed[0]
        context = engine.create_execution_context(how)
        if context is None:
            raise _no_memory(backend, f"{what}: no execution context")
    return context, needed


def _config(
    backend: Backend, engine: CudaEngineApi, what: str, *, graphs: bool, kernels: Kernels | None
) -> tuple[RuntimeConfigApi, RuntimeCacheApi | None]:
    trt = backend.api
    config = engine.create_runtime_config()
    if config is None:
        raise _no_memory(backend, f"{what}: no runtime configuration")
    config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    if graphs:
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    cache = None if kernels is None else kernels(config)
    if kernels is not None and cache is None:
        raise _no_memory(backend, f"{what}: no cache for compiled kernels")
    return config, cache


def _no_memory(backend: Backend, what: str) -> GpuError:
    return GpuError(what, seen=f"{backend.log.tail()}{free_memory()}", remedy=OUT_OF_MEMORY)
