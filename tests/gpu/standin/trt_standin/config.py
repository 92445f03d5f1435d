"""IBuilderConfig: settings that clamp, ignore or refuse as TensorRT's do."""

from __future__ import annotations

from typing import Any

from trt_standin import driver
from trt_standin.binding import Bound, integer, only, require
from trt_standin.logger import Voice
from trt_standin.profile import IOptimizationProfile
from trt_standin.timing import ITimingCache, deprecated, new_cache, read_cache

_TOP_LEVEL = 5


class IBuilderConfig(Bound):
    """How an engine is built."""

    __slots__ = (
        "_aux",
        "_builder",
        "_cache",
        "_flags",
        "_level",
        "_monitor",
        "_pools",
        "_profiles",
        "_targets",
        "_times",
        "_verbosity",
        "_voice",
    )
    _voice: Voice

    def _begin(self, builder: Any, voice: Voice) -> None:
        flags = self._api.enums["BuilderFlag"]
        self._builder, self._voice = builder, voice
        self._level, self._times, self._aux, self._monitor = 3, 1 if self._api.rtx else 4, -1, None
        self._flags = 1 << int(flags.TF32)
        self._pools: dict[Any, int] = {self._api.enums["MemoryPoolType"].WORKSPACE: driver.total_memory()}
        self._profiles: list[IOptimizationProfile] = []
        self._targets: list[Any] = []
        self._cache: ITimingCache | None = None
        self._verbosity = self._api.enums["ProfilingVerbosity"].LAYER_NAMES_ONLY

    @property
    def builder_optimization_level(self) -> int:
        return self._level

    @builder_optimization_level.setter
    def builder_optimization_level(self, level: int) -> None:
        wanted = integer(level, "")
        if wanted < 0:
            self._voice.error("IBuilderConfig::setBuilderOptimizationLevel: Parameter check failed, condition: level >= 0.")
            return
        self._level = min(wanted, _TOP_LEVEL)

    @property
    def avg_timing_iterations(self) -> int:
        return self._times

    @avg_timing_iterations.setter
    def avg_timing_iterations(self, count: int) -> None:
        self._times = integer(count, "")

    @property
    def max_aux_streams(self) -> int:
        return self._aux

    @max_aux_streams.setter
    def max_aux_streams(self, count: int) -> None:
        self._aux = integer(count, "")

    @property
    def progress_monitor(self) -> Any:
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor: Any) -> None:
        self._monitor = None if monitor is None else require(monitor, self._api.classes["IProgressMonitor"], "")

    @property
    def profiling_verbosity(self) -> Any:
        return self._verbosity

    @profiling_verbosity.setter
    def profiling_verbosity(self, verbosity: Any) -> None:
        self._verbosity = require(verbosity, self._api.enums["ProfilingVerbosity"], "")

    @property
    def flags(self) -> int:
        return self._flags

    def set_flag(self, flag: Any) -> None:
        self._flags |= 1 << int(require(flag, self._api.enums["BuilderFlag"], "set_flag"))

    def clear_flag(self, flag: Any) -> None:
        self._flags &= ~(1 << int(require(flag, self._api.enums["BuilderFlag"], "clear_flag")))

    def get_flag(self, flag: Any) -> bool:
        return bool(self._flags >> int(require(flag, self._api.enums["BuilderFlag"], "get_flag")) & 1)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        kind = self._api.enums["MemoryPoolType"]
        self._pools[require(pool, kind, "set_memory_pool_limit")] = integer(pool_size, "set_memory_pool_limit")

    def get_memory_pool_limit(self, pool: Any) -> int:
        return self._pools.get(require(pool, self._api.enums["MemoryPoolType"], "get_memory_pool_limit"), 0)

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._profiles)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        if not require(profile, IOptimizationProfile, "add_optimization_profile"):
            self._voice.error("IBuilderConfig::addOptimizationProfile: Parameter check failed, condition: profile->isValid().")
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: Any) -> ITimingCache:
        if self._api.rtx:
            deprecated()
        return read_cache(self._api, self._api.buffer(serialized_timing_cache, "create_timing_cache"), self._voice)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if self._api.rtx:
            deprecated()
        if not require(cache, ITimingCache, "set_timing_cache")._fits() and not ignore_mismatch:
            self._voice.error("IBuilderConfig::setTimingCache: the cache was made for another device or version.")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache

    def _measured(self, layers: tuple[str, ...]) -> None:
        """After a build: the cache knows the layers, where there is none the build leaves one."""
        if self._api.rtx:
            return
        if self._cache is None:
            self._cache = new_cache(self._api)
        self._cache._tactics |= dict.fromkeys(layers, 1)

    @property
    @only("rtx")
    def num_compute_capabilities(self) -> int:
        return len(self._targets)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count: int) -> None:
        none = self._api.enums["ComputeCapability"].NONE
        self._targets = [none] * integer(count, "")

    @only("rtx")
    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        kind = self._api.enums["ComputeCapability"]
        at = integer(index, "set_compute_capability")
        if not 0 <= at < len(self._targets):
            self._voice.error("IBuilderConfig::setComputeCapability: Index of compute capability is not in a valid range.")
            return False
        self._targets[at] = require(compute_capability, kind, "set_compute_capability")
        return True

    @only("rtx")
    def get_compute_capability(self, index: int) -> Any:
        at = integer(index, "get_compute_capability")
        return self._targets[at] if 0 <= at < len(self._targets) else self._api.enums["ComputeCapability"].NONE

    def _current_targets(self) -> tuple[int, ...]:
        """Compute capabilities such as 89, 0 for the device at hand; empty where none were set."""
        named = (target.name for target in self._targets)
        return tuple(0 if name == "CURRENT" else int(name.removeprefix("SM")) for name in named if name != "NONE")
