"""The builder and its settings, set one by one and each checked."""

from __future__ import annotations

from edge.engines.api import BuilderApi, BuilderConfigApi
from edge.engines.backend import Backend
from edge.engines.record import BuildOptions
from edge.errors import EngineError

_TIMINGS = 8
"""Measurements per tactic: one alone picks by chance on a Jetson whose clocks move."""
_MIB = 1024 * 1024


def new_builder(backend: Backend) -> BuilderApi:
    """The builder. Raises EngineError where TensorRT finds no GPU, which it tells by a TypeError about a nullptr."""
    try:
        return backend.api.Builder(backend.log.logger)
    except TypeError as exc:
        if "nullptr" not in str(exc):
            raise
        remedy = "Check the driver (nvidia-smi, on a Jetson tegrastats) and the user's groups; TensorRT-RTX builds without a GPU"
        seen = backend.log.tail()
        raise EngineError(f"{backend.name} {backend.version} found no usable GPU or driver", seen=seen, remedy=remedy) from exc


def new_config(backend: Backend, builder: BuilderApi, options: BuildOptions) -> BuilderConfigApi:
    """The builder's settings for `options`. Raises EngineError."""
    trt = backend.api
    config = builder.create_builder_config()
    if config is None:
        raise EngineError(f"{backend.name} gave no builder settings", seen=backend.log.tail(), remedy="Run the command again")
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * _MIB)
    config.builder_optimization_level = options.optimization_level
    config.max_aux_streams = 0  # least memory, and one stream to reason about at run time
    if backend.keeps_timings:
        config.avg_timing_iterations = _TIMINGS
    if hasattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION"):  # nothing is allocated while an engine runs, and it can be captured
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
    if options.targets:
        _set_targets(backend, config, options.targets)
    return config


def check_targets(backend: Backend, options: BuildOptions) -> None:
    """Raises EngineError for a target that `backend` cannot build for."""
    if options.targets and not backend.targets:
        remedy = "Leave --device-target out: TensorRT builds for the GPU at hand"
        raise EngineError(f"{backend.name} takes no device targets", seen=", ".join(options.targets), remedy=remedy)
    unknown = [target for target in options.targets if target not in backend.targets]
    if unknown:
        known = ", ".join(backend.targets)
        raise EngineError("unknown device target", seen=", ".join(unknown), remedy=f"{backend.name} {backend.version} knows {known}")


def _set_targets(backend: Backend, config: BuilderConfigApi, targets: tuple[str, ...]) -> None:
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        if not config.set_compute_capability(getattr(backend.api.ComputeCapability, target), index):
            raise EngineError(f"target {target} was not accepted", seen=backend.log.tail(), remedy="Build for fewer targets")
