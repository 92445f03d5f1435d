"""Every rule is broken once on a graph that keeps all of them."""

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calib.qdq import check_qdq
from calib.ranges import activation_ranges

Change = Callable[[onnx.ModelProto], None]


def good_model() -> onnx.ModelProto:
    """x → Q → DQ → Conv(8 channels, INT8 weight, FP32 bias) → y."""
    values = {
        "x_scale": np.float32(0.02),
        "x_zero": np.int8(0),
        "w": np.ones((8, 3, 3, 3), np.int8),
        "w_scale": np.full(8, 0.01, np.float32),
        "w_zero": np.zeros(8, np.int8),
        "b": np.zeros(8, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "x_scale", "x_zero"], ["xq"], name="x_q"),
        helper.make_node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["xd"], name="x_dq"),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wd"], name="w_dq", axis=0),
        helper.make_node("Conv", ["xd", "wd", "b"], ["y"], name="conv"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 6, 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)


def value(name: str, array: object) -> Change:
    def change(model: onnx.ModelProto) -> None:
        kept = [t for t in model.graph.initializer if t.name != name]
        del model.graph.initializer[:]
        model.graph.initializer.extend([*kept, numpy_helper.from_array(np.asarray(array), name)])

    return change


def attribute(node: str, **attributes: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        found = next(n for n in model.graph.node if n.name == node)
        del found.attribute[:]
        found.attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())

    return change


def operator(node: str, op_type: str = "", domain: str = "") -> Change:
    def change(model: onnx.ModelProto) -> None:
        found = next(n for n in model.graph.node if n.name == node)
        found.op_type = op_type or found.op_type
        found.domain = domain

    return change


