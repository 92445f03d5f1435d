"""References of a siamese network and the error scale of an autoencoder, before and after INT8."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from family_kit import CLASSES, Made, answers, images, make, untrained
from onnx import numpy_helper

from calib.graph import read_graph
from calib.quantise import quantise
from calib.run import Network
from edge.errors import ExportError
from export.graph.inspection import REFERENCES, SCALE, SIDES
from export.graph.kinds import MIN_GOOD, prepare_kind, rebase
from export.sources.module import TorchSource

KINDS = ("siamese", "autoencoder")
CONSTANT = {"siamese": SIDES, "autoencoder": SCALE}
pytestmark = pytest.mark.slow


@cache
def _made(kind: str) -> Made:
    return make(kind, size=(64, 64), count=24)


@pytest.fixture(params=KINDS)
def made(request: pytest.FixtureRequest) -> Made:
    return _made(request.param)


def _initialiser(onnx_bytes: bytes, name: str) -> np.ndarray:
    model = onnx.load_model_from_string(onnx_bytes)
    return next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)


def test_the_constants_and_what_is_done_with_them_stay_in_float(made: Made) -> None:
    graph = read_graph(onnx.load_model_from_string(made.int8))
    reached = {CONSTANT[made.source.kind]}
    for node in graph.nodes:
        if reached.intersection(node.input):
            reached.update(node.output)
            assert "Quantize" not in node.op_type
            assert not any(graph.dequantised(name) for name in node.input)
    assert "scores" in reached


def test_only_convolutions_and_what_lies_between_them_read_int8(made: Made) -> None:
    graph = read_graph(onnx.load_model_from_string(made.int8))
    readers = [node for node in graph.nodes if any(graph.dequantised(name) for name in node.input)]
    kinds = {node.op_type for node in readers if node.output[0] != "embedding"}
    assert "Conv" in kinds
    assert kinds <= {"Conv", "Add", "MaxPool", "GlobalAveragePool"}


def test_rebasing_changes_the_constant_alone_and_the_same_way_each_time(made: Made) -> None:
    plain = quantise(made.full, made.images)
    first, second = (rebase(plain, made.source, made.images) for _ in range(2))
    assert first == second != plain
    before, after = (onnx.load_model_from_string(data) for data in (plain, first))
    changed = [a.name for a, b in zip(before.graph.initializer, after.graph.initializer, strict=True) if a != b]
    assert changed == [CONSTANT[made.source.kind]]
    assert before.graph.node == after.graph.node


def test_a_rebased_graph_of_another_source_is_refused(made: Made) -> None:
    other = make("lenet", size=(32, 32))
    with pytest.raises(ExportError, match="the graph holds no"):
        rebase(other.int8, made.source, made.images)


def test_int8_references_are_the_int8_embeddings_of_the_chosen_images() -> None:
    made = _made("siamese")
    assert isinstance(made.source, TorchSource)
    one = prepare_kind(made.source, made.images, references=1)
    assert isinstance(one, TorchSource)
    plain = quantise(one.to_onnx(embedding=True), made.images)
    graph = rebase(plain, one, made.images)
    network = Network(onnx.load_model_from_string(graph), extra=["embedding"])
    features = np.concatenate([network.run(image)[1] for image in made.images])
    with torch.no_grad():
        sides = made.source.model.right(torch.from_numpy(features)).numpy()  # type: ignore[operator]
    before, after = (np.abs(sides - _initialiser(data, SIDES)[0, 0]).mean(axis=1) for data in (plain, graph))
    assert np.sort(after)[0] < 1e-6 < np.sort(after)[1]
    assert before.min() > 1e-3


def test_references_are_embeddings_of_good_images_far_from_each_other() -> None:
    pictures = images(24, (64, 64))
    source = prepare_kind(untrained("siamese", pictures), pictures, references=5)
    assert isinstance(source, TorchSource)
    references = source.constants[REFERENCES]
    assert references.shape == (5, 512)
    assert torch.pdist(references).min() > 0
    again = prepare_kind(untrained("siamese", pictures), pictures, references=5)
    assert isinstance(again, TorchSource)
    assert torch.equal(again.constants[REFERENCES], references)


@pytest.mark.parametrize("quantile", [0.75, 1.0])
def test_the_quantile_of_good_images_scores_below_one_half(quantile: float) -> None:
    pictures = images(24, (64, 64))
    source = prepare_kind(untrained("autoencoder", pictures), pictures, quantile=quantile)
    badness = source.run(pictures)[:, 0]
    assert abs((badness <= 0.5 + 1e-6).mean() - quantile) <= 1 / len(pictures)


def test_the_quantile_holds_for_int8_as_well() -> None:
    made = _made("autoencoder")
    assert isinstance(made.source, TorchSource)
    source = prepare_kind(made.source, made.images, quantile=0.75)
    network = Network(onnx.load_model_from_string(rebase(made.int8, source, made.images)))
    badness = np.array([network.run(image)[0][0, 0] for image in made.images])
    assert abs((badness <= 0.5 + 1e-6).mean() - 0.75) <= 1 / len(made.images)


def test_an_image_the_autoencoder_cannot_draw_is_worse_than_the_good_ones() -> None:
    made = _made("autoencoder")
    strange = np.random.default_rng(0).choice(np.array([1, 255], np.uint8), (1, 1, 64, 64))
    scores, _ = answers(replace(made, images=np.concatenate([made.images, strange])), made.int8)
    assert scores[-1, 0] > scores[:-1, 0].max()
    assert scores[-1, 0] > 0.5


def test_a_classifier_needs_nothing() -> None:
    pictures = images(2, (32, 32))
    source = untrained("lenet", images(4, (32, 32)))
    assert prepare_kind(source, pictures) is source
    assert rebase(b"any", source, pictures) == b"any"


@pytest.mark.parametrize("name", KINDS)
def test_too_few_good_images_are_refused(name: str) -> None:
    pictures = images(MIN_GOOD - 1, (32, 32))
    with pytest.raises(ExportError, match="too few good scans"):
        prepare_kind(untrained(name, pictures), pictures)


@pytest.mark.parametrize("name", KINDS)
def test_other_classes_than_bad_and_good_are_refused(name: str) -> None:
    pictures = images(MIN_GOOD, (32, 32))
    source = untrained(name, pictures)
    assert isinstance(source, TorchSource)
    with pytest.raises(ExportError, match="bad,good"):
        prepare_kind(replace(source, classes=CLASSES[::-1]), pictures)


@pytest.mark.parametrize(
    ("name", "options"), [("siamese", {"references": 0}), ("siamese", {"references": 17}), ("autoencoder", {"quantile": 1.1})]
)
def test_options_out_of_range_are_refused(name: str, options: dict[str, int]) -> None:
    pictures = images(MIN_GOOD, (32, 32))
    with pytest.raises(ExportError, match="out of range"):
        prepare_kind(untrained(name, pictures), pictures, **options)  # type: ignore[arg-type]
