"""The enumerations, with the integers that each version gives them: they differ between majors."""

from __future__ import annotations

from typing import Any

from trt_standin.binding import FAMILIES, Family, OrderedEnum, TrtEnum, enumeration

_SIZES = {
    "FLOAT": 4,
    "HALF": 2,
    "BF16": 2,
    "INT8": 1,
    "INT32": 4,
    "INT64": 8,
    "BOOL": 1,
    "UINT8": 1,
    "FP8": 1,
    "INT4": 0.5,
    "FP4": 0.5,
    "E8M0": 1,
}
ALIASES = {
    "float32": "FLOAT",
    "float16": "HALF",
    "bfloat16": "BF16",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "bool": "BOOL",
    "uint8": "UINT8",
    "fp8": "FP8",
    "int4": "INT4",
}
"""Module attributes that are data types."""


class _DataType(TrtEnum):
    @property
    def itemsize(self) -> float:
        return _SIZES[self.name]


# name: one integer for all versions, or one for each of 10.3, 10.16, 11.4 and RTX with None where it is missing
_Value = int | tuple[int | None, int | None, int | None, int | None]

SEVERITY: dict[str, _Value] = {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4}

_TABLE: dict[str, dict[str, _Value]] = {
    "DataType": {
        "FLOAT": 0,
        "HALF": 1,
        "BF16": 7,
        "INT8": 2,
        "INT32": 3,
        "INT64": 8,
        "BOOL": 4,
        "UINT8": 5,
        "FP8": 6,
        "INT4": 9,
        "FP4": (None, 10, 10, 10),
        "E8M0": (None, 11, 11, 11),
    },
    "MemoryPoolType": {
        "WORKSPACE": 0,
        "DLA_MANAGED_SRAM": 1,
        "DLA_LOCAL_DRAM": 2,
        "DLA_GLOBAL_DRAM": 3,
        "TACTIC_DRAM": 4,
        "TACTIC_SHARED_MEMORY": 5,
    },
    "NetworkDefinitionCreationFlag": {"EXPLICIT_BATCH": (0, 0, None, None), "STRONGLY_TYPED": (1, 1, 0, 0)},
    "BuilderFlag": {
        "FP16": (0, 0, None, None),
        "INT8": (1, 1, None, None),
        "DEBUG": 2,
        "GPU_FALLBACK": 3,
        "REFIT": 4,
        "DISABLE_TIMING_CACHE": 5,
        "TF32": 6,
        "SPARSE_WEIGHTS": 7,
        "OBEY_PRECISION_CONSTRAINTS": (9, 9, None, None),
        "PREFER_PRECISION_CONSTRAINTS": (10, 10, None, None),
        "DIRECT_IO": 11,
        "REJECT_EMPTY_ALGORITHMS": (12, 12, None, None),
        "VERSION_COMPATIBLE": (13, 13, 12, 12),
        "EXCLUDE_LEAN_RUNTIME": (14, 14, 13, 13),
        "FP8": (15, 15, None, None),
        "ERROR_ON_TIMING_CACHE_MISS": (16, 16, 15, 15),
        "BF16": (17, 17, None, None),
        "STRIP_PLAN": (19, 19, 18, 18),
        "WEIGHTLESS": (19, 19, None, None),
        "REFIT_IDENTICAL": (20, 20, 19, 19),
        "INT4": (22, 22, None, None),
        "REFIT_INDIVIDUAL": (23, 23, 22, 22),
        "STRICT_NANS": (None, 24, 23, 23),
        "MONITOR_MEMORY": (None, 25, 24, 24),
        "EDITABLE_TIMING_CACHE": (None, 27, 26, 26),
        "DISTRIBUTIVE_INDEPENDENCE": (None, 28, 27, 27),
        "REQUIRE_USER_ALLOCATION": (None, None, None, 28),
    },
    "TensorIOMode": {"NONE": 0, "INPUT": 1, "OUTPUT": 2},
    "TensorLocation": {"DEVICE": 0, "HOST": 1},
    "TensorFormat": {"LINEAR": 0, "CHW2": 1, "HWC8": 2, "CHW4": 3, "CHW16": 4, "CHW32": 5, "HWC": 8, "HWC16": 11},
    "ExecutionContextAllocationStrategy": {"STATIC": 0, "ON_PROFILE_CHANGE": 1, "USER_MANAGED": 2},
    "ProfilingVerbosity": {"LAYER_NAMES_ONLY": 0, "NONE": 1, "DETAILED": 2},
    "HardwareCompatibilityLevel": {"NONE": 0, "AMPERE_PLUS": 1, "SAME_COMPUTE_CAPABILITY": (None, 2, 2, 2)},
    "EngineCapability": {"STANDARD": 0, "SAFETY": 1, "DLA_STANDALONE": 2},
    "LayerInformationFormat": {"ONELINE": 0, "JSON": 1},
    "ErrorCode": {
        "SUCCESS": 0,
        "INTERNAL_ERROR": 1,
        "MEM_ALLOC_FAILED": 2,
        "MODEL_DESERIALIZE_FAILED": 3,
        "INVALID_VALUE": 4,
        "INVALID_GRAPH": 5,
        "INVALID_NODE": 6,
        "UNSUPPORTED_GRAPH": 7,
        "UNSUPPORTED_NODE": 8,
    },
    "ErrorCodeTRT": {
        "SUCCESS": 0,
        "UNSPECIFIED_ERROR": 1,
        "INTERNAL_ERROR": 2,
        "INVALID_ARGUMENT": 3,
        "INVALID_CONFIG": 4,
        "FAILED_ALLOCATION": 5,
        "FAILED_INITIALIZATION": 6,
        "FAILED_EXECUTION": 7,
        "FAILED_COMPUTATION": 8,
        "INVALID_STATE": 9,
        "UNSUPPORTED_STATE": 10,
    },
    "ComputeCapability": {
        name: (None, None, None, value)
        for name, value in (
            ("NONE", 0),
            ("CURRENT", 1),
            ("SM75", 75),
            ("SM80", 80),
            ("SM86", 86),
            ("SM89", 89),
            ("SM120", 120),
            ("SM121", 121),
        )
    },
    "CudaGraphStrategy": {"DISABLED": (None, None, None, 0), "WHOLE_GRAPH_CAPTURE": (None, None, None, 1)},
    "DynamicShapesKernelSpecializationStrategy": {
        "LAZY": (None, None, None, 0),
        "EAGER": (None, None, None, 1),
        "NONE": (None, None, None, 2),
    },
    "EngineValidity": {"VALID": (None, None, None, 0), "SUBOPTIMAL": (None, None, None, 1), "INVALID": (None, None, None, 2)},
    "EngineInvalidityDiagnostics": {
        name: (None, None, None, value)
        for name, value in (
            ("VERSION_MISMATCH", 1),
            ("UNSUPPORTED_CC", 2),
            ("OLD_CUDA_DRIVER", 4),
            ("OLD_CUDA_RUNTIME", 8),
            ("INSUFFICIENT_GPU_MEMORY", 16),
            ("MALFORMED_ENGINE", 32),
            ("CUDA_ERROR", 64),
        )
    },
}


def _members(table: dict[str, _Value], family: Family) -> list[tuple[str, int]]:
    index = FAMILIES.index(family)
    seen = ((name, value if isinstance(value, int) else value[index]) for name, value in table.items())
    return [(name, value) for name, value in seen if value is not None]


def enums(family: Family, module: str) -> dict[str, Any]:
    """Every enumeration that `family` has, by name."""
    found = {}
    for name, table in _TABLE.items():
        members = _members(table, family)
        if members:
            found[name] = enumeration(_DataType if name == "DataType" else TrtEnum, name, module, members)
    return found


def severity(family: Family, module: str) -> Any:
    """ILogger.Severity."""
    return enumeration(OrderedEnum, "Severity", module, _members(SEVERITY, family))
