"""Which of NVIDIA's builders is here, loaded once, with what it can do found by asking it and never by its version."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any, Literal, cast

import msgspec

from edge.engines.api import TensorRT
from edge.engines.log import BuildLog
from edge.errors import EngineError

BackendName = Literal["tensorrt", "tensorrt_rtx"]
BackendChoice = Literal["auto", "tensorrt", "tensorrt_rtx"]
_MODULES: dict[BackendName, tuple[str, ...]] = {
    # The second name is what the wheel with the bindings alone is called.
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
INSTALL = (
    "Install cordon[gpu] for TensorRT, or cordon[rtx] for TensorRT-RTX; "
    "JetPack brings its own TensorRT: make the venv with --system-site-packages"
)


class Backend(msgspec.Struct, frozen=True):
    """One loaded builder and the one log of this process that belongs to it."""

    name: BackendName
    version: str
    trt: Any
    """The module, typed by `api`."""
    log: BuildLog
    targets: tuple[str, ...]
    """GPU generations that engines can be built for without having them (TensorRT-RTX); empty where the GPU at hand is the only one."""

    @property
    def api(self) -> TensorRT:
        """The module as the table of what this room uses of it."""
        return cast("TensorRT", self.trt)

    @property
    def keeps_timings(self) -> bool:
        """Does a timing cache do anything? TensorRT-RTX measures nothing while building and has only a stub of it."""
        return not self.targets


def load_backend(choice: BackendChoice = "auto") -> Backend:
    """The builder asked for; `auto` prefers TensorRT, which builds for the GPU at hand, to TensorRT-RTX. Raises EngineError."""
    names: tuple[BackendName, ...] = ("tensorrt", "tensorrt_rtx") if choice == "auto" else (choice,)
    for name in names:
        for module in _MODULES[name]:
            if _installed(module):
                return _load(name, module)
    raise EngineError(f"no {' or '.join(names)} in this Python", remedy=INSTALL)


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@functools.cache
def _load(name: BackendName, module: str) -> Backend:
    try:
        trt = importlib.import_module(module)
    except (ImportError, OSError) as exc:
        raise EngineError(f"{module} is installed but cannot be loaded", seen=exc, remedy=INSTALL) from exc
    if not hasattr(getattr(trt, "NetworkDefinitionCreationFlag", None), "STRONGLY_TYPED") or not hasattr(trt, "IProgressMonitor"):
        remedy = "Use TensorRT 10.3 or newer (JetPack 6.1 or newer), or TensorRT-RTX"
        raise EngineError(f"{module} is too old for strongly typed networks", seen=getattr(trt, "__version__", "?"), remedy=remedy)
    return Backend(name, str(trt.__version__), trt, BuildLog(trt), _targets(trt))


def _targets(trt: Any) -> tuple[str, ...]:
    if not hasattr(trt, "ComputeCapability"):
        return ()
    return tuple(name for name in trt.ComputeCapability.__members__ if name.startswith("SM"))
