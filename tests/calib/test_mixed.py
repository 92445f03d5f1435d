"""Which layers suffer from INT8, and the network with them back in float."""

import numpy as np
import pytest
from onnx import numpy_helper
from tiny_network import H, W, network

from calib.fold import tidy
from calib.mixed import exclude_layers, quantised_layers, sensitivity
from calib.qdq import check_qdq
from calib.quantise import quantise, read_model
from calib.run import Network, score
from edge.errors import ExportError


def frames(count: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, H, W), dtype=np.uint8)


def with_outlier() -> bytes:
    """The tiny network, where the first convolution's channel 0 is 3000 times as loud and the second listens to it 3000 times less:
    in float the same scores, but in INT8 nothing is left of the other channels at the second convolution's input.
    """
    model = tidy(read_model(network()))
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).copy()
        if tensor.name == "w1":
            array[0] = np.abs(array[0]) * 3000
        if tensor.name == "b1_shared":
            array[0] = 0
        if tensor.name == "w2":
            array[:, 0] /= 3000
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model.SerializeToString()


@pytest.fixture(scope="module")
def sick() -> tuple[bytes, bytes]:
    full = with_outlier()
    return full, quantise(full, frames())


def difference(one: bytes, other: bytes) -> float:
    first, second = (score(Network(read_model(data)), frames()) for data in (one, other))
    return float(np.abs(first - second).max())


def test_the_layer_behind_an_outlier_channel_is_the_worst(sick: tuple[bytes, bytes]) -> None:
    steps: list[tuple[int, int]] = []
    found = sensitivity(*sick, frames(4), progress=lambda done, total: steps.append((done, total)))
    assert (found[0].layer, found[0].operator) == ("conv2", "Conv")
    assert found[0].mean > 10 * found[1].mean
    assert found[0].largest >= found[0].mean
    assert steps == [(i + 1, len(found)) for i in range(len(found))]
    assert {layer.layer for layer in found} == set(quantised_layers(read_model(sick[1])))


def test_excluding_that_layer_repairs_the_scores(sick: tuple[bytes, bytes]) -> None:
    full, quantised = sick
    repaired = exclude_layers(full, quantised, ["conv2"])
    assert difference(full, quantised) > 0.005
    assert difference(full, repaired) < difference(full, quantised) / 10
    model = read_model(repaired)
    assert check_qdq(model) == []
    assert "conv2" not in quantised_layers(model)
    assert "conv1" in quantised_layers(model)


def test_an_excluded_layer_has_its_own_float_weights_again(sick: tuple[bytes, bytes]) -> None:
    full, quantised = sick
    model = read_model(exclude_layers(full, quantised, ["conv2"]))
    weight = next(node.input[1] for node in model.graph.node if node.name == "conv2")
    values = {t.name: numpy_helper.to_array(t) for t in (*model.graph.initializer, *tidy(read_model(full)).graph.initializer)}
    assert np.array_equal(values[weight], values["w2"])


def test_quantising_without_a_layer_is_excluding_it(sick: tuple[bytes, bytes]) -> None:
    full, quantised = sick
    assert quantise(full, frames(), exclude=["conv2"]) == exclude_layers(full, quantised, ["conv2"])
    assert exclude_layers(full, quantised, []) == quantised


def test_a_layer_that_is_not_quantised_is_refused_by_name(sick: tuple[bytes, bytes]) -> None:
    with pytest.raises(ExportError, match=r"not quantised .seen: conv9\). Quantised are: .*conv1"):
        exclude_layers(*sick, ["conv1", "conv9"])


def test_excluding_everything_is_refused(sick: tuple[bytes, bytes]) -> None:
    with pytest.raises(ExportError, match="no layer with weights is quantised"):
        exclude_layers(*sick, quantised_layers(read_model(sick[1])))
