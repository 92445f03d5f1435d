"""ITimingCache: layers once measured, of one device and version; the rest is ignored with an error in the log."""

from __future__ import annotations

import json
import warnings
from typing import Any

from trt_standin import driver
from trt_standin.binding import Bound, require
from trt_standin.logger import Voice
from trt_standin.values import IHostMemory, host_memory

_MAGIC = b"ptrt"


class ITimingCache(Bound):
    """Measurements by layer."""

    __slots__ = ("_tactics", "_whose")
    _tactics: dict[str, int]
    _whose: list[Any]

    def serialize(self) -> IHostMemory:
        told = json.dumps({"whose": self._whose, "tactics": self._tactics}, sort_keys=True).encode()
        return host_memory(self._api.classes["IHostMemory"], _MAGIC + told)

    def combine(self, input_cache: ITimingCache, ignore_mismatch: bool) -> bool:
        other = require(input_cache, ITimingCache, "combine")
        if other._whose != self._whose and not ignore_mismatch:
            return False
        self._tactics |= other._tactics
        return True

    def reset(self) -> bool:
        self._tactics = {}
        return True

    def _fits(self) -> bool:
        return self._whose == _whose(self._api)


def new_cache(api: Any) -> ITimingCache:
    """An empty cache for the device at hand."""
    cache: ITimingCache = api.make("ITimingCache", _tactics={}, _whose=_whose(api))
    return cache


def read_cache(api: Any, blob: bytes, voice: Voice) -> ITimingCache:
    """The cache in `blob`; one that cannot be read is an error in the log and an empty cache."""
    cache = new_cache(api)
    if not blob:
        return cache
    try:
        told = json.loads(blob.removeprefix(_MAGIC))
        cache._whose, cache._tactics = list(told["whose"]), dict(told["tactics"])
    except (ValueError, KeyError, TypeError) as exc:
        voice.error(f"IBuilderConfig::createTimingCache: Error Code 1: Serialization ({exc})")
    return cache


def deprecated() -> None:
    """TensorRT-RTX warns of every use."""
    text = "Use Deprecated in TensorRT-RTX 1.2. Timing cache operations are no-ops in TensorRT-RTX. instead."
    warnings.warn(text, DeprecationWarning, stacklevel=3)


def _whose(api: Any) -> list[Any]:
    name, capability = driver.device()
    return [api.version, name, capability, driver.driver_version()]
