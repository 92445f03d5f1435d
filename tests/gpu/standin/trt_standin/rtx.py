"""IRuntimeConfig, and what TensorRT-RTX alone has: compilation when a context is made, and the cache that spares it."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from trt_standin import driver
from trt_standin.binding import Bound, only, require
from trt_standin.logger import Voice
from trt_standin.plan import Plan
from trt_standin.reporting import count
from trt_standin.values import IHostMemory, host_memory

_MAGIC = b"RTXCACHE"
_COMPILE_MS = 20.0


class IRuntimeCache(Bound):
    """Compiled kernels; those of another GPU, version or driver are passed over in silence."""

    __slots__ = ("_kernels",)
    _kernels: set[str]

    def serialize(self) -> IHostMemory:
        told = json.dumps({"whose": _whose(self._api), "kernels": sorted(self._kernels)}).encode()
        return host_memory(self._api.classes["IHostMemory"], _MAGIC + told)

    def deserialize(self, blob: Any) -> bool:
        data = self._api.buffer(blob, "deserialize")
        try:
            told = json.loads(data.removeprefix(_MAGIC)) if data.startswith(_MAGIC) else None
        except ValueError:
            told = None
        if told is None:
            return False
        self._kernels |= set(told["kernels"]) if told["whose"] == _whose(self._api) else set()
        return True

    def reset(self) -> bool:
        self._kernels.clear()
        return True


class IRuntimeConfig(Bound):
    """How a context is made."""

    __slots__ = ("_cache", "_graphs", "_specialisation", "_strategy", "_voice")

    def get_execution_context_allocation_strategy(self) -> Any:
        return self._strategy

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self._strategy = require(strategy, self._api.enums["ExecutionContextAllocationStrategy"], "")

    @only("rtx")
    def create_runtime_cache(self) -> IRuntimeCache:
        cache: IRuntimeCache = self._api.make("IRuntimeCache", _kernels=set())
        return cache

    @only("rtx")
    def set_runtime_cache(self, cache: IRuntimeCache | None = None) -> bool:
        self._cache = None if cache is None else require(cache, IRuntimeCache, "set_runtime_cache")
        return True

    @only("rtx")
    def get_runtime_cache(self) -> IRuntimeCache | None:
        cache: IRuntimeCache | None = self._cache
        return cache

    @property
    @only("rtx")
    def cuda_graph_strategy(self) -> Any:
        return self._graphs

    @cuda_graph_strategy.setter
    def cuda_graph_strategy(self, strategy: Any) -> None:
        self._graphs = require(strategy, self._api.enums["CudaGraphStrategy"], "")

    @property
    @only("rtx")
    def dynamic_shapes_kernel_specialization_strategy(self) -> Any:
        return self._specialisation

    @dynamic_shapes_kernel_specialization_strategy.setter
    def dynamic_shapes_kernel_specialization_strategy(self, strategy: Any) -> None:
        self._specialisation = require(strategy, self._api.enums["DynamicShapesKernelSpecializationStrategy"], "")

    def _captures(self) -> bool:
        """Do contexts make CUDA graphs of their own?"""
        return self._graphs is not None and self._graphs.name == "WHOLE_GRAPH_CAPTURE"


def new_config(api: Any, voice: Voice) -> IRuntimeConfig:
    """The settings that a context has without any."""
    graphs, specialisation = api.enums.get("CudaGraphStrategy"), api.enums.get("DynamicShapesKernelSpecializationStrategy")
    config: IRuntimeConfig = api.make(
        "IRuntimeConfig",
        _strategy=api.enums["ExecutionContextAllocationStrategy"].STATIC,
        _cache=None,
        _graphs=graphs and graphs.DISABLED,
        _specialisation=specialisation and specialisation.LAZY,
        _voice=voice,
    )
    return config


def compile_for(plan: Plan, config: IRuntimeConfig | None) -> None:
    """Compile the engine's kernels unless the cache has them, and leave them there."""
    cache = None if config is None else config._cache
    key = hashlib.sha256(plan.onnx).hexdigest()
    if cache is not None and key in cache._kernels:
        return
    time.sleep(_COMPILE_MS / 1000)
    count("jit")
    if cache is not None:
        cache._kernels.add(key)


def _whose(api: Any) -> list[Any]:
    name, capability = driver.device()
    return [api.version, name, capability, driver.driver_version()]
