"""Every rule is broken once on a graph that keeps all of them."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from calib.qdq import activation_ranges, check_qdq

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


def opset(version: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


def ir(version: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.ir_version = version

    return change


BROKEN: dict[str, tuple[Change, str]] = {
    "uint8 weight": (value("w", np.ones((8, 3, 3, 3), np.uint8)), "uint8 is dequantised"),
    "uint8 zero-point": (value("x_zero", np.uint8(0)), "zero-point is not the constant int8 0"),
    "shifted zero-point": (value("x_zero", np.int8(3)), "zero-point is not the constant int8 0"),
    "no zero-point": (inputs("x_q", "x", "x_scale"), "quantises to uint8"),
    "zero scale": (value("w_scale", np.r_[np.zeros(1), np.ones(7)].astype(np.float32)), "not finite positive"),
    "negative scale": (value("x_scale", np.float32(-1)), "not finite positive"),
    "infinite scale": (value("x_scale", np.float32(np.inf)), "not finite positive"),
    "scale in float16": (value("x_scale", np.float16(1)), "not finite positive float32"),
    "computed scale": (inputs("x_q", "x", "y", "x_zero"), "scale is not a constant"),
    "activation scale per channel": (value("x_scale", np.full(3, 0.1, np.float32)), "more than one scale"),
    "weight scale for the whole tensor": (value("w_scale", np.float32(0.1)), "no scale per output channel"),
    "weight scales along the wrong axis": (attribute("w_dq", axis=1), "not along 0"),
    "too few weight scales": (value("w_scale", np.full(3, 0.1, np.float32)), "not along 0"),
    "int32 bias": (value("b", np.zeros(8, np.int32)), "bias is not a float32 constant"),
    "computed bias": (inputs("conv", "xd", "wd", "xd"), "bias is not a float32 constant"),
    "float activation": (inputs("conv", "x", "wd", "b"), "only one of"),
    "float weight": (inputs("conv", "xd", "b", "b"), "no convolution is quantised"),
    "old opset": (opset(13), "opset 13"),
    "new opset": (opset(21), "opset 21"),
    "new IR": (ir(11), "IR version 11"),
    "fused integer operator": (operator("conv", "QLinearConv"), "not explicit Q/DQ"),
    "vendor operator": (operator("x_q", domain="com.vendor"), "not standard ONNX"),
    "axis of a transposed convolution": (operator("conv", "ConvTranspose"), "not along 1"),
    "axis of a matrix product": (operator("conv", "MatMul"), "not along 1"),
    "axis of a plain Gemm": (operator("conv", "Gemm"), "not along 1"),
}


def test_a_correct_graph_has_no_findings() -> None:
    assert check_qdq(good_model()) == []


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_rule_is_found(broken: str) -> None:
    change, finding = BROKEN[broken]
    model = good_model()
    change(model)
    assert any(finding in found for found in check_qdq(model)), check_qdq(model)


def test_a_gemm_with_transposed_weights_has_its_channels_first() -> None:
    model = good_model()
    for change in (operator("conv", "Gemm"), attribute("conv", transB=1), value("w", np.ones((8, 3), np.int8))):
        change(model)
    assert check_qdq(model) == ["no convolution is quantised"]


def test_activation_ranges_name_tensor_consumer_and_amax() -> None:
    (found,) = activation_ranges(good_model())
    assert (found.tensor, found.consumers) == ("x", "Conv")
    assert found.amax == pytest.approx(2.54)
