"""A small Q/DQ network written by hand, with knobs that spoil it in one way each."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import Member

HEIGHT, WIDTH, CHANNELS = 16, 32, 8
SHAPE = (HEIGHT, WIDTH)


def member(**changes: Any) -> Member:
    promised = {"name": "a", "file": "a.onnx", "architecture": "x", "input": "heightmap", "output": "scores", "classes": ("bad", "good")}
    return Member(**(promised | changes))


def network(
    *,
    zero_point: int = 0,
    int32_bias: bool = False,
    unknown_operator: bool = False,
    fixed_batch: bool = False,
    embedding: bool = False,
    input_name: str = "heightmap",
    input_type: int = TensorProto.UINT8,
    input_shape: tuple[int | str, ...] = (1, 1, HEIGHT, WIDTH),
    output_type: int = TensorProto.FLOAT,
) -> bytes:
    """u8 [1, 1, 16, 32] → INT8 Conv 1→8 → Relu → mean → Gemm → Softmax [1, 2], with one thing wrong per knob."""
    rng = np.random.default_rng(3)
    constants: dict[str, NDArray[Any]] = {
        "scale": np.array(1.0, np.float32),
        "zero": np.array(zero_point, np.int8),
        "w": rng.integers(-127, 127, (CHANNELS, 1, 3, 3)).astype(np.int8),
        "w_scale": np.full(CHANNELS, 0.01, np.float32),
        "w_zero": np.zeros(CHANNELS, np.int8),
        "bias": np.zeros(CHANNELS, np.float32),
        "head": rng.normal(0, 1, (CHANNELS, 2)).astype(np.float32),
        "flat": np.array([1, CHANNELS], np.int64),
    }
    nodes = [
        helper.make_node("Cast", [input_name], ["gray"], to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["gray", "scale", "zero"], ["q"], name="quantise"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"], name="dequantise"),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["wdq"], axis=0, name="weights"),
        helper.make_node("Conv", ["dq", "wdq", "b" if int32_bias else "bias"], ["c"], name="conv"),
        helper.make_node("Wobble" if unknown_operator else "Relu", ["c"], ["r"], name="activation"),
        helper.make_node("GlobalAveragePool", ["r"], ["pooled"]),
        helper.make_node("Reshape", ["pooled", "flat"], ["features"], name="row") if fixed_batch else _flatten(),
        helper.make_node("Gemm", ["features", "head"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores" if output_type == TensorProto.FLOAT else "raw"], axis=1),
    ]
    if output_type != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", ["raw"], ["scores"], to=output_type))
    if int32_bias:
        constants["bias"] = np.zeros(CHANNELS, np.int32)
        nodes.insert(0, helper.make_node("DequantizeLinear", ["bias", "w_scale"], ["b"], axis=0, name="bias_dq"))
    outputs = [helper.make_tensor_value_info("scores", output_type, [input_shape[0], 2])]
    if embedding:
        outputs.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, [input_shape[0], CHANNELS]))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(input_name, input_type, list(input_shape))],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def _flatten() -> onnx.NodeProto:
    return helper.make_node("Flatten", ["pooled"], ["features"], name="flatten")
