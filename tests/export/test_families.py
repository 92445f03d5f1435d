"""Every network family from seeded weights to an INT8 file that all runtimes take and that answers as PyTorch does."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from family_kit import SIZE, Made, answers, make
from numpy.typing import NDArray

from calib.graph import read_graph
from calib.qdq import check_qdq
from calib.run import Network
from edge.engines.backend import load_backend
from edge.engines.build import build_engine
from edge.errors import EngineError
from nets.architectures import ARCHITECTURES

QUICK = ("small", "lenet", "scratch", "six_convolutions", "squeezenet1_1", "googlenet", "resnet18", "xresnet18", "siamese", "autoencoder")
LEAST_INT8 = 0.8
"""Part of the convolutions' weights that must be INT8; the first layers of LeNet are too narrow for it."""


@pytest.fixture(
    scope="module",
    params=[pytest.param(n, marks=[pytest.mark.slow] if n in QUICK else [pytest.mark.nightly]) for n in sorted(ARCHITECTURES)],
)
def made(request: pytest.FixtureRequest) -> Made:
    return make(request.param)


def test_the_fp32_graph_answers_as_pytorch_does(made: Made) -> None:
    scores, _ = answers(made, made.full)
    assert np.abs(scores - made.source.run(made.images)).max() < 1e-3


def test_the_int8_graph_obeys_every_rule_and_holds_int8_weights(made: Made) -> None:
    model = onnx.load_model_from_string(made.int8)
    assert check_qdq(model) == []
    assert _int8_part(model) > LEAST_INT8


def _int8_part(model: onnx.ModelProto) -> float:
    graph = read_graph(model)
    sizes = {"int8": 0, "float32": 0}
    for node in graph.nodes:
        if node.op_type == "Conv":
            name = graph.maker[node.input[1]].input[0] if node.input[1] in graph.maker else node.input[1]
            sizes[graph.values[name].dtype.name] += graph.values[name].size
    return sizes["int8"] / sum(sizes.values())


def test_int8_scores_follow_those_of_pytorch(made: Made) -> None:
    expected, (scores, features) = made.source.run(made.images)[:, 0], answers(made, made.int8)
    assert np.abs(scores.sum(axis=1) - 1).max() < 1e-5
    assert np.corrcoef(expected, scores[:, 0])[0, 1] > 0.95
    assert np.abs(scores[:, 0] - expected).mean() < 0.05
    assert np.ptp(scores[:, 0]) > 0.9 * np.ptp(expected) > 0.1
    assert features.shape[1] >= 64
    assert np.ptp(features, axis=0).max() > 0


def test_openvino_and_onnxruntime_agree_on_the_int8_graph(made: Made) -> None:
    _, features = answers(made, made.int8)
    network = Network(onnx.load_model_from_string(made.int8), extra=["embedding"])
    other = np.concatenate([network.run(image)[1] for image in made.images])
    assert np.abs(features - other).mean() < 0.15 * other.std()


def test_a_batch_is_answered_as_its_images_are_one_by_one(made: Made) -> None:
    model = onnx.load_model_from_string(made.full)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    batch = _run_batch(model, made.images[:3])
    assert np.abs(batch - made.source.run(made.images[:3])).max() < 1e-3


def _run_batch(model: onnx.ModelProto, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    import onnxruntime  # noqa: PLC0415

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"heightmap": images})[0]


@pytest.mark.parametrize("batch", [1, 3])
def test_tensorrt_rtx_parses_and_builds_it(made: Made, batch: int) -> None:
    try:
        load_backend("tensorrt_rtx")
    except EngineError as exc:
        pytest.skip(exc.what)
    engine = build_engine(made.int8, member=made.member, shape=SIZE, batch=batch, backend="tensorrt_rtx")
    assert engine.layers > 0
    assert engine.batch == batch
    assert len(engine.data) > len(made.int8) / 2
