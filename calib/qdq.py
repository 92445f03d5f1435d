"""The Q/DQ rules every runtime of the project agrees on, checked on the ONNX graph: wrong ones build silently and answer wrongly."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

MIN_OPSET, MAX_OPSET = 17, 20
"""Per-channel DequantizeLinear and FP32 scales in all of TensorRT 10.3 to 11, TensorRT-RTX and OpenVINO."""
MAX_IR_VERSION = 10
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
FORBIDDEN = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")


@dataclass(frozen=True)
class _Graph:
    """The model's nodes by what they make, and its initialisers."""

    nodes: tuple[onnx.NodeProto, ...]
    maker: dict[str, onnx.NodeProto]
    values: dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class ActivationRange:
    """One quantised activation: values beyond `amax` are clipped to it."""

    tensor: str
    consumers: str
    amax: float


def check_qdq(model: onnx.ModelProto) -> list[str]:
    """Every rule the model breaks, one sentence each; empty when it may be shipped."""
    graph = _read(model)
    findings = list(_versions(model))
    for node in graph.nodes:
        if node.domain not in ("", "ai.onnx"):
            findings.append(f"{node.name}: operator {node.domain}.{node.op_type} is not standard ONNX")
        if node.op_type in FORBIDDEN:
            findings.append(f"{node.name}: {node.op_type} is not explicit Q/DQ")
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            findings.extend(_pair(node, graph))
        if node.op_type in WEIGHTED:
            findings.extend(_weighted(node, graph))
    convolutions = (n for n in graph.nodes if n.op_type in ("Conv", "ConvTranspose"))
    if not any(_quantised(n.input[1], graph) for n in convolutions):
        findings.append("no convolution is quantised")
    return findings


def activation_ranges(model: onnx.ModelProto) -> tuple[ActivationRange, ...]:
    """The calibrated range (amax = 127 x scale) of every quantised activation, in graph order."""
    graph = _read(model)
    found = []
    for node in graph.nodes:
        if node.op_type == "QuantizeLinear" and node.input[0] not in graph.values and node.input[1] in graph.values:
            users = {n.op_type for n in graph.nodes for d in graph.nodes if node.output[0] in d.input and d.output[0] in n.input}
            amax = float(np.max(graph.values[node.input[1]])) * 127.0
            found.append(ActivationRange(tensor=node.input[0], consumers="+".join(sorted(users)), amax=amax))
    return tuple(found)


def _read(model: onnx.ModelProto) -> _Graph:
    nodes = tuple(model.graph.node)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return _Graph(nodes, {name: node for node in nodes for name in node.output}, values)


def _versions(model: onnx.ModelProto) -> Iterable[str]:
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if not MIN_OPSET <= opset <= MAX_OPSET:
        yield f"opset {opset} is outside {MIN_OPSET} to {MAX_OPSET}"
    if model.ir_version > MAX_IR_VERSION:
        yield f"IR version {model.ir_version} is above {MAX_IR_VERSION}"


def _pair(node: onnx.NodeProto, graph: _Graph) -> Iterable[str]:
    """Scale constant, finite and positive; INT8 with zero-point 0; one scale per activation tensor."""
    scale = graph.values.get(node.input[1])
    if scale is None:
        yield f"{node.name}: its scale is not a constant"
    elif scale.dtype != np.float32 or not np.all(np.isfinite(scale)) or not np.all(scale > 0):
        yield f"{node.name}: its scale is not finite positive float32"
    elif scale.ndim and _is_activation(node, graph):
        yield f"{node.name}: an activation has more than one scale"
    yield from _zero_point(node, graph)


def _zero_point(node: onnx.NodeProto, graph: _Graph) -> Iterable[str]:
    stored = graph.values.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
    if stored is not None and stored.dtype != np.int8:
        yield f"{node.name}: {stored.dtype} is dequantised, not int8"
    name = node.input[2] if len(node.input) > 2 else ""
    if name:
        point = graph.values.get(name)
        if point is None or point.dtype != np.int8 or np.any(point != 0):
            yield f"{node.name}: its zero-point is not the constant int8 0"
    elif node.op_type == "QuantizeLinear":
        yield f"{node.name}: without a zero-point it quantises to uint8"


def _is_activation(node: onnx.NodeProto, graph: _Graph) -> bool:
    if node.op_type == "QuantizeLinear":
        return node.input[0] not in graph.values
    quantiser = graph.maker.get(node.input[0])
    return quantiser is not None and quantiser.op_type == "QuantizeLinear" and quantiser.input[0] not in graph.values


def _quantised(name: str, graph: _Graph) -> bool:
    maker = graph.maker.get(name)
    return maker is not None and maker.op_type == "DequantizeLinear"


def _weighted(node: onnx.NodeProto, graph: _Graph) -> Iterable[str]:
    """Both inputs or neither; one weight scale per output channel along the right axis; a float bias."""
    both = [_quantised(name, graph) for name in node.input[:2]]
    if both[0] != both[1]:
        yield f"{node.name}: only one of {node.op_type}'s activation and weight is quantised"
    if both[1] and not _is_activation(graph.maker[node.input[1]], graph):
        yield from _channels(node, graph.maker[node.input[1]], graph)
    if len(node.input) > 2 and node.input[2]:
        bias = graph.values.get(node.input[2])
        if bias is None or bias.dtype != np.float32:
            yield f"{node.name}: its bias is not a float32 constant"


def _channels(node: onnx.NodeProto, dequantiser: onnx.NodeProto, graph: _Graph) -> Iterable[str]:
    wanted = _channel_axis(node)
    weight, scale = _stored_weight(dequantiser, graph), graph.values.get(dequantiser.input[1])
    if weight is None or scale is None:
        return
    axis = next((a.i for a in dequantiser.attribute if a.name == "axis"), 1) % weight.ndim
    if scale.ndim != 1:
        yield f"{node.name}: its weight has no scale per output channel"
    elif axis != wanted or len(scale) != weight.shape[wanted]:
        yield f"{node.name}: weight scales run along axis {axis} ({len(scale)}), not along {wanted} of {weight.shape}"


def _channel_axis(node: onnx.NodeProto) -> int:
    if node.op_type == "Gemm":
        return 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1
    return 0 if node.op_type == "Conv" else 1


def _stored_weight(dequantiser: onnx.NodeProto, graph: _Graph) -> NDArray[Any] | None:
    name = dequantiser.input[0]
    if name not in graph.values and name in graph.maker:
        name = graph.maker[name].input[0]
    return graph.values.get(name)