def inputs(node: str, *names: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        found = next(n for n in model.graph.node if n.name == node)
        del found.input[:]
        found.input.extend(names)

    return change


def remove(*names: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node if n.name not in names]
        del model.graph.node[:]
        model.graph.node.extend(kept)

    return change


def opset(version: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


def ir(version: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.ir_version = version

    return change


def several(*changes: Change) -> Change:
    def change(model: onnx.ModelProto) -> None:
        for one in changes:
            one(model)

    return change


def node(op_type: str, inputs: list[str], outputs: list[str], name: str, at: int | None = None, **attributes: object) -> Change:
    """Adds a node, at the end or at a place."""

    def change(model: onnx.ModelProto) -> None:
        made = helper.make_node(op_type, inputs, outputs, name=name, **attributes)
        model.graph.node.insert(len(model.graph.node) if at is None else at, made)

    return change


def residual_model() -> onnx.ModelProto:
    """Two branches from x: a convolution whose bare output is added to the quantised x, as ModelOpt writes it."""
    model = good_model()
    node("Add", ["y", "xd"], ["sum"], "add")(model)
    return model


def downsampling_model() -> onnx.ModelProto:
    """A convolution on either branch; the output of the second is quantised."""
    model = good_model()
    several(
        node("Conv", ["xd", "wd"], ["down"], "downsample"),
        node("QuantizeLinear", ["down", "x_scale", "x_zero"], ["dq_"], "down_q"),
        node("DequantizeLinear", ["dq_", "x_scale", "x_zero"], ["dd"], "down_dq"),
        node("Add", ["y", "dd"], ["sum"], "add"),
    )(model)
    return model


def concat_model() -> onnx.ModelProto:
    """x and y, each quantised, meet in a Concat."""
    model = good_model()
    several(
        value("y_scale", np.float32(0.02)),
        node("QuantizeLinear", ["y", "y_scale", "x_zero"], ["yq"], "y_q"),
        node("DequantizeLinear", ["yq", "y_scale", "x_zero"], ["yd"], "y_dq"),
        node("Concat", ["xd", "yd"], ["joined"], "concat", axis=1),
    )(model)
    return model


def transposed_model(op_type: str, **attributes: int) -> onnx.ModelProto:
    """As good_model, with another weighted layer whose output channels lie along axis 1 unless its attributes say otherwise."""
    model = good_model()
    shape = (3, 8, 3, 3) if op_type == "ConvTranspose" else (3, 8)
    several(operator("conv", op_type), value("w", np.ones(shape, np.int8)), attribute("w_dq", axis=1), attribute("conv", **attributes))(
        model
    )
    return model


GOOD: dict[str, Callable[[], onnx.ModelProto]] = {
    "convolution": good_model,
    "skip branch quantised": residual_model,
    "downsampling branch quantised": downsampling_model,
    "concat of equal scales": concat_model,
    "transposed convolution": partial(transposed_model, "ConvTranspose"),
    "plain Gemm": partial(transposed_model, "Gemm"),
    "matrix product": partial(transposed_model, "MatMul"),
}
BROKEN: dict[str, tuple[Callable[[], onnx.ModelProto], Change, str]] = {
    "old opset": (good_model, opset(13), "opset 13 is outside 17 to 20"),
    "new opset": (good_model, opset(21), "opset 21 is outside 17 to 20"),
    "new IR": (good_model, ir(11), "IR version 11 is above 10"),
    "vendor operator": (good_model, operator("conv", domain="com.vendor"), "conv: operator com.vendor.Conv is not standard ONNX"),
    "fused integer operator": (good_model, node("ConvInteger", ["y"], ["z"], "i"), "i: ConvInteger is not explicit Q/DQ"),
    "pooling with indices": (
        good_model,
        node("MaxPool", ["y"], ["z", "where"], "pool", kernel_shape=[2, 2]),
        "pool: MaxPool gives indices, which TensorRT does not know",
    ),
    "dilated pooling": (
        good_model,
        node("MaxPool", ["y"], ["z"], "pool", kernel_shape=[2, 2], dilations=[1, 2]),
        "pool: MaxPool is dilated, which TensorRT does not know",
    ),
    "uint8 weight": (good_model, value("w", np.ones((8, 3, 3, 3), np.uint8)), "w_dq: w is uint8"),
    "uint8 zero-point": (good_model, value("x_zero", np.uint8(0)), "x_q: x_zero is uint8"),
    "cast to uint8": (good_model, node("Cast", ["y"], ["z"], "cast", to=TensorProto.UINT8), "cast: casts to uint8"),
    "zero scale": (
        good_model,
        value("w_scale", np.r_[np.zeros(1), np.ones(7)].astype(np.float32)),
        "w_dq: its scale is not finite positive float32",
    ),
    "negative scale": (good_model, value("x_scale", np.float32(-1)), "x_q: its scale is not finite positive float32"),
    "infinite scale": (good_model, value("x_scale", np.float32(np.inf)), "x_q: its scale is not finite positive float32"),
    "scale that is no number": (good_model, value("x_scale", np.float32(np.nan)), "x_q: its scale is not finite positive float32"),
    "scale in float16": (good_model, value("x_scale", np.float16(1)), "x_q: its scale is not finite positive float32"),
    "computed scale": (good_model, inputs("x_q", "x", "y", "x_zero"), "x_q: its scale is not a constant"),
    "shifted zero-point": (good_model, value("x_zero", np.int8(3)), "x_q: its zero-point is not the constant int8 0"),
    "computed zero-point": (good_model, inputs("x_dq", "xq", "x_scale", "y"), "x_dq: its zero-point is not the constant int8 0"),
    "no zero-point": (good_model, inputs("x_q", "x", "x_scale"), "x_q: without a zero-point it quantises to uint8"),
    "dequantised floats": (
        good_model,
        several(remove("x_q"), inputs("x_dq", "x", "x_scale", "x_zero")),
        "x_dq: dequantises what no QuantizeLinear made",
    ),
    "int32 bias": (
        good_model,
        several(
            value("b_q", np.zeros(8, np.int32)),
            value("b_zero", np.zeros(8, np.int32)),
            node("DequantizeLinear", ["b_q", "w_scale", "b_zero"], ["bd"], "b_dq", at=0, axis=0),
            inputs("conv", "xd", "wd", "bd"),
        ),
        "b_dq: dequantises an int32 bias, which must stay float32",
    ),
    "int16 weight": (good_model, value("w", np.ones((8, 3, 3, 3), np.int16)), "w_dq: int16 is dequantised, not int8"),
    "quantised and never dequantised": (
        good_model,
        node("QuantizeLinear", ["y", "x_scale", "x_zero"], ["yq"], "y_q"),
        "y_q: QuantizeLinear without DequantizeLinear behind it",
    ),
    "integers read by a layer": (
        good_model,
        node("Relu", ["xq"], ["z"], "relu"),
        "x_q: QuantizeLinear without DequantizeLinear behind it",
    ),
    "dequantised with another scale": (
        good_model,
        several(value("other", np.float32(0.03)), inputs("x_dq", "xq", "other", "x_zero")),
        "x_q: quantises with another scale than its DequantizeLinear",
    ),
    "dequantised for nobody": (
        good_model,
        node("DequantizeLinear", ["xq", "x_scale", "x_zero"], ["z"], "spare"),
        "spare: DequantizeLinear that nobody reads",
    ),
    "activation scale per channel": (
        good_model,
        value("x_scale", np.full(3, 0.1, np.float32)),
        "x_q: an activation has more than one scale",
    ),
    "weight scale for the whole tensor": (
        good_model,
        value("w_scale", np.float32(0.1)),
        "conv: its weight has no scale per output channel",
    ),
    "weight scales along the wrong axis": (
        good_model,
        attribute("w_dq", axis=1),
        "conv: weight scales run along axis 1 (8), not along 0 of (8, 3, 3, 3)",
    ),
    "too few weight scales": (
        good_model,
        value("w_scale", np.full(3, 0.1, np.float32)),
        "conv: weight scales run along axis 0 (3), not along 0 of (8, 3, 3, 3)",
    ),
    "axis of a transposed convolution": (
        partial(transposed_model, "ConvTranspose"),
        attribute("w_dq", axis=0),
        "conv: weight scales run along axis 0 (8), not along 1 of (3, 8, 3, 3)",
    ),
    "axis of a plain Gemm": (
        partial(transposed_model, "Gemm"),
        attribute("w_dq", axis=0),
        "conv: weight scales run along axis 0 (8), not along 1 of (3, 8)",
    ),
    "axis of a transposed Gemm": (
        partial(transposed_model, "Gemm"),
        attribute("conv", transB=1),
        "conv: weight scales run along axis 1 (8), not along 0 of (3, 8)",
    ),
    "axis of a matrix product": (
        partial(transposed_model, "MatMul"),
        attribute("w_dq", axis=0),
        "conv: weight scales run along axis 0 (8), not along 1 of (3, 8)",
    ),
    "computed bias": (good_model, inputs("conv", "xd", "wd", "x"), "conv: its bias is not a float32 constant"),
    "integer bias": (good_model, value("b", np.zeros(8, np.int32)), "conv: its bias is not a float32 constant"),
    "float16 bias": (good_model, value("b", np.zeros(8, np.float16)), "conv: its bias is not a float32 constant"),
    "float activation": (residual_model, inputs("conv", "x", "wd", "b"), "conv: only one of Conv's activation and weight is quantised"),
    "float weight": (
        downsampling_model,
        several(value("w_float", np.ones((8, 3, 3, 3), np.float32)), inputs("conv", "xd", "w_float", "b")),
        "conv: only one of Conv's activation and weight is quantised",
    ),
    "nothing quantised": (
        good_model,
        several(remove("x_q", "x_dq", "w_dq"), value("wd", np.ones((8, 3, 3, 3), np.float32)), inputs("conv", "x", "wd", "b")),
        "no layer with weights is quantised",
    ),
    "both branches quantised": (
        downsampling_model,
        inputs("add", "xd", "dd"),
        "add: both inputs of the Add are quantised, so it cannot be fused into a layer",
    ),
    "main branch quantised": (
        downsampling_model,
        inputs("add", "x", "dd"),
        "add: Q/DQ stands between the layer and the Add, not on the skip branch",
    ),
    "concat of different scales": (
        concat_model,
        value("y_scale", np.float32(0.05)),
        "concat: the Concat's quantised inputs have different scales",
    ),
}


@pytest.mark.parametrize("correct", GOOD)
def test_a_correct_graph_has_no_findings(correct: str) -> None:
    assert check_qdq(GOOD[correct]()) == []


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_rule_is_the_one_finding(broken: str) -> None:
    build, change, finding = BROKEN[broken]
    model = build()
    assert check_qdq(model) == []
    change(model)
    assert check_qdq(model) == [finding]


def test_an_add_wholly_in_float_is_allowed() -> None:
    model = residual_model()
    inputs("add", "y", "x")(model)
    assert check_qdq(model) == []


def test_an_add_of_a_constant_is_no_residual() -> None:
    model = good_model()
    several(value("shift", np.ones((8, 1, 1), np.float32)), node("Add", ["y", "shift"], ["z"], "add"))(model)
    assert check_qdq(model) == []


def test_activation_ranges_name_tensor_consumer_and_amax() -> None:
    (found,) = activation_ranges(good_model())
    assert (found.tensor, found.consumers) == ("x", "Conv")
    assert found.amax == pytest.approx(2.54)
