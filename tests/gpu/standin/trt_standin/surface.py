"""One version of one module: its classes, enumerations and functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trt_standin import builder, config, context, engine, logger, network, profile, progress, rtx, runtime, timing, values
from trt_standin.binding import FAMILIES, Family, bind
from trt_standin.enums import ALIASES, enums, severity

_CLASSES: tuple[tuple[type, tuple[Family, ...]], ...] = (
    (logger.ILogger, FAMILIES),
    (logger.Logger, FAMILIES),
    (logger.IErrorRecorder, FAMILIES),
    (progress.IProgressMonitor, FAMILIES),
    (values.Dims, FAMILIES),
    (values.IHostMemory, FAMILIES),
    (builder.Builder, FAMILIES),
    (config.IBuilderConfig, FAMILIES),
    (profile.IOptimizationProfile, FAMILIES),
    (timing.ITimingCache, FAMILIES),
    (network.INetworkDefinition, FAMILIES),
    (network.ITensor, FAMILIES),
    (network.OnnxParser, FAMILIES),
    (network.ParserError, FAMILIES),
    (runtime.Runtime, FAMILIES),
    (engine.ICudaEngine, FAMILIES),
    (context.IExecutionContext, FAMILIES),
    (rtx.IRuntimeConfig, ("10.16", "11.4", "rtx")),
    (rtx.IRuntimeCache, ("rtx",)),
)
_NUMPY = {
    "FLOAT": np.float32,
    "HALF": np.float16,
    "INT8": np.int8,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
    "UINT8": np.uint8,
}


@dataclass
class Settings:
    """What `configure` sets beside the version."""

    scratch_bytes: int | None = None


class Surface:
    """What a version offers; every object of it knows its surface as `_api`."""

    def __init__(self, module: str, family: Family, version: str, settings: Settings) -> None:
        self.module, self.family, self.version, self.settings = module, family, version, settings
        self.rtx = family == "rtx"
        self.weak_typing = family in ("10.3", "10.16")
        self.enums = enums(family, module)
        self.enums["Severity"] = severity(family, module)
        self.classes = {kind.__name__: bind(kind, family, module, self) for kind, families in _CLASSES if family in families}
        for name in ("ILogger", "Logger"):
            for member in self.enums["Severity"]:
                setattr(self.classes[name], member.name, member)
            self.classes[name].Severity = self.enums["Severity"]  # type: ignore[attr-defined]
        # A Logger must also be an ILogger of this version.
        self.classes["Logger"] = type("Logger", (self.classes["Logger"], self.classes["ILogger"]), {"__slots__": (), "__module__": module})
        self.dims: Any = self.classes["Dims"]
        self.numpy_types = _NUMPY

    def make(self, name: str, **slots: Any) -> Any:
        """An object of class `name`, past its constructor."""
        kind: Any = self.classes[name]
        made = kind.__new__(kind)
        for slot, value in slots.items():
            setattr(made, slot, value)
        return made

    def buffer(self, value: Any, function: str) -> bytes:
        """The bytes of what has the buffer protocol. Raises TypeError."""
        try:
            return bytes(memoryview(value))
        except TypeError:
            raise TypeError(f"{function}(): incompatible function arguments. Wanted a buffer. Invoked with: {value!r}") from None

    def names(self) -> dict[str, Any]:
        """The module's public names."""
        kinds = {name: kind for name, kind in self.enums.items() if name != "Severity"}
        types = {alias: self.enums["DataType"][name] for alias, name in ALIASES.items()}
        functions = {"volume": _volume, "nptype": self._nptype, "init_libnvinfer_plugins": _init_plugins}
        return {"__version__": self.version} | self.classes | kinds | types | functions

    def _nptype(self, trt_type: Any) -> Any:
        """The numpy type of a DataType. Raises TypeError where numpy has none."""
        try:
            return _NUMPY[trt_type.name]
        except KeyError:
            raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.") from None


def _volume(iterable: Any) -> int:
    volume = 1
    for size in iterable:
        volume *= size
    return volume


def _init_plugins(logger: Any, namespace: str) -> bool:
    del logger, namespace
    return True
