"""The Q/DQ rules every runtime of the project agrees on, checked on the ONNX graph: wrong ones build silently and answer wrongly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from calib.graph import WEIGHTED, Graph, attribute, read_graph

MIN_OPSET, MAX_OPSET = 17, 20
"""Per-channel DequantizeLinear and FP32 scales in all of TensorRT 10.3 to 11, TensorRT-RTX and OpenVINO."""
MAX_IR_VERSION = 10
FORBIDDEN = ("QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
_PAIR = ("QuantizeLinear", "DequantizeLinear")
Findings: TypeAlias = Iterator[str]


def check_qdq(model: onnx.ModelProto) -> list[str]:
    """Every rule of docs/calibration.md that the model breaks, one sentence each; empty when it may be shipped."""
    graph = read_graph(model)
    findings = [*versions(model), *operators(model)]
    for rule in _RULES:
        findings.extend(rule(graph))
    return findings


def versions(model: onnx.ModelProto) -> Findings:
    """Opset and IR version that every target reads."""
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    if not MIN_OPSET <= opset <= MAX_OPSET:
        yield f"opset {opset} is outside {MIN_OPSET} to {MAX_OPSET}"
    if model.ir_version > MAX_IR_VERSION:
        yield f"IR version {model.ir_version} is above {MAX_IR_VERSION}"


def operators(model: onnx.ModelProto) -> Findings:
    """Standard operators only, and of them those that TensorRT takes."""
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            yield f"{node.name}: operator {node.domain}.{node.op_type} is not standard ONNX"
        if node.op_type in FORBIDDEN:
            yield f"{node.name}: {node.op_type} is not explicit Q/DQ"
        if node.op_type == "MaxPool" and len(node.output) > 1 and node.output[1]:
            yield f"{node.name}: MaxPool gives indices, which TensorRT does not know"
        if node.op_type == "MaxPool" and any(step > 1 for step in attribute(node, "dilations", ())):
            yield f"{node.name}: MaxPool is dilated, which TensorRT does not know"


def _unsigned(graph: Graph) -> Findings:
    """UINT8 nowhere but at the network's input: TensorRT reads it as INT8 without an error."""
    for node in graph.nodes:
        if node.op_type == "Cast" and attribute(node, "to", 0) == onnx.TensorProto.UINT8:
            yield f"{node.name}: casts to uint8"
    for name, value in graph.values.items():
        if value.dtype == np.uint8 and name in graph.users:
            yield f"{graph.users[name][0].name}: {name} is uint8"


def _scales(graph: Graph) -> Findings:
    for name, node in _constants(graph, 1):
        scale = graph.values.get(name)
        if scale is None:
            yield f"{node.name}: its scale is not a constant"
        elif scale.dtype != np.float32 or not np.all(np.isfinite(scale)) or not np.all(scale > 0):
            yield f"{node.name}: its scale is not finite positive float32"


def _zero_points(graph: Graph) -> Findings:
    for name, node in _constants(graph, 2):
        point, stored = graph.values.get(name), graph.values.get(node.input[0])
        if point is not None and (point.dtype == np.uint8 or (stored is not None and stored.dtype == np.int32)):
            continue  # reported as uint8, or as an int32 bias
        if point is None or point.dtype != np.int8 or np.any(point != 0):
            yield f"{node.name}: its zero-point is not the constant int8 0"
    for node in graph.nodes:
        if node.op_type == "QuantizeLinear" and (len(node.input) < 3 or not node.input[2]):
            yield f"{node.name}: without a zero-point it quantises to uint8"


def _stored(graph: Graph) -> Findings:
    """What is dequantised is INT8: made by QuantizeLinear or stored; an INT32 bias is not."""
    for node in graph.nodes:
        if node.op_type == "DequantizeLinear":
            value, maker = graph.values.get(node.input[0]), graph.maker.get(node.input[0])
            if value is None and (maker is None or maker.op_type != "QuantizeLinear"):
                yield f"{node.name}: dequantises what no QuantizeLinear made"
            elif value is not None and value.dtype == np.int32:
                yield f"{node.name}: dequantises an int32 bias, which must stay float32"
            elif value is not None and value.dtype not in (np.int8, np.uint8):
                yield f"{node.name}: {value.dtype} is dequantised, not int8"


def _pairs(graph: Graph) -> Findings:
    """Every QuantizeLinear leads to DequantizeLinear of the same scale and axis only, and every DequantizeLinear to somebody."""
    for node in graph.nodes:
        users = graph.users.get(node.output[0], []) if node.output else []
        if node.op_type == "QuantizeLinear":
            if not users or any(user.op_type != "DequantizeLinear" for user in users):
                yield f"{node.name}: QuantizeLinear without DequantizeLinear behind it"
            elif any(not _same_scale(node, user, graph) for user in users):
                yield f"{node.name}: quantises with another scale than its DequantizeLinear"
        if node.op_type == "DequantizeLinear" and not users and node.output[0] not in graph.outputs:
            yield f"{node.name}: DequantizeLinear that nobody reads"


