"""Everything of NVIDIA's Python API that this room uses, as one typed table: mypy holds the code to it, a test the real bindings.

A method lists the arguments passed, in order; a plain attribute is also set, a property only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class LoggerApi(Protocol):
    INTERNAL_ERROR: Any
    ERROR: Any
    WARNING: Any
    INFO: Any

    def __init__(self) -> None: ...
    def log(self, severity: Any, msg: str) -> None: ...


class ProgressMonitorApi(Protocol):
    def __init__(self) -> None: ...
    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None: ...
    def step_complete(self, phase_name: str, step: int) -> bool: ...
    def phase_finish(self, phase_name: str) -> None: ...


class TensorApi(Protocol):
    @property
    def shape(self) -> Sequence[int]: ...
    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> Any: ...


class NetworkApi(Protocol):
    @property
    def num_layers(self) -> int: ...
    @property
    def num_inputs(self) -> int: ...
    @property
    def num_outputs(self) -> int: ...
    def get_input(self, index: int) -> TensorApi | None: ...
    def get_output(self, index: int) -> TensorApi | None: ...


class ParserErrorApi(Protocol):
    def code(self) -> Any: ...
    def desc(self) -> str: ...
    def node(self) -> int: ...
    def node_name(self) -> str: ...
    def node_operator(self) -> str: ...


class OnnxParserApi(Protocol):
    def __init__(self, network: NetworkApi, logger: Any) -> None: ...
    def parse(self, model: bytes | memoryview) -> bool: ...
    @property
    def num_errors(self) -> int: ...
    def get_error(self, index: int) -> ParserErrorApi: ...


class HostMemoryApi(Protocol):
    @property
    def nbytes(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...


class TimingCacheApi(Protocol):
    def serialize(self) -> HostMemoryApi | None: ...


class BuilderConfigApi(Protocol):
    builder_optimization_level: int
    avg_timing_iterations: int
    max_aux_streams: int
    progress_monitor: Any
    num_compute_capabilities: int

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None: ...
    def set_flag(self, flag: Any) -> None: ...
    def set_compute_capability(self, compute_capability: Any, index: int) -> bool: ...
    def create_timing_cache(self, serialized_timing_cache: bytes) -> TimingCacheApi | None: ...
    def set_timing_cache(self, cache: TimingCacheApi, ignore_mismatch: bool) -> bool: ...
    def get_timing_cache(self) -> TimingCacheApi | None: ...


class BuilderApi(Protocol):
    def __init__(self, logger: Any) -> None: ...
    def create_network(self, flags: int) -> NetworkApi | None: ...
    def create_builder_config(self) -> BuilderConfigApi | None: ...
    def build_serialized_network(self, network: NetworkApi, config: BuilderConfigApi) -> HostMemoryApi | None: ...


class ExecutionContextApi(Protocol):
    def set_device_memory(self, memory: int, size: int) -> None: ...
    def set_tensor_address(self, name: str, memory: int) -> bool: ...
    def set_aux_streams(self, aux_streams: Sequence[int]) -> None: ...
    def execute_async_v3(self, stream_handle: int) -> bool: ...
    def is_stream_capturable(self, stream: int) -> bool: ...


class RuntimeCacheApi(Protocol):
    def serialize(self) -> HostMemoryApi | None: ...
    def deserialize(self, blob: bytes) -> bool: ...


class RuntimeConfigApi(Protocol):
    cuda_graph_strategy: Any

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None: ...
    def create_runtime_cache(self) -> RuntimeCacheApi | None: ...
    def set_runtime_cache(self, cache: RuntimeCacheApi) -> bool: ...


class CudaEngineApi(Protocol):
    @property
    def num_io_tensors(self) -> int: ...
    @property
    def num_aux_streams(self) -> int: ...
    @property
    def device_memory_size_v2(self) -> int: ...
    def get_tensor_name(self, index: int) -> str: ...
    def get_tensor_mode(self, name: str) -> Any: ...
    def get_tensor_shape(self, name: str) -> Sequence[int]: ...
    def get_tensor_dtype(self, name: str) -> Any: ...
    def get_tensor_format(self, name: str) -> Any: ...
    def get_tensor_location(self, name: str) -> Any: ...
    def create_runtime_config(self) -> RuntimeConfigApi | None: ...
    def create_execution_context(self, strategy: Any) -> ExecutionContextApi | None:
        """Or, in its place, a runtime config, where there is one."""


class RuntimeApi(Protocol):
    engine_host_code_allowed: bool

    def __init__(self, logger: Any) -> None: ...
    def deserialize_cuda_engine(self, serialized_engine: bytes) -> CudaEngineApi | None: ...
    def get_engine_validity(self, buffer: bytes) -> tuple[Any, int]: ...


class DataTypeApi(Protocol):
    UINT8: Any
    FLOAT: Any


class MemoryPoolTypeApi(Protocol):
    WORKSPACE: Any


class BuilderFlagApi(Protocol):
    REQUIRE_USER_ALLOCATION: Any


class NetworkFlagApi(Protocol):
    STRONGLY_TYPED: Any


class AllocationStrategyApi(Protocol):
    USER_MANAGED: Any


class TensorIOModeApi(Protocol):
    INPUT: Any


class TensorLocationApi(Protocol):
    DEVICE: Any


class TensorFormatApi(Protocol):
    LINEAR: Any


class CudaGraphStrategyApi(Protocol):
    WHOLE_GRAPH_CAPTURE: Any


class EngineValidityApi(Protocol):
    INVALID: Any


class TensorRT(Protocol):
    """The module itself, `tensorrt` 10.3 to 11.x or `tensorrt_rtx`: each name with its part of the table."""

    __version__: str
    Builder: type[BuilderApi]
    INetworkDefinition: type[NetworkApi]
    ITensor: type[TensorApi]
    OnnxParser: type[OnnxParserApi]
    ParserError: type[ParserErrorApi]
    IBuilderConfig: type[BuilderConfigApi]
    ITimingCache: type[TimingCacheApi]
    IHostMemory: type[HostMemoryApi]
    Runtime: type[RuntimeApi]
    ICudaEngine: type[CudaEngineApi]
    ILogger: type[LoggerApi]
    IProgressMonitor: type[ProgressMonitorApi]
    DataType: DataTypeApi
    MemoryPoolType: MemoryPoolTypeApi
    BuilderFlag: BuilderFlagApi
    NetworkDefinitionCreationFlag: NetworkFlagApi
    ComputeCapability: Any
    IExecutionContext: type[ExecutionContextApi]
    IRuntimeConfig: type[RuntimeConfigApi]
    IRuntimeCache: type[RuntimeCacheApi]
    ExecutionContextAllocationStrategy: AllocationStrategyApi
    TensorIOMode: TensorIOModeApi
    TensorLocation: TensorLocationApi
    TensorFormat: TensorFormatApi
    CudaGraphStrategy: CudaGraphStrategyApi
    EngineValidity: EngineValidityApi
    EngineInvalidityDiagnostics: Any


RTX_ONLY = frozenset(
    {
        "BuilderFlag.REQUIRE_USER_ALLOCATION",
        "ComputeCapability",
        "IBuilderConfig.num_compute_capabilities",
        "IBuilderConfig.set_compute_capability",
        "CudaGraphStrategy",
        "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE",
        "EngineInvalidityDiagnostics",
        "EngineValidity",
        "EngineValidity.INVALID",
        "IExecutionContext.is_stream_capturable",
        "IRuntimeCache",
        "IRuntimeCache.deserialize",
        "IRuntimeCache.serialize",
        "IRuntimeConfig.create_runtime_cache",
        "IRuntimeConfig.cuda_graph_strategy",
        "IRuntimeConfig.set_runtime_cache",
        "Runtime.get_engine_validity",
    }
)
"""Present in TensorRT-RTX alone; `Features` says whether they are there before they are used."""

NOT_IN_10_3 = frozenset({"ICudaEngine.create_runtime_config", "IRuntimeConfig", "IRuntimeConfig.set_execution_context_allocation_strategy"})
"""Present in later TensorRT and in TensorRT-RTX; only the latter's way of running needs them."""
