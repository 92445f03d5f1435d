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
_NEEDED = (
    ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
    ("IProgressMonitor", "step_complete"),
    ("ICudaEngine", "device_memory_size_v2"),
)
"""What the oldest supported module, TensorRT 10.3, has and older ones lack."""
INSTALL = (
    "Install cordon[gpu] for TensorRT, or cordon[rtx] for TensorRT-RTX; "
    "JetPack brings its own TensorRT: make the venv with --system-site-packages"
)


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What a module has beyond what all supported ones have, found by looking for the names and not by its version."""

    runtime_config: bool = False
    """Contexts are made from an IRuntimeConfig."""
    runtime_cache: bool = False
    """Kernels are compiled when a context is made, and can be kept for the next start."""
    own_graphs: bool = False
    """CUDA graphs are captured by the runtime itself."""
    engine_validity: bool = False
    """An engine can be asked why it will not run here before it is loaded."""

    @staticmethod
    def of(trt: Any) -> Features:
        """The features of a loaded module."""
        return Features(
            runtime_config=hasattr(trt.ICudaEngine, "create_runtime_config"),
            runtime_cache=hasattr(trt, "IRuntimeCache"),
            own_graphs=hasattr(trt, "CudaGraphStrategy"),
            engine_validity=hasattr(trt.Runtime, "get_engine_validity"),
        )


class Backend(msgspec.Struct, frozen=True):
    """One loaded builder and runtime, and the one log of this process that belongs to it."""

    name: BackendName
    version: str
    trt: Any
    """The module, typed by `api`."""
    log: BuildLog
    targets: tuple[str, ...]
    """GPU generations that engines can be built for without having them (TensorRT-RTX); empty where the GPU at hand is the only one."""
    features: Features = Features()

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
    except (ImportError, OSError, RuntimeError, AttributeError) as exc:  # the latter two: built for another numpy
        raise EngineError(f"{module} is installed but cannot be loaded", seen=exc, remedy=INSTALL) from exc
    if not all(hasattr(getattr(trt, holder, None), member) for holder, member in _NEEDED):
        remedy = "Use TensorRT 10.3 or newer (JetPack 6.1 or newer), or TensorRT-RTX"
        raise EngineError(f"{module} is too old for strongly typed networks", seen=getattr(trt, "__version__", "?"), remedy=remedy)
    return Backend(name, str(trt.__version__), trt, BuildLog(trt), _targets(trt), Features.of(trt))


def _targets(trt: Any) -> tuple[str, ...]:
    if not hasattr(trt, "ComputeCapability"):
        return ()
    return tuple(name for name in trt.ComputeCapability.__members__ if name.startswith("SM"))
