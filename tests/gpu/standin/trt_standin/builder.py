"""Builder: from a parsed network to a plan, or to None with the reason in the log alone."""

from __future__ import annotations

from typing import Any

from trt_standin import driver, graph
from trt_standin.binding import integer, only, require
from trt_standin.config import IBuilderConfig
from trt_standin.logger import Voice, register
from trt_standin.network import INetworkDefinition
from trt_standin.plan import Plan
from trt_standin.profile import IOptimizationProfile
from trt_standin.progress import CancelledBuildError, run_phases
from trt_standin.values import IHostMemory, host_memory
from trt_standin.voiced import Root

_NULLPTR = "pybind11::init(): factory function returned nullptr"
_PRECISIONS = ("FP16", "INT8", "BF16", "FP8", "INT4")
_ANY_RTX = (80, 86, 89, 120, 121)


def require_driver(api: Any) -> None:
    """TensorRT's constructors ask the driver at once, TensorRT-RTX's do not. Raises TypeError, the cause is in the log."""
    error = 0 if api.rtx else driver.usable()
    if error:
        Voice(api).error(f"CUDA initialization failure with error: {error}. ({driver.text(error)})")
        raise TypeError(_NULLPTR)


class RefusedError(Exception):
    """The build gives None; the text goes to the log."""


class Builder(Root):
    """Makes networks, settings and engines."""

    __slots__ = ()

    def __init__(self, logger: Any) -> None:
        register(logger, self._api, "createInferBuilder")
        require_driver(self._api)
        self._logger, self._threads, self._voice = logger, 1, Voice(self._api)

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802 -- NVIDIA's name
        return 0

    @property
    @only("10.3", "10.16")
    def platform_has_fast_int8(self) -> bool:
        return True

    @property
    @only("10.3", "10.16")
    def platform_has_fast_fp16(self) -> bool:
        return True

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        strong = 1 << int(self._api.enums["NetworkDefinitionCreationFlag"].STRONGLY_TYPED)
        kept = integer(flags, "create_network") if self._api.weak_typing else strong
        network: INetworkDefinition = self._api.make(
            "INetworkDefinition", _builder=self, _flags=kept, _graph=graph.EMPTY, _parser=None, _voice=self._voice
        )
        return network

    def create_builder_config(self) -> IBuilderConfig:
        config: IBuilderConfig = self._api.make("IBuilderConfig")
        config._begin(self, self._voice)
        return config

    def create_optimization_profile(self) -> IOptimizationProfile:
        profile: IOptimizationProfile = self._api.make("IOptimizationProfile", _shapes={}, _voice=self._voice)
        return profile

    def is_network_supported(self, network: INetworkDefinition, config: IBuilderConfig) -> bool:
        try:
            self._check(require(network, INetworkDefinition, "is_network_supported"), config)
        except RefusedError:
            return False
        return True

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        require(network, INetworkDefinition, "build_serialized_network")
        require(config, IBuilderConfig, "build_serialized_network")
        try:
            self._check(network, config)
            run_phases(config.progress_monitor, network._graph.layers)
        except (RefusedError, CancelledBuildError) as exc:
            self._voice.error(f"IBuilder::buildSerializedNetwork: {exc}")
            return None
        config._measured(network._graph.layers)
        return host_memory(self._api.classes["IHostMemory"], self._plan(network, config).dump())

    def _check(self, network: INetworkDefinition, config: IBuilderConfig) -> None:
        tensors = network._graph.tensors
        if not network.num_outputs:
            raise RefusedError("Error Code 4: API Usage Error (Network must have at least one output)")
        if any(size < 0 for spec in tensors if not spec.output for size in spec.shape):
            if not config._profiles:
                raise RefusedError(
                    "Error Code 4: API Usage Error (Network has dynamic or shape inputs, but no optimization profile has been defined.)"
                )
            raise RefusedError("Error Code 4: API Usage Error (the stand-in builds networks of fixed shapes only)")
        self._check_precision(network, config)
        capability = driver.device()[1]
        if config._current_targets() == (0,) and not capability:
            raise RefusedError(f"Error Code 1: Cuda Runtime ({driver.text(driver.usable())})")

    def _check_precision(self, network: INetworkDefinition, config: IBuilderConfig) -> None:
        if not self._api.weak_typing:
            return
        strong = network.get_flag(self._api.enums["NetworkDefinitionCreationFlag"].STRONGLY_TYPED)
        asked = [name for name in _PRECISIONS if config.get_flag(self._api.enums["BuilderFlag"][name])]
        if strong and asked:
            raise RefusedError(f"Error Code 3: API Usage Error (a strongly typed network takes no builder flag {asked[0]})")
        if not strong and network._graph.quantised and "INT8" not in asked:
            raise RefusedError("Error Code 4: API Usage Error (layers of type INT8, but int8 is not configured in the builder)")

    def _plan(self, network: INetworkDefinition, config: IBuilderConfig) -> Plan:
        name, capability = driver.device()
        targets = (config._current_targets() or _ANY_RTX) if self._api.rtx else (capability,)
        kept = self._api.settings.scratch_bytes
        return Plan(
            version=self._api.version,
            rtx=self._api.rtx,
            targets=tuple(target or capability for target in targets),
            gpu="" if self._api.rtx else name,
            tensors=network._graph.tensors,
            layers=len(network._graph.layers),
            scratch=network._graph.scratch if kept is None else kept,
            aux_streams=1 if config.max_aux_streams < 0 else min(config.max_aux_streams, 1),
            onnx=network._graph.onnx,
        )
