"""ModelOpt for real, on a two-convolution network of 16 channels."""

import io
import logging
import sys

import numpy as np
import onnx
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from tiny_network import H, W, network

from calib.fold import fold_weights, tidy, to_bytes
from calib.qdq import check_qdq
from calib.quantise import quantise, read_model
from calib.ranges import activation_ranges
from edge.errors import DatasetError, ExportError


def frames(count: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, H, W), dtype=np.uint8)


def run(model: bytes, images: np.ndarray) -> np.ndarray:
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([compiled(image[None])[0].copy() for image in images])


@pytest.fixture(scope="module")
def quantised() -> bytes:
    return quantise(network(), frames())


def test_the_result_keeps_the_rules_and_holds_int8_weights_only(quantised: bytes) -> None:
    model = read_model(quantised)
    assert check_qdq(model) == []
    ops = [node.op_type for node in model.graph.node]
    assert ops.count("Conv") == 2
    assert "Identity" not in ops
    assert "Constant" not in ops
    kernels = [t for t in model.graph.initializer if len(t.dims) == 4]
    assert [t.data_type for t in kernels] == [TensorProto.INT8] * 2
    assert {o.domain: o.version for o in model.opset_import} == {"": 19}


def test_the_result_answers_like_the_network(quantised: bytes) -> None:
    images = frames(8, seed=1)
    assert np.abs(run(quantised, images) - run(network(), images)).max() < 0.02


def test_different_images_give_different_answers(quantised: bytes) -> None:
    first, second = run(quantised, np.stack([np.zeros((1, H, W), np.uint8), np.full((1, H, W), 255, np.uint8)]))
    assert np.abs(first - second).max() > 0.01


def test_the_same_arguments_give_the_same_bytes(quantised: bytes) -> None:
    assert quantise(network(), frames()) == quantised


def test_brighter_calibration_images_widen_the_ranges(quantised: bytes) -> None:
    dark = activation_ranges(read_model(quantise(network(), frames() // 16)))
    usual = activation_ranges(read_model(quantised))
    assert [r.tensor for r in dark] == [r.tensor for r in usual]
    assert all(d.amax < u.amax for d, u in zip(dark, usual, strict=True))


def test_entropy_is_another_method(quantised: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    assert quantise(network(), frames(), method="entropy") != quantised
    assert capfd.readouterr() == ("", "")


def test_quantising_is_quiet_and_leaves_the_logging_alone(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # as in a process that configured none
    before = (list(logging.root.handlers), logging.root.manager.disable, sys.stdout)
    quantise(network(), frames())
    assert (list(logging.root.handlers), logging.root.manager.disable, sys.stdout) == before
    assert capfd.readouterr() == ("", "")


def test_folding_weights_changes_no_answer() -> None:
    scale = np.linspace(0.001, 0.01, 16).astype(np.float32)
    model = read_model(network())
    for node in model.graph.node:
        if node.name == "conv2":
            node.input[1] = "w2_dq"
    values = {"w2_scale": scale, "w2_zero": np.zeros(16, np.int8)}
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in values.items())
    model.graph.node.insert(5, helper.make_node("DequantizeLinear", ["w2_q", "w2_scale", "w2_zero"], ["w2_dq"], axis=0))
    model.graph.node.insert(5, helper.make_node("QuantizeLinear", ["w2", "w2_scale", "w2_zero"], ["w2_q"], axis=0))
    folded = fold_weights(model)
    assert "QuantizeLinear" not in {node.op_type for node in folded.graph.node}
    image = {"heightmap": frames(1)}
    answers = [ReferenceEvaluator(onnx.load_model_from_string(m.SerializeToString())).run(None, image)[0] for m in (folded, model)]
    assert np.array_equal(*answers)
    assert len(to_bytes(folded)) < len(model.SerializeToString())


def test_tidying_twice_changes_nothing_more_and_forgets_the_order_of_writing() -> None:
    model = read_model(network())
    shuffled = onnx.ModelProto.FromString(network())
    nodes = list(shuffled.graph.node)
    constants = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes if n.op_type == "Constant"]
    others = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes if n.op_type != "Constant"]
    del shuffled.graph.node[:]
    shuffled.graph.node.extend([*reversed(constants), *others])
    assert to_bytes(tidy(model)) == to_bytes(tidy(shuffled)) == to_bytes(tidy(tidy(model)))


def test_branches_written_in_either_order_become_the_same_bytes() -> None:
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    left, right = helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Sigmoid", ["x"], ["b"])
    joined = helper.make_node("Add", ["a", "b"], ["y"])
    graphs = [helper.make_graph(nodes, "g", ports[:1], ports[1:]) for nodes in ([left, right, joined], [right, left, joined])]
    first, second = (helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)]) for graph in graphs)
    assert to_bytes(tidy(first)) == to_bytes(tidy(second))


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"uint8 .16, 1, 8, 32."):
        quantise(network(), frames()[:, :, :8])


def test_a_network_of_floats_is_refused() -> None:
    model = read_model(network())
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    with pytest.raises(ExportError, match="must take a u8 heightmap"):
        quantise(model.SerializeToString(), frames())


@pytest.mark.parametrize("data", [b"", b"no network", io.BytesIO(network()).read(100)])
def test_what_is_no_onnx_is_refused(data: bytes) -> None:
    with pytest.raises(ExportError, match="ONNX"):
        quantise(data, frames())


def test_a_network_without_convolutions_to_quantise_is_refused() -> None:
    model = read_model(network())
    kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in model.graph.node if n.name in ("cast", "flatten")]
    kept[-1].input[0], kept[-1].output[0] = "f", "scores"
    del model.graph.node[:]
    model.graph.node.extend(kept)
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = H * W
    with pytest.raises(ExportError, match="no layer with weights is quantised"):
        quantise(model.SerializeToString(), frames())
