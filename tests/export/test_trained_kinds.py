"""What training says of a siamese network or an autoencoder is what the graph in the bundle says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from family_kit import images
from onnx import numpy_helper

from calib.graph import read_graph
from calib.quantise import quantise
from calib.run import Network
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow
from export.graph.inspection import REFERENCES, SCALE, SIDES
from export.graph.kinds import prepare_kind, rebase
from export.sources.load import TorchSource, load_source
from nets.checkpoint import save_checkpoint
from nets.siamese import REFERENCE_IMAGES
from scans.folder import Scale, Scan
from train.autoencoder import AutoencoderOptions, fit_autoencoder
from train.learner import Fitted, Task
from train.siamese import SiameseOptions, fit_siamese
from train.typology import CLASSES

SIZE = (32, 64)
SPEC = HeightmapSpec(window=PercentileWindow(), height=SIZE[0], width=SIZE[1])
KINDS = ("siamese", "local", "measured", "source")
Make = Callable[[str], tuple[Fitted, TorchSource]]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Beads, every other one with a lump; sides of 32, 16 and 16 scans."""
    folder, scans = tmp_path_factory.mktemp("scans"), []
    for number, (picture,) in enumerate(images(64, SIZE)):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), picture)
        scans.append(Scan(path, "bad" if number % 2 else "good", str(number)))
    return Task(
        training=tuple(scans[:32]),
        validation=tuple(scans[32:48]),
        held_out=tuple(scans[48:]),
        labels={scan.path: scan.label for scan in scans},
        classes=CLASSES,
        spec=SPEC,
        scale=Scale(),
    )


@pytest.fixture(scope="module")
def made(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Make:
    folder = tmp_path_factory.mktemp("checkpoints")

    @cache
    def make(kind: str) -> tuple[Fitted, TorchSource]:
        fitted = _fit(kind, task)
        path = folder / f"{kind}.safetensors"
        save_checkpoint(fitted.checkpoint, path)
        return fitted, _loaded(path)

    return make


def _fit(kind: str, task: Task) -> Fitted:
    if kind == "siamese":
        return fit_siamese(task, SiameseOptions(epochs=3, batch_size=8, references=4))
    return fit_autoencoder(task, AutoencoderOptions(epochs=3, batch_size=8, rule=kind))  # type: ignore[arg-type]


def _loaded(path: Path) -> TorchSource:
    source = load_source(path)
    assert isinstance(source, TorchSource)
    return source


def _scores(graph: bytes, pictures: torch.Tensor) -> np.ndarray:
    network = Network(onnx.load_model_from_string(graph))
    return np.concatenate([network.run(image)[0] for image in pictures.numpy()])


def _initialiser(graph: bytes, name: str) -> np.ndarray:
    model = onnx.load_model_from_string(graph)
    return next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_graph_gives_the_badness_that_training_reports(made: Make, kind: str) -> None:
    fitted, source = made(kind)
    ready = prepare_kind(source, images(16, SIZE, seed=9))
    scores = _scores(ready.to_onnx(), fitted.images)
    assert np.abs(scores - fitted.probabilities).max() < 1e-4
    assert np.ptp(fitted.probabilities[:, 0]) > 1e-3


@pytest.mark.parametrize("kind", ["siamese", "local"])
def test_int8_follows_and_keeps_what_training_chose(made: Make, kind: str) -> None:
    fitted, source = made(kind)
    good = images(16, SIZE, seed=9)
    ready = prepare_kind(source, good)
    int8 = rebase(quantise(ready.to_onnx(), fitted.images.numpy()), ready, good)
    assert np.abs(_scores(int8, fitted.images) - fitted.probabilities).mean() < 0.1
    graph = read_graph(onnx.load_model_from_string(int8))
    reached = {SIDES if kind == "siamese" else SCALE}
    for node in graph.nodes:
        if reached.intersection(node.input):
            reached.update(node.output)
            assert not any(graph.dequantised(name) for name in node.input)
    assert "scores" in reached


def test_the_checkpoints_references_go_before_those_of_the_order(made: Make) -> None:
    fitted, source = made("siamese")
    ready = prepare_kind(source, images(16, SIZE, seed=9), references=7)
    assert isinstance(ready, TorchSource)
    assert ready.constants[REFERENCES].shape == (4, 320)
    other = replace(source, constants={REFERENCE_IMAGES: fitted.checkpoint.constants[REFERENCE_IMAGES].flip(0)})
    flipped = prepare_kind(other, images(16, SIZE, seed=9))
    assert isinstance(flipped, TorchSource)
    assert torch.allclose(flipped.constants[REFERENCES].flip(0), ready.constants[REFERENCES], atol=1e-6)


@pytest.mark.parametrize(("kind", "constant"), [("siamese", SIDES), ("measured", SCALE)])
def test_rebasing_changes_nothing_where_rounding_changed_nothing(made: Make, kind: str, constant: str) -> None:
    _, source = made(kind)
    good = images(16, SIZE, seed=9)
    ready = prepare_kind(source, good)
    assert (ready is source) == (kind == "measured")
    full = ready.to_onnx()
    assert _initialiser(rebase(full, ready, good), constant) == pytest.approx(_initialiser(full, constant), rel=1e-3, abs=1e-4)
