"""An ONNX file as a parser sees it: interface, layers, and the nodes that TensorRT would not read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trt_standin.numerics import read_model
from trt_standin.plan import TensorSpec

# From element types of ONNX
_TYPES = {1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF", 16: "BF16"}
_SCRATCH_STEP = 512


class GraphError(Exception):
    """The graph cannot be read; `code` is a member of ErrorCode, `node` its index or -1."""

    def __init__(self, text: str, *, code: str, node: int = -1, name: str = "", operator: str = "") -> None:
        self.code, self.node, self.name, self.operator = code, node, name, operator
        super().__init__(text)


@dataclass(frozen=True)
class Graph:
    """What a network definition holds."""

    tensors: tuple[TensorSpec, ...]
    layers: tuple[str, ...]
    scratch: int
    quantised: bool
    warnings: tuple[str, ...]
    onnx: bytes


EMPTY = Graph((), (), 0, False, (), b"")


def read(data: bytes, path: str | None) -> Graph:
    """The graph in `data`. Raises GraphError; empty bytes are a graph of nothing."""
    import onnx  # noqa: PLC0415 -- a process that only runs engines has no use for it
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    if not data:
        return EMPTY
    try:
        model = onnx.load_from_string(data)
    except DecodeError:
        text = "Assertion failed: model->ParseFromCodedStream(&codedInput): Failed to parse the ONNX model."
        raise GraphError(text, code="MODEL_DESERIALIZE_FAILED") from None
    data = _with_weights(onnx, model, data, path)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    warnings: list[str] = []
    for index, node in enumerate(model.graph.node):
        warnings += _check_node(onnx, index, node, constants)
    tensors, scratch = _interface(model, data)
    used = {name for node in model.graph.node for name in node.input}
    layers = (*(name for name in constants if name in used), *(node.name or f"node_of_{node.output[0]}" for node in model.graph.node))
    quantised = any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    return Graph(tensors, layers, scratch, quantised, tuple(warnings), data)


def _with_weights(onnx: Any, model: Any, data: bytes, path: str | None) -> bytes:
    if not any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        return data
    if path is None:
        raise GraphError("Failed to import initializer", code="INVALID_GRAPH")
    onnx.load_external_data_for_model(model, str(Path(path).parent))
    loaded: bytes = model.SerializeToString()
    return loaded


def _check_node(onnx: Any, index: int, node: Any, constants: dict[str, Any]) -> Iterator[str]:
    """Warnings. Raises GraphError."""

    def refuse(text: str, code: str = "INVALID_NODE") -> GraphError:
        return GraphError(text, code=code, node=index, name=node.name, operator=node.op_type)

    if not onnx.defs.has(node.op_type, node.domain):
        raise refuse("Plugin not found, are the plugin name, version, and namespace correct?", "UNSUPPORTED_NODE")
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        return
    value, scale, zero = (constants.get(name) for name in (*node.input, "", "")[:3])
    if value is not None and value.data_type == onnx.TensorProto.INT32:
        raise refuse(f"{node.name}: input has type Int32 but must have type FP8, FP4, Int4, Int8, or UInt8.")
    if zero is not None and onnx.numpy_helper.to_array(zero).any():
        raise refuse("Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero zero point is not supported.")
    if scale is not None and not (onnx.numpy_helper.to_array(scale) > 0).all():
        raise refuse("Scale coefficients must all be positive")
    if zero is not None and zero.data_type == onnx.TensorProto.UINT8:
        yield f"{node.name}: a zero point of type UINT8 is read as INT8"


def _interface(model: Any, data: bytes) -> tuple[tuple[TensorSpec, ...], int]:
    """Inputs and outputs in the file's order, -1 for dynamic sizes, and the bytes of the two largest values in between."""
    try:
        read_in = read_model(data)
    except RuntimeError as exc:
        raise _located(model, " ".join(str(exc).split())) from exc
    types = {port.name: port.type.tensor_type.elem_type for port in (*model.graph.input, *model.graph.output)}
    tensors = []
    for side, output in ((model.graph.input, False), (model.graph.output, True)):
        for port in side:
            found = read_in.output(port.name) if output else read_in.input(port.name)
            shape = tuple(-1 if size.is_dynamic else size.get_length() for size in found.partial_shape)
            tensors.append(TensorSpec(port.name, shape, _TYPES.get(types[port.name], "FLOAT"), output))
    sizes = sorted(
        _volume(port.get_shape())
        for node in read_in.get_ordered_ops()
        if node.get_type_name() != "Constant"
        for port in node.outputs()
        if port.partial_shape.is_static
    )
    return tuple(tensors), -(-4 * sum(sizes[-2:]) // _SCRATCH_STEP) * _SCRATCH_STEP


def _located(model: Any, text: str) -> GraphError:
    """The error with the last node whose name it tells."""
    for index, node in reversed(list(enumerate(model.graph.node))):
        if node.name and node.name in text:
            return GraphError(text, code="INVALID_NODE", node=index, name=node.name, operator=node.op_type)
    return GraphError(text, code="INVALID_GRAPH")


def _volume(shape: Any) -> int:
    volume = 1
    for size in shape:
        volume *= int(size)
    return volume
