from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from task_kit import task_of

from edge.errors import DatasetError
from nets.checkpoint import load_checkpoint, save_checkpoint
from train.anomaly import AnomalyOptions, fit_anomaly
from train.anomaly.pretext import MOVED, cut_paste
from train.anomaly.statistics import coreset, gaussians
from train.data import PreparedScan
from train.learner import Fitted, Task
from train.scoring import heightmaps, normalised

OPTIONS = AnomalyOptions(threads=1, calibration=0.3)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory, make_folder: Any) -> Task:
    return task_of(make_folder(tmp_path_factory.mktemp("scans") / "T7", count=30), held_out=0.2, validation=0.2)


@pytest.fixture(scope="module")
def fitted(task: Task) -> Fitted:
    return fit_anomaly(task, OPTIONS)


def _good_only(task: Task) -> Task:
    return dataclasses.replace(task, training=tuple(scan for scan in task.training if scan.label == "good"))


def _separation(fitted: Fitted) -> float:
    badness, bad = fitted.probabilities[:, 0], np.array([scan.label == "bad" for scan in fitted.held_out])
    return float(badness[bad].min() - badness[~bad].max())


def test_welds_with_a_gap_stand_out_from_those_it_knows(fitted: Fitted) -> None:
    assert _separation(fitted) > 0
    assert fitted.probabilities.shape == (len(fitted.held_out), 2)
    assert fitted.validation_probabilities.shape == (len(fitted.validation), 2)
    assert np.allclose(fitted.probabilities.sum(axis=1), 1)


@pytest.mark.parametrize(("architecture", "origin"), [("patchcore", "fixed"), ("padim_small", "random")])
def test_other_statistics_and_a_random_body_mostly_find_a_gap_as_well(task: Task, architecture: str, origin: Any) -> None:
    fitted = fit_anomaly(task, dataclasses.replace(OPTIONS, architecture=architecture, origin=origin))
    assert roc_auc_score([scan.label == "bad" for scan in fitted.held_out], fitted.probabilities[:, 0]) > 0.9


def test_a_body_can_be_taught_on_good_scans_the_same_way_twice(task: Task) -> None:
    options = dataclasses.replace(OPTIONS, architecture="padim_small", origin="pretext", epochs=1)
    first, second = (fit_anomaly(task, options) for _ in range(2))
    assert np.array_equal(first.probabilities, second.probabilities)


def test_a_body_comes_from_a_checkpoint_of_its_own_kind_only(task: Task, fitted: Fitted, tmp_path: Path) -> None:
    save_checkpoint(fitted.checkpoint, tmp_path / "T7.safetensors")
    wrong = dataclasses.replace(OPTIONS, architecture="padim_small", origin="checkpoint", checkpoint=tmp_path / "T7.safetensors")
    with pytest.raises(DatasetError, match="is no small"):
        fit_anomaly(task, wrong)


def test_bad_training_scans_are_never_looked_at(task: Task, fitted: Fitted, tmp_path: Path) -> None:
    torn = tuple(scan if scan.label == "good" else dataclasses.replace(scan, path=tmp_path / "nowhere.png") for scan in task.training)
    labels = {**task.labels, tmp_path / "nowhere.png": "bad"}
    for training in (_good_only(task).training, torn, tuple(reversed(torn))):
        again = fit_anomaly(dataclasses.replace(task, training=training, labels=labels), OPTIONS)
        for name, value in fitted.checkpoint.model.state_dict().items():
            assert torch.equal(value, again.checkpoint.model.state_dict()[name])


def test_held_out_and_validation_scans_choose_nothing(task: Task, fitted: Fitted) -> None:
    other = dataclasses.replace(task, held_out=task.held_out[::2], validation=())
    assert np.array_equal(fit_anomaly(other, OPTIONS).probabilities, fitted.probabilities[::2])


