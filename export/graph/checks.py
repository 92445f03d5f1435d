"""What an ONNX graph must be so that OpenVINO and every TensorRT run it: known operators, finite weights, 32-bit floats."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import numpy_helper

from edge.errors import ExportError
from export.sources.base import first_few, require_finite

SUPPORTED = frozenset(
    [
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "BatchNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "LRN",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Neg",
        "Abs",
        "Sqrt",
        "Exp",
        "Log",
        "Pow",
        "Erf",
        "Reciprocal",
        "Min",
        "Max",
        "Sum",
        "Mean",
        "Clip",
        "Where",
        "Equal",
        "Greater",
        "Less",
        "GreaterOrEqual",
        "LessOrEqual",
        "Not",
        "And",
        "Or",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Sin",
        "Cos",
        "Relu",
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Selu",
        "Celu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Mish",
        "Tanh",
        "Softplus",
        "Softsign",
        "ThresholdedRelu",
        "Softmax",
        "LogSoftmax",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "ReduceMean",
        "ReduceMax",
        "ReduceMin",
        "ReduceSum",
        "ReduceProd",
        "ReduceL1",
        "ReduceL2",
        "ReduceSumSquare",
        "ReduceLogSumExp",
        "ArgMax",
        "ArgMin",
        "Flatten",
        "Reshape",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Concat",
        "Split",
        "Slice",
        "Pad",
        "Expand",
        "Tile",
        "Gather",
        "GatherElements",
        "GatherND",
        "Shape",
        "ConstantOfShape",
        "Constant",
        "Identity",
        "Dropout",
        "Cast",
        "DepthToSpace",
        "SpaceToDepth",
        "Resize",
        "Einsum",
        "CumSum",
    ]
)
"""Operators that TensorRT 10.3 and later, TensorRT-RTX and OpenVINO all run with static shapes."""
DATA_DEPENDENT = frozenset({"NonZero", "Unique", "Compress", "NonMaxSuppression", "If", "Loop", "Scan"})
QUANTISED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"}
)
STANDARD_DOMAINS = ("", "ai.onnx")
_SMALL_FLOATS = {onnx.TensorProto.FLOAT16: "float16", onnx.TensorProto.BFLOAT16: "bfloat16"}


def require_supported(model: onnx.ModelProto, where: str) -> None:
    """Raises ExportError naming the operators, with the first node of each, that the box's runtimes do not all take."""
    require_standard_domains(model, where)
    nodes = list(model.graph.node)
    _refuse(nodes, QUANTISED, f"{where} is quantised already", "Give the FP32 network; Cordon quantises it and proves what that costs")
    _refuse(nodes, DATA_DEPENDENT, f"{where} has shapes or paths that depend on the data", "Replace the operator by one of fixed shape")
    unknown = frozenset(node.op_type for node in nodes) - SUPPORTED
    _refuse(nodes, unknown, f"{where} uses operators that OpenVINO and TensorRT do not all run", "Replace them, or export the network anew")
    odd = [f"{node.op_type} {node.name or node.output[0]}: {flaw}" for node in nodes for flaw in _flaws(node)]
    if odd:
        raise ExportError(f"{where} uses a form of pooling that TensorRT does not run", seen=first_few(odd), remedy="Use plain pooling")


def require_standard_domains(model: onnx.ModelProto, where: str) -> None:
    """Raises ExportError naming the nodes of operator sets other than ONNX's own."""
    custom = [node for node in model.graph.node if node.domain not in STANDARD_DOMAINS]
    if custom:
        raise ExportError(
            f"{where} uses operators that are not part of ONNX",
            seen=first_few(sorted({f"{node.domain}.{node.op_type} (node {node.name or node.output[0]})" for node in custom})),
            remedy="Export it again without custom operators and without optimising it for one runtime",
        )


def require_finite_weights(model: onnx.ModelProto, where: str) -> None:
    """Raises ExportError naming tensors with NaN or infinity, or with half-precision floats.

    Single numbers may be infinite: padding before a maximum is done with one.
    """
    tensors = list(_tensors(model.graph))
    half = [f"{name} is {_SMALL_FLOATS[tensor.data_type]}" for name, tensor in tensors if tensor.data_type in _SMALL_FLOATS]
    if half:
        raise ExportError(f"{where} has half-precision weights", seen=first_few(half), remedy="Export it in float32")
    require_finite({name: array for name, tensor in tensors if (array := numpy_helper.to_array(tensor)).size > 1}, where)


def _tensors(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value")


def _refuse(nodes: list[onnx.NodeProto], operators: frozenset[str], what: str, remedy: str) -> None:
    first = {node.op_type: node for node in reversed(nodes) if node.op_type in operators}
    if first:
        raise ExportError(what, seen=first_few([f"{op} (node {n.name or n.output[0]})" for op, n in sorted(first.items())]), remedy=remedy)


def _flaws(node: onnx.NodeProto) -> list[str]:
    if node.op_type != "MaxPool":
        return []
    dilated = any(a.name == "dilations" and any(d != 1 for d in a.ints) for a in node.attribute)
    return ["with indices"] * (len(node.output) > 1 and bool(node.output[1])) + ["dilated"] * dilated
