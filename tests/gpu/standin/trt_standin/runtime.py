"""Runtime: from the bytes of a plan to an engine on the device, or to None with the reason in the log alone."""

from __future__ import annotations

from typing import Any

from trt_standin import driver, plan
from trt_standin.binding import only
from trt_standin.builder import require_driver
from trt_standin.engine import ICudaEngine
from trt_standin.faults import strikes
from trt_standin.logger import Voice, register
from trt_standin.memory import take
from trt_standin.numerics import Numbers
from trt_standin.reporting import count
from trt_standin.voiced import Root

_WHERE = "IRuntime::deserializeCudaEngine"
_MIB = 1 << 20


class Runtime(Root):
    """Deserialises engines."""

    __slots__ = ("_dla", "_host_code")

    def __init__(self, logger: Any) -> None:
        register(logger, self._api, "createInferRuntime")
        require_driver(self._api)
        self._logger, self._threads, self._host_code, self._dla = logger, 1, False, -1
        self._voice = Voice(self._api)

    @property
    def engine_host_code_allowed(self) -> bool:
        return self._host_code

    @engine_host_code_allowed.setter
    def engine_host_code_allowed(self, allowed: bool) -> None:
        self._host_code = allowed

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802 -- NVIDIA's name
        return 0

    def deserialize_cuda_engine(self, serialized_engine: Any) -> ICudaEngine | None:
        data = self._api.buffer(serialized_engine, "deserialize_cuda_engine")
        if strikes("deserialise") is not None:
            self._voice.error(f"{_WHERE}: Error Code 1: Serialization (asked for by the test)")
            return None
        try:
            return self._load(data)
        except plan.PlanError as exc:
            self._voice.error(f"{_WHERE}: Error Code 1: Serialization ({exc})")
        except RuntimeError as exc:
            self._voice.error(f"{_WHERE}: Error Code 2: Internal Error ({' '.join(str(exc).split())[:300]})")
        return None

    def _load(self, data: bytes) -> ICudaEngine | None:
        name, capability = driver.device()
        if data and self._api.rtx and not capability:
            plan.check_header(data, version=self._api.version, rtx=True, capability=_any_target(data))
            raise RuntimeError(driver.text(driver.usable() or 100))
        built = plan.load(data, version=self._api.version, rtx=self._api.rtx, capability=capability)
        self._voice.say("INFO", f"Loaded engine size: {len(data) // _MIB} MiB")
        if built.gpu and built.gpu != name:
            self._voice.say(
                "WARNING", "Using an engine plan file across different models of devices is not recommended and is likely slow."
            )
        driver.use_primary_context()
        numbers = Numbers(built.onnx)
        weights = take(len(built.onnx), "weights of an engine", self._voice)
        if weights is None:
            return None
        count("engines")
        voice = Voice(self._api, self._voice.recorder)
        engine: ICudaEngine = self._api.make(
            "ICudaEngine", _data=data, _plan=built, _numbers=numbers, _weights=weights, _runtime=self, _voice=voice
        )
        return engine

    @property
    @only("rtx")
    def engine_header_size(self) -> int:
        return plan.HEADER_SIZE

    @only("rtx")
    def get_engine_validity(self, buffer: Any) -> tuple[Any, int]:
        data, kind = self._api.buffer(buffer, "get_engine_validity"), self._api.enums["EngineValidity"]
        _, capability = driver.device()
        try:
            plan.check_header(data, version=self._api.version, rtx=True, capability=capability or _any_target(data))
        except plan.PlanError as exc:
            self._voice.say("INFO", str(exc))
            return kind.INVALID, exc.diagnostics
        if not capability:
            self._voice.say("INTERNAL_ERROR", f"Error reading CUDA GPU properties: ({driver.text(driver.usable() or 100)})")
            return kind.INVALID, 0
        return kind.VALID, 0


def _any_target(data: bytes) -> int:
    """A compute capability that the plan was built for, where no device says which one is asked for."""
    return int.from_bytes(data[32:34], "little")