def test_the_checkpoint_comes_back_with_the_same_answers(fitted: Fitted, tmp_path: Path) -> None:
    save_checkpoint(fitted.checkpoint, tmp_path / "T7.safetensors")
    loaded = load_checkpoint(tmp_path / "T7.safetensors")
    spec = loaded.heightmap
    with torch.inference_mode():
        logits = loaded.model(normalised(fitted.images, spec.mean, spec.std))
    assert np.allclose(logits.softmax(1).numpy(), fitted.probabilities, atol=1e-6)
    assert loaded.provenance["architecture"] == "padim"


def test_a_new_good_weld_is_mostly_below_a_half(fitted: Fitted) -> None:
    good = fitted.probabilities[[scan.label == "good" for scan in fitted.held_out], 0]
    assert np.median(good) < 0.5


def test_the_heat_lies_where_the_gap_is(task: Task, fitted: Fitted) -> None:
    scan = next(scan for scan in fitted.held_out if scan.label == "bad")
    image = heightmaps([scan], PreparedScan(task.spec, task.scale))
    with torch.inference_mode():
        heat = fitted.checkpoint.model.heat(normalised(image, task.spec.mean, task.spec.std))[0, 0].numpy()  # type: ignore[operator]
    assert heat.shape == (64, 96)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    empty = np.argwhere(image[0, 0].numpy() == 0)
    assert empty[:, 0].min() - 8 <= row <= empty[:, 0].max() + 8
    assert empty[:, 1].min() - 8 <= column <= empty[:, 1].max() + 8


def test_too_few_good_scans_are_refused(task: Task) -> None:
    few = dataclasses.replace(task, training=_good_only(task).training[:10])
    with pytest.raises(DatasetError, match="too few good scans"):
        fit_anomaly(few, OPTIONS)


def test_good_scans_of_one_group_are_refused(task: Task) -> None:
    alike = tuple(dataclasses.replace(scan, group="one part") for scan in task.training)
    with pytest.raises(DatasetError, match="one group"):
        fit_anomaly(dataclasses.replace(task, training=alike), OPTIONS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "resnet18"}, "architecture is not known"),
        ({"quantile": 0.2}, "quantile is out of range"),
        ({"origin": "random"}, "padim cannot be had"),
        ({"architecture": "padim_small"}, "padim_small cannot be had"),
        ({"architecture": "padim_small", "origin": "checkpoint"}, "padim_small cannot be had"),
        ({"architecture": "padim_small", "origin": "pretrained"}, "padim_small cannot be had"),
    ],
)
def test_options_that_do_not_fit_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        AnomalyOptions(**change)


def test_a_gaussian_turns_what_it_was_made_from_into_unit_spheres() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 4))
    features = np.einsum("ij,njhw->nihw", mixing, rng.normal(size=(2000, 4, 1, 2))).astype(np.float32)
    mean, whitening = gaussians(features, reach=0)
    turned = np.einsum("ijhw,njhw->nihw", whitening[0], features - mean)
    assert np.allclose(np.cov(turned[:, :, 0, 1].T), np.eye(4) / 4, atol=0.05)


def test_a_position_learns_from_its_neighbours_when_told_to() -> None:
    features = np.zeros((8, 2, 1, 5), np.float32)
    features[:, :, 0, 2] = 9.0
    means = [gaussians(features, reach=reach)[0][0, 0, 0] for reach in (0, 1)]
    assert np.allclose(means, [[0, 0, 9, 0, 0], [0, 3, 3, 3, 0]])


def test_a_coreset_covers_what_is_rare() -> None:
    rng = np.random.default_rng(0)
    patches = np.concatenate((rng.normal(0, 0.1, (990, 2)), rng.normal(50, 0.1, (10, 2)))).astype(np.float32)
    assert coreset(patches, 8, seed=0)[:, 0].max() > 40
    assert coreset(patches[:3], 8, seed=0).shape == (8, 2)


def test_a_moved_piece_changes_every_other_image_and_makes_no_new_height_without_data() -> None:
    torch.manual_seed(0)
    images = torch.rand(6, 3, 32, 48) + 1
    images[:, :, :, :8] = -2.0
    changed, labels = cut_paste(images)
    assert labels.tolist() == [MOVED, 1 - MOVED] * 3
    assert torch.equal(changed[1::2], images[1::2])
    assert (changed[::2] != images[::2]).flatten(1).any(dim=1).all()
