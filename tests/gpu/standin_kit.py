"""What the stand-in's own tests share: engines, a log that is read, and an engine bound to memory of real PyCUDA."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import trt_standin
from numpy.typing import NDArray
from trt_standin.fronts import surface
from trt_standin.numerics import Numbers

VERSIONS = {"10.3.0": "orin", "10.16.1": "orin", "11.4.0": "h100", "1.7.1": "rtx4090"}
"""Every version with a device that it is for."""
NON_BLOCKING = 1


def api(version: str) -> Any:
    """The stand-in of `version` as an object with the module's names."""
    return SimpleNamespace(**surface("tensorrt_rtx" if version == "1.7.1" else "tensorrt", version).names())


def new_logger(trt: Any) -> Any:
    """A logger with its messages in `said`, as (severity, text)."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: list[tuple[str, str]] = []

        def log(self, severity: Any, msg: str) -> None:
            self.said.append((severity.name, msg))

        def errors(self) -> str:
            return "\n".join(text for severity, text in self.said if severity == "ERROR")

    return Log()


def build(trt: Any, onnx: bytes, *, logger: Any = None, **settings: Any) -> bytes | None:
    """The plan of `onnx`, or None."""
    logger = logger or new_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert trt.OnnxParser(network, logger).parse(onnx), logger.said
    config = builder.create_builder_config()
    config.max_aux_streams = 0
    for name, value in settings.items():
        setattr(config, name, value)
    memory = builder.build_serialized_network(network, config)
    return None if memory is None else bytes(memory)


def answers(onnx: bytes, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What OpenVINO says of `inputs`."""
    numbers = Numbers(onnx)
    return numbers.request().run(inputs, numbers.outputs)


def noise(seed: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (1, 1, *shape)).astype(np.uint8)


@dataclass
class Bound:
    """An engine with one context, its tensors in device memory, and a stream."""

    cuda: Any
    trt: Any
    engine: Any
    strategy: str = "USER_MANAGED"
    scratch: Any = None
    stream: Any = None
    memory: dict[str, Any] = field(default_factory=dict)
    host: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stream = self.stream or self.cuda.Stream(NON_BLOCKING)
        self.context = self.engine.create_execution_context(getattr(self.trt.ExecutionContextAllocationStrategy, self.strategy))
        for name in map(self.engine.get_tensor_name, range(self.engine.num_io_tensors)):
            shape, dtype = tuple(self.engine.get_tensor_shape(name)), np.dtype(self.trt.nptype(self.engine.get_tensor_dtype(name)))
            self.host[name] = self.cuda.pagelocked_empty(shape, dtype)
            self.host[name][...] = 0
            self.memory[name] = self.cuda.mem_alloc(max(self.host[name].nbytes, 1))
        if self.strategy == "USER_MANAGED" and self.engine.device_memory_size_v2:
            self.scratch = self.scratch or self.cuda.mem_alloc(self.engine.device_memory_size_v2)
            self.context.set_device_memory(int(self.scratch), self.engine.device_memory_size_v2)

    @property
    def inputs(self) -> list[str]:
        return [name for name in self.memory if self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT]

    @property
    def outputs(self) -> list[str]:
        return [name for name in self.memory if name not in self.inputs]

    def bind(self) -> Bound:
        assert all(self.context.set_tensor_address(name, int(memory)) for name, memory in self.memory.items())
        return self

    def upload(self, **inputs: NDArray[Any]) -> None:
        for name, value in inputs.items():
            self.host[name][...] = value
            self.cuda.memcpy_htod_async(self.memory[name], self.host[name], self.stream)

    def execute(self) -> bool:
        done: bool = self.context.execute_async_v3(self.stream.handle)
        return done

    def download(self) -> None:
        for name in self.outputs:
            self.host[name][...] = 0.25
            self.cuda.memcpy_dtoh_async(self.host[name], self.memory[name], self.stream)

    def wait(self) -> dict[str, NDArray[Any]]:
        self.stream.synchronize()
        return {name: self.host[name].copy() for name in self.outputs}

    def ask(self, **inputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """The answers, one after another."""
        self.upload(**inputs)
        assert self.execute()
        self.download()
        return self.wait()

    def close(self) -> None:
        self.stream.synchronize()
        self.context = None
        del self.engine
        for memory in self.memory.values():
            memory.free()
        self.memory.clear()
        self.host.clear()
        if self.scratch is not None:
            self.scratch.free()


@contextmanager
def primary(driver: Any, device: str = "orin", *, seed: int = 0) -> Iterator[Any]:
    """PyCUDA's driver module with the primary context of a fresh `device` current; the stand-in forgets what was before and after."""
    driver.reset(device, seed)
    trt_standin.reset()
    import pycuda.driver as cuda  # noqa: PLC0415 -- needs the software driver that conftest.py loads

    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    context.push()
    try:
        yield cuda
    finally:
        with suppress(cuda.Error):  # a GPU that a test broke takes nothing back
            context.detach()
        # PyCUDA takes a primary context that it releases off its own stack, but not off CUDA's.
        ctypes.CDLL("libcuda.so.1").cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
        trt_standin.reset()
