"""An engine just built is loaded again before it counts, where the GPU it was built for is at hand."""

from __future__ import annotations

from edge.engines.api import CudaEngineApi
from edge.engines.backend import Backend
from edge.engines.box import gpu
from edge.engines.parse import Interface
from edge.engines.record import BuildOptions
from edge.errors import EngineError

_REMEDY = "Build it again; if it stays so, run the CPU engines and send the record to the maintainers"


def runs_here(backend: Backend, options: BuildOptions) -> str | None:
    """None where engines of `options` can run on this box's GPU, otherwise why not."""
    device = gpu()
    if device is None:
        return "no usable GPU here"
    target = f"SM{device.compute_capability.replace('.', '')}"
    built_for = targets_of(backend, options)
    return None if not built_for or target in built_for else f"built for {', '.join(built_for)}; this GPU is {target}"


def targets_of(backend: Backend, options: BuildOptions) -> tuple[str, ...]:
    """Every GPU generation that engines of `options` hold code for; empty where they are for the GPU at hand."""
    return options.targets or tuple(t for t in backend.targets if t != "SM75")  # Turing only when asked for


def prove(backend: Backend, data: bytes, wanted: Interface | None, what: str) -> None:
    """Deserialise `data` and find the inputs and outputs of `wanted` in it. Raises EngineError."""
    try:
        runtime = backend.api.Runtime(backend.log.logger)
    except TypeError as exc:
        raise EngineError(f"{what}: no runtime for the engine just built", seen=backend.log.tail(), remedy=_REMEDY) from exc
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise EngineError(f"{what}: the engine just built cannot be loaded", seen=backend.log.tail(), remedy=_REMEDY)
    if wanted is not None:
        _require_tensors(backend, engine, wanted, what)


def _require_tensors(backend: Backend, engine: CudaEngineApi, wanted: Interface, what: str) -> None:
    types = backend.api.DataType
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    seen = {name: (tuple(engine.get_tensor_shape(name)), engine.get_tensor_dtype(name)) for name in names}
    more = {name for name in (wanted.embedding, wanted.map) if name}
    agrees = (
        set(seen) - more == {wanted.input, wanted.output}
        and seen[wanted.input] == (wanted.input_shape, types.UINT8)
        and seen[wanted.output] == ((wanted.input_shape[0], wanted.classes), types.FLOAT)
    )
    if not agrees:
        raise EngineError(f"{what}: the engine just built differs from its network", seen=seen, remedy=_REMEDY)
