"""FP16: the converted graph, and the scores its rounding leads to."""

from collections.abc import Callable

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_network import H, W, network

from calib.fold import tidy
from calib.half import check_fp16, emulate_fp16, fp16_overflows, to_fp16
from calib.quantise import read_model
from calib.run import Network, score
from edge.errors import ExportError


def frames(count: int = 8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, 1, H, W), dtype=np.uint8)


def scaled(factor: float) -> bytes:
    """The tiny network with its second convolution's weights multiplied, its head's divided by `factor`: in FP32 the same scores."""
    model = tidy(read_model(network()))
    for tensor in model.graph.initializer:
        if tensor.name in ("w2", "w3", "b1_shared"):
            power = {"w2": factor, "w3": 1 / factor, "b1_shared": 0.0}[tensor.name]
            tensor.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(tensor) * power).astype(np.float32), tensor.name))
    return model.SerializeToString()


@pytest.fixture(scope="module")
def half() -> bytes:
    return to_fp16(network())


def test_the_converted_network_keeps_its_rules_and_halves_its_weights(half: bytes) -> None:
    model = read_model(half)
    assert check_fp16(model) == []
    assert {t.data_type for t in model.graph.initializer} == {TensorProto.FLOAT16}
    assert [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)] == [
        TensorProto.UINT8,
        TensorProto.FLOAT,
    ]
    assert to_fp16(network()) == half


def test_openvino_takes_it_and_answers_nearly_as_in_fp32(half: bytes) -> None:
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(half), "CPU")
    answers = np.concatenate([compiled(image[None])[0].copy() for image in frames()])
    assert 0 < np.abs(answers - score(Network(read_model(network())), frames())).max() < 0.005


def test_emulated_scores_differ_from_fp32_by_float16_rounding() -> None:
    emulated, full = emulate_fp16(network(), frames()), score(Network(read_model(network())), frames())
    assert emulated.dtype == np.float32
    assert emulated.shape == (8, 2)
    assert 0 < np.abs(emulated - full).max() < 0.005
    assert np.array_equal(emulated, emulated.astype(np.float16).astype(np.float32)), "the last rounding is visible"


def test_rounding_is_that_of_every_node_and_weight() -> None:
    """y = (x + 1) * w: 2048 + 1 is 2048 in float16, and w is rounded too."""
    ports = [helper.make_tensor_value_info(n, k, [1, 1, 1, 1]) for n, k in (("x", TensorProto.UINT8), ("y", TensorProto.FLOAT))]
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "many"], ["m"]),
        helper.make_node("Add", ["m", "one"], ["s"]),
        helper.make_node("Mul", ["s", "w"], ["y"]),
    ]
    values = {"many": 16.0, "one": 1.0, "w": 0.1}
    initialisers = [numpy_helper.from_array(np.float32(v).reshape(1, 1, 1, 1), k) for k, v in values.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], initialisers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10).SerializeToString()
    image = np.full((1, 1, 1, 1), 128, np.uint8)
    assert score(Network(read_model(model)), image).item() == pytest.approx(204.9)
    assert emulate_fp16(model, image).item() == np.float16(2048 * np.float64(np.float16(0.1)))


def test_values_beyond_float16_are_reported_though_later_nodes_hide_them() -> None:
    loud = scaled(3e4)
    assert np.isfinite(score(Network(read_model(loud)), frames())).all()
    dark = np.zeros((1, 1, H, W), np.uint8)
    answers = emulate_fp16(loud, np.concatenate([frames(2), dark]))
    assert np.isinf(answers[:2]).all()
    assert np.isfinite(answers[2]).all(), "an image that does not overflow keeps its scores"
    assert fp16_overflows(loud, frames(2))[0] == "conv2"
    assert fp16_overflows(network(), frames(2)) == ()


def test_weights_beyond_float16_are_refused_by_name() -> None:
    with pytest.raises(ExportError, match=r"a weight does not fit into FP16 \(seen: w2\)"):
        to_fp16(scaled(1e6))


def keep_float(name: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), name))

    return change


def not_finite(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == "w3")
    tensor.CopyFrom(numpy_helper.from_array(np.full(tensor.dims, np.inf, np.float16), "w3"))


def half_result(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


def float_node(model: onnx.ModelProto) -> None:
    cast = next(n for n in model.graph.node if n.op_type == "Cast")
    model.graph.node.append(helper.make_node("Cast", [cast.input[0]], ["wide"], to=TensorProto.FLOAT, name="wide_cast"))


def quantiser(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("QuantizeLinear", [model.graph.node[0].output[0], "s"], ["q"], name="q"))


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (not_finite, "w3 is not finite"),
        (half_result, "scores: the result is not float32"),
        (float_node, "wide is computed in float32"),
        (quantiser, "q: QuantizeLinear in an FP16 graph"),
        (lambda model: setattr(model, "ir_version", 11), "IR version 11 is above 10"),
    ],
)
def test_a_broken_rule_is_found(half: bytes, change: Callable[[onnx.ModelProto], None], finding: str) -> None:
    model = read_model(half)
    change(model)
    assert check_fp16(model) == [finding]


def test_a_float32_weight_is_found(half: bytes) -> None:
    model = read_model(half)
    keep_float("w3")(model)
    assert "w3 is float32" in check_fp16(model)
