"""A two-convolution network of 16 channels as ONNX, with an Identity and Constants as exporters write them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

H, W = 16, 32


def network() -> bytes:
    """u8 [1, 1, 16, 32] → Cast → Conv 1→16 → Relu → Conv 16→16 → Relu → mean → Gemm → Softmax [1, 2], with an Identity and Constants."""
    rng = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> onnx.NodeProto:
        array = rng.normal(0, 0.3, shape).astype(np.float32)
        return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))

    nodes = [
        constant("w1", 16, 1, 3, 3),
        constant("b1_shared", 16),
        helper.make_node("Identity", ["b1_shared"], ["b1"]),
        constant("w2", 16, 16, 3, 3),
        constant("w3", 16, 2),
        helper.make_node("Cast", ["heightmap"], ["f"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.float32(1 / 255))),
        helper.make_node("Mul", ["f", "s"], ["n"], name="scale"),
        helper.make_node("Conv", ["n", "w1", "b1"], ["c1"], name="conv1"),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2", "b1"], ["c2"], name="conv2"),
        helper.make_node("Relu", ["c2"], ["r2"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["v"], name="flatten"),
        helper.make_node("Gemm", ["v", "w3"], ["g"], name="head"),
        helper.make_node("Softmax", ["g"], ["scores"], name="softmax", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("heightmap", TensorProto.UINT8, [1, 1, H, W])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10).SerializeToString()
