"""ICudaEngine: what a plan holds, its weights on the device, and contexts to run it in."""

from __future__ import annotations

from typing import Any

from trt_standin.binding import integer, only, require
from trt_standin.context import IExecutionContext, new_context
from trt_standin.memory import Block
from trt_standin.numerics import Numbers
from trt_standin.plan import Plan, TensorSpec
from trt_standin.reporting import count
from trt_standin.rtx import IRuntimeConfig, new_config
from trt_standin.values import Dims, IHostMemory, host_memory, invalid
from trt_standin.voiced import Voiced


class ICudaEngine(Voiced):
    """A loaded engine; immutable, shared by its contexts, keeps its runtime alive."""

    __slots__ = ("_data", "_numbers", "_plan", "_runtime", "_weights")
    _data: bytes
    _plan: Plan
    _runtime: Any
    _numbers: Numbers
    _weights: Block

    def __del__(self) -> None:
        if hasattr(self, "_weights"):
            count("engines", -1, born=self._weights.born)
            self._weights.free()

    @property
    def name(self) -> str:
        return "Unnamed Network 0"

    @property
    def num_io_tensors(self) -> int:
        return len(self._plan.tensors)

    @property
    def num_layers(self) -> int:
        return self._plan.layers

    @property
    def num_optimization_profiles(self) -> int:
        return 1

    @property
    def num_aux_streams(self) -> int:
        return self._plan.aux_streams

    @property
    def refittable(self) -> bool:
        return False

    @property
    def hardware_compatibility_level(self) -> Any:
        return self._api.enums["HardwareCompatibilityLevel"].NONE

    @property
    def engine_capability(self) -> Any:
        return self._api.enums["EngineCapability"].STANDARD

    @property
    def profiling_verbosity(self) -> Any:
        return self._api.enums["ProfilingVerbosity"].LAYER_NAMES_ONLY

    @property
    def device_memory_size_v2(self) -> int:
        return self._plan.scratch

    @property
    @only("10.3", "10.16")
    def device_memory_size(self) -> int:
        return self._plan.scratch

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        return self._plan.scratch if integer(profile_index, "get_device_memory_size_for_profile_v2") == 0 else 0

    def __getitem__(self, index: int) -> str | None:
        return self.get_tensor_name(index)

    def get_tensor_name(self, index: int) -> str | None:
        at = integer(index, "get_tensor_name")
        if not 0 <= at < len(self._plan.tensors):
            self._voice.error(f"ICudaEngine::getIOTensorName: Parameter check failed, condition: index {at} is out of range.")
            return None
        return self._plan.tensors[at].name

    def get_tensor_shape(self, name: str) -> Dims:
        spec = self._spec(name, "getTensorShape")
        return invalid(self._api.dims) if spec is None else self._api.dims(spec.shape)

    def get_tensor_dtype(self, name: str) -> Any:
        spec = self._spec(name, "getTensorDataType")
        return self._api.enums["DataType"]["FLOAT" if spec is None else spec.dtype]

    def get_tensor_mode(self, name: str) -> Any:
        spec, kind = self._spec(name, "getTensorIOMode"), self._api.enums["TensorIOMode"]
        return kind.NONE if spec is None else kind.OUTPUT if spec.output else kind.INPUT

    def get_tensor_location(self, name: str) -> Any:
        self._spec(name, "getTensorLocation")
        return self._api.enums["TensorLocation"].DEVICE

    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:
        del profile_index
        self._spec(name, "getTensorFormat")
        return self._api.enums["TensorFormat"].LINEAR

    def get_tensor_format_desc(self, name: str, profile_index: int = 0) -> str:
        del profile_index
        spec = self._spec(name, "getTensorFormatDesc")
        return "" if spec is None else f"Row-major linear {spec.dtype} format"

    # Not vectorised: the answer is -1, as for an unknown name.
    def get_tensor_bytes_per_component(self, name: str, profile_index: int = 0) -> int:
        del profile_index
        self._spec(name, "getTensorBytesPerComponent")
        return -1

    def get_tensor_components_per_element(self, name: str, profile_index: int = 0) -> int:
        del profile_index
        self._spec(name, "getTensorComponentsPerElement")
        return -1

    def get_tensor_vectorized_dim(self, name: str, profile_index: int = 0) -> int:
        del profile_index
        self._spec(name, "getTensorVectorizedDim")
        return -1

    def is_shape_inference_io(self, name: str) -> bool:
        self._spec(name, "isShapeInferenceIO")
        return False

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        spec = self._spec(name, "getProfileShape")
        known = spec is not None and not spec.output and integer(profile_index, "get_tensor_profile_shape") == 0
        return [self._api.dims(spec.shape) if spec is not None and known else invalid(self._api.dims) for _ in range(3)]

    def serialize(self) -> IHostMemory:
        return host_memory(self._api.classes["IHostMemory"], self._data)

    @only("10.16", "11.4", "rtx")
    def create_runtime_config(self) -> IRuntimeConfig:
        return new_config(self._api, self._voice)

    def create_execution_context(self, strategy: Any = None, runtime_config: IRuntimeConfig | None = None) -> IExecutionContext | None:
        kind = self._api.enums["ExecutionContextAllocationStrategy"]
        if isinstance(strategy, IRuntimeConfig):
            strategy, runtime_config = None, strategy
        if runtime_config is not None:
            config_kind = self._api.classes.get("IRuntimeConfig")
            if config_kind is None or strategy is not None or not isinstance(runtime_config, config_kind):
                raise TypeError("create_execution_context(): incompatible function arguments.")
            strategy = runtime_config._strategy
        strategy = require(kind.STATIC if strategy is None else strategy, kind, "create_execution_context")
        return new_context(self, strategy, runtime_config)

    def _spec(self, name: str, function: str) -> TensorSpec | None:
        found = next((spec for spec in self._plan.tensors if spec.name == require(name, str, function)), None)
        if found is None:
            self._voice.error(f"ICudaEngine::{function}: Error Code 3: Internal Error (Given invalid tensor name: {name}.)")
        return found