def _activations(graph: Graph) -> Findings:
    for node in graph.quantisers():
        scale = graph.values.get(node.input[1])
        if scale is not None and scale.ndim:
            yield f"{node.name}: an activation has more than one scale"


def _weighted(graph: Graph) -> Findings:
    """Activation and weight quantised or neither; one weight scale per output channel along the right axis; a float bias."""
    layers = [node for node in graph.nodes if node.op_type in WEIGHTED]
    for node in layers:
        activation, weight = (graph.dequantised(name) for name in node.input[:2])
        if activation != weight:
            yield f"{node.name}: only one of {node.op_type}'s activation and weight is quantised"
        if weight and graph.before_pair(node.input[1]) is None:
            yield from _channels(node, graph)
        yield from _bias(node, graph)
    if not any(graph.dequantised(node.input[1]) for node in layers):
        yield "no layer with weights is quantised"


def _bias(node: onnx.NodeProto, graph: Graph) -> Findings:
    name = node.input[2] if len(node.input) > 2 else ""
    maker = graph.maker.get(name)
    stored = graph.values.get(maker.input[0]) if maker is not None and maker.op_type == "DequantizeLinear" else None
    if not name or (stored is not None and stored.dtype == np.int32):
        return  # the second is reported where it is dequantised
    bias = graph.values.get(name)
    if bias is None or bias.dtype != np.float32:
        yield f"{node.name}: its bias is not a float32 constant"


def _channels(node: onnx.NodeProto, graph: Graph) -> Findings:
    dequantiser, wanted = graph.maker[node.input[1]], channel_axis(node)
    weight, scale = _weight(dequantiser, graph), graph.values.get(dequantiser.input[1])
    if weight is None or scale is None:
        return
    axis = attribute(dequantiser, "axis", 1) % weight.ndim
    if scale.ndim != 1:
        yield f"{node.name}: its weight has no scale per output channel"
    elif axis != wanted or len(scale) != weight.shape[wanted]:
        yield f"{node.name}: weight scales run along axis {axis} ({len(scale)}), not along {wanted} of {weight.shape}"


def _residuals(graph: Graph) -> Findings:
    """Where a layer's output is added to a skip branch, Q/DQ stands on the skip branch only, so that the Add fuses into the layer.

    When both inputs come from layers (a downsampling block), it stands on either of them. An Add wholly in float is allowed.
    """
    for node in graph.nodes:
        if node.op_type != "Add" or any(name in graph.values for name in node.input):
            continue
        before = [graph.before_pair(name) for name in node.input]
        makers = [graph.maker.get(pair or name) for pair, name in zip(before, node.input, strict=True)]
        layers = [maker is not None and maker.op_type in WEIGHTED for maker in makers]
        if any(layers) and all(before):
            yield f"{node.name}: both inputs of the Add are quantised, so it cannot be fused into a layer"
        elif any(pair and layer for pair, layer in zip(before, layers, strict=True)) and not all(layers):
            yield f"{node.name}: Q/DQ stands between the layer and the Add, not on the skip branch"


def _concats(graph: Graph) -> Findings:
    for node in graph.nodes:
        if node.op_type == "Concat":
            scales = {_value(graph.maker[name].input[1], graph) for name in node.input if graph.before_pair(name) is not None}
            if len(scales) > 1:
                yield f"{node.name}: the Concat's quantised inputs have different scales"


_RULES: tuple[Callable[[Graph], Findings], ...] = (
    _unsigned,
    _scales,
    _zero_points,
    _stored,
    _pairs,
    _activations,
    _weighted,
    _residuals,
    _concats,
)


def channel_axis(node: onnx.NodeProto) -> int:
    """The axis of the weight along which the output channels lie."""
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return 0 if node.op_type == "Conv" else 1


def _constants(graph: Graph, place: int) -> list[tuple[str, onnx.NodeProto]]:
    """The different names at input `place` of the Q/DQ nodes, each with the first node that reads it."""
    first: dict[str, onnx.NodeProto] = {}
    for node in graph.nodes:
        if node.op_type in _PAIR and len(node.input) > place and node.input[place]:
            first.setdefault(node.input[place], node)
    return list(first.items())


def _same_scale(quantiser: onnx.NodeProto, dequantiser: onnx.NodeProto, graph: Graph) -> bool:
    scales = [graph.values.get(node.input[1]) for node in (quantiser, dequantiser)]
    if scales[0] is None or scales[1] is None:
        return True  # reported as not constant
    if scales[0].ndim and attribute(quantiser, "axis", 1) != attribute(dequantiser, "axis", 1):
        return False
    return np.array_equal(scales[0], scales[1], equal_nan=True)


def _value(name: str, graph: Graph) -> object:
    value = graph.values.get(name)
    return name if value is None else value.tobytes()


def _weight(dequantiser: onnx.NodeProto, graph: Graph) -> NDArray[Any] | None:
    name = dequantiser.input[0]
    if name not in graph.values and name in graph.maker:
        name = graph.maker[name].input[0]
    return graph.values.get(name)
