from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from edge.errors import DatasetError
from edge.inspector.heightmap.cpu import Preparer
from nets.checkpoint import load_checkpoint
from scans.folder import find_scans, read_image
from train.cli import main
from train.fast import load_learner
from train.options import TrainingOptions
from train.typology import TrainResult, train_typology

OPTIONS = TrainingOptions(epochs=1, batch_size=4, held_out=0.25, threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_folder: Any) -> Path:
    return make_folder(tmp_path_factory.mktemp("scans") / "T2")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def result(folder: Path) -> TrainResult:
    return train_typology(folder, OPTIONS)


def test_the_learner_sees_exactly_what_the_box_prepares(result: TrainResult) -> None:
    spec = result.checkpoint.heightmap
    expected = np.empty((spec.height, spec.width), np.uint8)
    Preparer(spec).prepare(read_image(result.fitted.held_out[0].path), kind="heightmap", out=expected)
    assert np.array_equal(result.fitted.images[0, 0].numpy(), expected)
    batch, _ = next(iter(result.learner.dls.valid))
    normalised = (expected / 255 - np.array(spec.mean)[:, None, None]) / np.array(spec.std)[:, None, None]
    assert np.allclose(batch[0].numpy(), normalised, atol=1e-6)


def test_the_learner_and_the_checkpoint_give_the_same_probabilities(result: TrainResult) -> None:
    with result.learner.no_bar():
        probabilities, truth = result.learner.get_preds(dl=result.learner.dls.valid)
    assert np.allclose(probabilities.numpy(), result.fitted.probabilities, atol=1e-5)
    assert [("bad", "good")[index] for index in truth] == [scan.label for scan in result.fitted.held_out]


def test_training_images_are_augmented_and_held_out_ones_are_not(result: TrainResult) -> None:
    torch.manual_seed(0)
    first, again = (result.learner.dls.train.new(shuffle=False).one_batch()[0] for _ in range(2))
    assert not torch.equal(first, again)
    assert torch.equal(result.learner.dls.valid.one_batch()[0], result.learner.dls.valid.one_batch()[0])


def test_no_group_is_trained_on_and_held_out(result: TrainResult, folder: Path) -> None:
    group = {scan.path: scan.group for scan in find_scans(folder).scans}
    trained = {group[path] for path in result.learner.dls.train_ds.items}
    assert trained.isdisjoint(scan.group for scan in result.fitted.held_out)
    assert len(trained) == 3


def test_equal_seeds_give_equal_weights(result: TrainResult, folder: Path) -> None:
    again = train_typology(folder, OPTIONS, watch=False).checkpoint.model.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in result.checkpoint.model.state_dict().items())


def test_the_command_writes_checkpoint_figures_and_learner(
    tmp_path: Path, make_folder: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(tmp_path / "T3", good="Soldadura_Buena", bad="Soldadura_Mala")
    monkeypatch.chdir(tmp_path)
    options = ["--epochs", "1", "--held-out", "0.25", "--seed", "3", "--learner", "T3.pkl", "--half"]
    assert main([str(root), "--out", "T3.safetensors", *options]) == 0
    assert "AUROC" in capsys.readouterr().out
    checkpoint = load_checkpoint(tmp_path / "T3.safetensors")
    assert checkpoint.classes == ("bad", "good")
    assert checkpoint.provenance["seed"] == "3"
    figures = json.loads((tmp_path / "T3.metrics.json").read_text())
    assert (figures["good"], figures["bad"]) == (2, 2)
    with pytest.warns(UserWarning, match="pickle"):
        learner = load_learner(tmp_path / "T3.pkl")
    with learner.no_bar():
        label, _, probabilities = learner.predict(root / "Soldadura_Buena" / "0.png")
    assert label in checkpoint.classes
    assert probabilities.sum() == pytest.approx(1.0, abs=1e-5)


def test_an_exported_learner_carries_no_scans_and_no_paths(result: TrainResult, folder: Path) -> None:
    assert str(folder).encode() not in pickle.dumps(result.learner.dls.train_ds.new_empty().tfms)


def test_a_bad_scan_that_the_box_refuses_takes_no_part(tmp_path: Path, make_folder: Any) -> None:
    root = make_folder(tmp_path / "T2")
    cv2.imwrite(str(root / "bad" / "solid.png"), np.full((64, 96), 90, np.uint8))
    assert train_typology(root, OPTIONS, watch=False).fitted.refused == 1


def test_a_good_scan_that_the_box_refuses_is_named(tmp_path: Path, make_folder: Any) -> None:
    root = make_folder(tmp_path / "T2")
    cv2.imwrite(str(root / "good" / "solid.png"), np.full((64, 96), 90, np.uint8))
    with pytest.raises(DatasetError, match=r"the box would refuse .*solid\.png"):
        train_typology(root, OPTIONS)


def test_a_folder_of_one_label_is_refused(tmp_path: Path, make_folder: Any) -> None:
    root = make_folder(tmp_path / "T2")
    for path in (root / "bad").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match="no bad scans"):
        main([str(root), "--out", str(tmp_path / "x.safetensors")])
    assert not (tmp_path / "x.safetensors").exists()


def test_an_unreadable_scan_is_named(tmp_path: Path, make_folder: Any) -> None:
    root = make_folder(tmp_path / "T2")
    (root / "good" / "torn.png").write_bytes(b"not an image")
    with pytest.raises(DatasetError, match=r"torn\.png"):
        train_typology(root, OPTIONS)


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("held_out", 0.0), ("learning_rate", float("nan")), ("escape_rate", 0.7)])
def test_an_option_out_of_range_is_refused_with_its_name(name: str, value: float) -> None:
    with pytest.raises(DatasetError, match=name):
        TrainingOptions(**{name: value})  # type: ignore[arg-type]
