"""From ONNX bytes to a network that agrees with the bundle's manifest; every way to fail has its message."""

from __future__ import annotations

from typing import Any

import msgspec

from edge.bundle import Member
from edge.engines.api import NetworkApi, OnnxParserApi, TensorApi
from edge.engines.backend import Backend
from edge.errors import EngineError

EXPORT_AGAIN = "Export the bundle again with this release"


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """What a network's input and outputs must be, by name; shapes are those of the engine, with its batch."""

    input: str
    input_shape: tuple[int, int, int, int]
    output: str
    classes: int
    embedding: str | None = None
    map: str | None = None
    map_shape: tuple[int, int] = (0, 0)

    @staticmethod
    def of(member: Member, shape: tuple[int, int], batch: int) -> Interface:
        """The interface of `member` for heightmaps of `shape` (height, width) and a static batch."""
        classes = len(member.classes)
        return Interface(
            input=member.input,
            input_shape=(batch, 1, *shape),
            output=member.output,
            classes=classes,
            embedding=member.embedding,
            map=None if member.map is None else member.map.name,
            map_shape=(0, 0) if member.map is None else member.map.shape,
        )


def parse_network(backend: Backend, builder: Any, onnx: bytes | memoryview, what: str) -> NetworkApi:
    """A strongly typed network with every layer of `onnx`. Raises EngineError naming each node that could not be read."""
    trt = backend.api
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    if network is None:
        raise EngineError(
            f"{what}: the builder gave no network", seen=backend.log.tail(), remedy="Restart the command; see docs/engines.md"
        )
    parser = trt.OnnxParser(network, backend.log.logger)
    parsed = parser.parse(onnx)
    if not parsed or parser.num_errors:
        raise EngineError(f"{what} cannot be parsed by {backend.name} {backend.version}", seen=_errors(parser, backend), remedy=_REMEDY)
    # Empty bytes parse without an error.
    if not (network.num_layers and network.num_inputs and network.num_outputs):
        seen = f"{network.num_layers} layers, {network.num_inputs} inputs, {network.num_outputs} outputs from {len(onnx)} bytes"
        raise EngineError(f"{what} holds no network", seen=seen, remedy=EXPORT_AGAIN)
    checked: NetworkApi = network
    return checked


_REMEDY = (
    "`cordon export` writes what every supported TensorRT reads (symmetric INT8, zero-point 0, FP32 bias, static shapes): "
    "export the network again, or replace the operator named; 'Plugin not found' means an operator TensorRT does not have"
)


def _errors(parser: OnnxParserApi, backend: Backend) -> str:
    told = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        node = f"node {error.node()} {error.node_name()!r} ({error.node_operator()})" if error.node_operator() else f"node {error.node()}"
        told.append(f"{getattr(error.code(), 'name', error.code())} at {node}: {_shortened(error.desc())}")
    return "; ".join(told) or backend.log.tail()


def _shortened(text: str) -> str:
    """One line of at most 300 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:297] + "..."


def check_interface(backend: Backend, network: NetworkApi, wanted: Interface, what: str) -> None:
    """Names, dtypes and shapes must be those of `wanted`. Raises EngineError."""
    trt = backend.api
    source = _tensors(network.num_inputs, network.get_input)
    _require(list(source) == [wanted.input], f"{what}: inputs", list(source), wanted.input)
    tensor = source[wanted.input]
    _require(tensor.dtype == trt.DataType.UINT8, f"{what}: type of input {wanted.input}", tensor.dtype, "UINT8")
    seen = _shape(tensor, f"{what}: input {wanted.input}", backend)
    _require(seen == wanted.input_shape, f"{what}: shape of input {wanted.input}", seen, f"{wanted.input_shape}, static")
    _check_outputs(backend, network, wanted, what)


def _check_outputs(backend: Backend, network: NetworkApi, wanted: Interface, what: str) -> None:
    outputs = _tensors(network.num_outputs, network.get_output)
    names = {wanted.output} | {name for name in (wanted.embedding, wanted.map) if name}
    _require(set(outputs) == names, f"{what}: outputs", sorted(outputs), sorted(names))
    batch = wanted.input_shape[0]
    for name, tensor in outputs.items():
        _require(tensor.dtype == backend.api.DataType.FLOAT, f"{what}: type of output {name}", tensor.dtype, "FLOAT")
        shape = _shape(tensor, f"{what}: output {name}", backend)
        promised = {wanted.output: (batch, wanted.classes), wanted.map: (batch, *wanted.map_shape)}.get(name)
        fits = shape == promised if promised else len(shape) == 2 and shape[0] == batch and shape[1] > 0
        hint = " (a Reshape with a fixed batch keeps it at 1)" if shape[:1] == (1,) and batch > 1 else ""
        _require(fits, f"{what}: shape of output {name}", f"{shape}{hint}", str(promised or f"({batch}, any)"))


def _tensors(count: int, get: Any) -> dict[str, TensorApi]:
    tensors = [get(index) for index in range(count)]
    return {tensor.name: tensor for tensor in tensors if tensor is not None}


def _shape(tensor: TensorApi, what: str, backend: Backend) -> tuple[int, ...]:
    try:
        return tuple(tensor.shape)
    except (ValueError, TypeError, RuntimeError) as exc:  # by version: a negative length, or a message in the log
        remedy = "Export the network without a Reshape to a fixed batch, or build for batch 1"
        raise EngineError(f"{what} has no shape", seen=backend.log.tail(1), remedy=remedy) from exc


def _require(condition: bool, what: str, seen: object, wanted: object) -> None:
    if not condition:
        raise EngineError(f"{what} do not agree with the manifest, which says {wanted}", seen=seen, remedy=EXPORT_AGAIN)
