"""What the activations hold, and the scales they get."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tiny_network import H, W, network

from calib.fold import tidy
from calib.graph import float_twin
from calib.qdq import check_qdq
from calib.quantise import METHODS, _place, quantise, quantise_each, read_model
from calib.ranges import activation_ranges, measure, observe, observe_each, with_ranges
from calib.run import Network, score
from edge.errors import ExportError


def frames(count: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, H, W), dtype=np.uint8)


@pytest.fixture(scope="module")
def placed() -> onnx.ModelProto:
    return _place(tidy(read_model(network())), {"heightmap": frames()}, verbose=False)


def test_max_finds_the_ranges_that_modelopt_itself_finds(placed: onnx.ModelProto) -> None:
    theirs = {r.tensor: r.amax for r in activation_ranges(placed)}
    ours = {r.tensor: r.amax for r in activation_ranges(read_model(quantise(network(), frames())))}
    assert ours == pytest.approx(theirs, rel=1e-5)


def test_modelopt_places_the_same_with_one_image_as_with_all(placed: onnx.ModelProto) -> None:
    one = _place(tidy(read_model(network())), {"heightmap": frames()[:1]}, verbose=False)
    assert [(n.op_type, *n.input) for n in one.graph.node] == [(n.op_type, *n.input) for n in placed.graph.node]


def test_the_float_twin_answers_as_the_network_does(placed: onnx.ModelProto) -> None:
    answers = [score(Network(model), frames()) for model in (float_twin(placed), read_model(network()))]
    assert np.array_equal(*answers)


def test_what_is_observed_are_the_values_of_the_float_graph() -> None:
    quantised = quantise(network(), frames(), method="percentile")
    found = observe(quantised, frames())
    assert [r.tensor for r in found] == [r.tensor for r in activation_ranges(read_model(quantised))]
    first = next(r for r in found if r.tensor == "n")
    pixels = frames().astype(np.float32).ravel() / 255
    assert first.consumers == "Conv"
    assert first.largest == pytest.approx(1.0)
    assert first.percentiles[50.0] == pytest.approx(np.percentile(pixels, 50), abs=0.01)
    assert first.histogram.sum() == pixels.size
    assert sum(r.clipped > 0 for r in found) >= 2
    for found_range in found:
        beyond = found_range.clipped * found_range.histogram.sum()
        assert beyond <= 1 + found_range.histogram.sum() / 5_000, found_range.tensor


def test_max_clips_nothing_of_its_own_images_and_something_of_brighter_ones() -> None:
    quantised = quantise(network(), frames() // 4)
    assert max(r.clipped for r in observe(quantised, frames() // 4) if r.tensor == "n") == 0.0
    assert next(r for r in observe(quantised, frames()) if r.tensor == "n").clipped == pytest.approx(0.75, abs=0.05)


def test_methods_in_one_pass_are_the_methods_one_by_one() -> None:
    each = quantise_each(network(), frames())
    assert each == {method: quantise(network(), frames(), method=method) for method in METHODS}
    assert len(set(each.values())) == 3
    together = observe_each(list(each.values()), frames())
    for quantised, found in zip(each.values(), together, strict=True):
        assert [(r.amax, r.clipped, r.largest) for r in found] == [(r.amax, r.clipped, r.largest) for r in observe(quantised, frames())]


def test_progress_is_told_of_every_image() -> None:
    steps: list[tuple[int, int]] = []
    quantise(network(), frames(3), progress=lambda done, total: steps.append((done, total)))
    assert steps == [(1, 3), (2, 3), (3, 3)]


def changed(name: str, factor: float) -> bytes:
    model = tidy(read_model(network()))
    for tensor in model.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array((numpy_helper.to_array(tensor) * factor).astype(np.float32), name))
    return model.SerializeToString()


def test_a_dead_activation_gets_a_positive_scale() -> None:
    model = tidy(read_model(changed("w1", 0.0)))
    dead = next(t for t in model.graph.initializer if t.name == "b1_shared")
    dead.CopyFrom(numpy_helper.from_array(np.full(16, -1.0, np.float32), dead.name))
    quantised = read_model(quantise(model.SerializeToString(), frames()))
    assert check_qdq(quantised) == []
    assert next(r.amax for r in activation_ranges(quantised) if r.tensor == "r1") == pytest.approx(1e-6)


def test_weights_that_are_not_finite_are_refused_by_name() -> None:
    with pytest.raises(ExportError, match=r"not all finite .seen: 2304 of 2304 values of w2"):
        quantise(changed("w2", np.nan), frames())


def test_activations_that_are_not_finite_are_refused_with_the_image() -> None:
    with pytest.raises(ExportError, match=r"not finite .seen: tensor r2, calibration image 0"):
        quantise(changed("w2", 2e38), frames(2))


def concat_network() -> bytes:
    """Two convolutions of very different loudness, pooled, joined, and read by a third."""
    rng = np.random.default_rng(0)
    shapes = {"wa": (16, 1, 3, 3), "wb": (16, 1, 3, 3), "wc": (16, 32, 3, 3)}
    values = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    values["wb"] *= 20
    nodes = [helper.make_node("Cast", ["heightmap"], ["f"], to=TensorProto.FLOAT, name="cast")]
    for name in ("a", "b"):
        nodes.append(helper.make_node("Conv", ["f", f"w{name}"], [f"c{name}"], name=f"conv_{name}"))
        nodes.append(helper.make_node("Relu", [f"c{name}"], [f"r{name}"], name=f"relu_{name}"))
        nodes.append(helper.make_node("MaxPool", [f"r{name}"], [f"p{name}"], name=f"pool_{name}", kernel_shape=[2, 2], strides=[2, 2]))
    nodes += [
        helper.make_node("Concat", ["pa", "pb"], ["j"], name="join", axis=1),
        helper.make_node("Conv", ["j", "wc"], ["c"], name="conv_c"),
        helper.make_node("GlobalAveragePool", ["c"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["v"], name="flatten"),
        helper.make_node("Softmax", ["v"], ["scores"], name="softmax", axis=1),
    ]
    ports = [helper.make_tensor_value_info("heightmap", TensorProto.UINT8, [1, 1, H, W])]
    results = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 16])]
    initialisers = [numpy_helper.from_array(array, name) for name, array in values.items()]
    graph = helper.make_graph(nodes, "g", ports, results, initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10).SerializeToString()


def test_quantised_tensors_that_meet_in_a_concat_share_the_widest_range() -> None:
    model = read_model(quantise(concat_network(), frames()))
    assert check_qdq(model) == []
    pair = next(n for n in model.graph.node if n.op_type == "QuantizeLinear")
    constants = list(pair.input[1:])
    place, concat = next((i, n) for i, n in enumerate(model.graph.node) if n.name == "join")
    assert list(concat.input) == ["pa", "pb"]
    concat.input[:] = ["pa_d", "pb_d"]
    for name in ("pa", "pb"):
        model.graph.node.insert(place, helper.make_node("DequantizeLinear", [f"{name}_q", *constants], [f"{name}_d"]))
        model.graph.node.insert(place, helper.make_node("QuantizeLinear", [name, *constants], [f"{name}_q"]))
    joined = tidy(model)
    ranged = with_ranges(joined, measure(joined, frames()), "max")
    found = {r.tensor: r.amax for r in activation_ranges(ranged)}
    assert found["pa"] == found["pb"] == found["j"] > found["ra"]
    assert check_qdq(ranged) == []
