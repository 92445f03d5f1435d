"""Good scans drawn again, and three ways to say what could not be drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from sklearn.metrics import roc_auc_score
from task_kit import task_of

from edge.errors import DatasetError, ExportError
from nets.autoencoder import CELL, ERROR_MAP, ERROR_SCALE, EVERY_PIXEL, GAP_MAP, DrawingError, gap_error, plain_error, shape_error
from nets.checkpoint import load_checkpoint, save_checkpoint
from train.autoencoder import AutoencoderOptions, fit_autoencoder
from train.drawing import drawing_loss
from train.learner import Fitted, Task
from train.scoring import probabilities
from train.typology import truth_of

OPTIONS = AutoencoderOptions(epochs=12, batch_size=8)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory, make_folder: Any) -> Task:
    return task_of(make_folder(tmp_path_factory.mktemp("scans") / "T2", count=24))


@pytest.fixture(scope="module")
def fitted(task: Task) -> Fitted:
    return fit_autoencoder(task, OPTIONS)


def test_the_local_rule_finds_a_gap_that_it_never_saw(fitted: Fitted) -> None:
    assert roc_auc_score(truth_of(fitted.held_out), fitted.probabilities[:, 0]) == 1.0
    assert set(fitted.checkpoint.constants) == {ERROR_MAP, GAP_MAP, ERROR_SCALE}
    assert fitted.checkpoint.constants[GAP_MAP].shape == (1, 1, 64 // CELL, 96 // CELL)


def test_most_good_validation_scans_score_below_one_half(fitted: Fitted) -> None:
    good = ~truth_of(fitted.validation)
    below = (fitted.validation_probabilities[good, 0] <= 0.5).mean()
    assert abs(below - OPTIONS.quantile) <= 1 / good.sum()


def test_nothing_bad_is_learnt_from(fitted: Fitted, task: Task) -> None:
    learnt = set(fitted.learner.dls.train_ds.items)
    assert learnt == {scan.path for scan in task.training if scan.label == "good"}
    assert len(fitted.learner.dls.train.one_batch()) == 1


def test_the_rule_of_the_sources_says_what_is_not_known_of_it(task: Task) -> None:
    found = fit_autoencoder(task, replace(OPTIONS, rule="source", epochs=1))
    assert set(found.checkpoint.constants) == {EVERY_PIXEL, ERROR_SCALE}
    assert "do not say" in found.notes[0]
    assert all(way in found.notes[1] for way in ("mean", "2 deviations", "greatest", "hindsight"))


def test_equal_seeds_give_equal_files_and_the_file_gives_the_same_scores(task: Task, tmp_path: Path) -> None:
    found = [fit_autoencoder(task, replace(OPTIONS, epochs=1)) for _ in range(2)]
    for name, one in zip("ab", found, strict=True):
        save_checkpoint(one.checkpoint, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    scores = probabilities(load_checkpoint(tmp_path / "a.safetensors"), found[0].images)
    assert abs(scores - found[0].probabilities).max() < 1e-6


def test_missing_data_is_an_error_of_the_gap_alone() -> None:
    drawn = torch.full((1, 1, 16, 16), 100 / 255)
    whole = torch.full((1, 1, 16, 16), 100, dtype=torch.uint8)
    torn = whole.clone()
    torn[..., 2:10, 2:10] = 0
    usual = torch.full((1, 1, 4, 4), 0.01)
    assert shape_error(torn, drawn, usual).item() == pytest.approx(0.0, abs=1e-6)
    assert gap_error(torn, drawn, usual).item() == pytest.approx((100 / 255) ** 2 / 0.01, rel=1e-5)
    assert plain_error(torn, drawn).item() == pytest.approx((100 / 255) ** 2 / 4, rel=1e-5)
    both = DrawingError({ERROR_MAP: usual, GAP_MAP: usual})
    assert both(torn, drawn).item() == pytest.approx(gap_error(torn, drawn, usual).item())
    assert both(whole, drawn).item() == pytest.approx(0.0, abs=1e-6)


def test_a_wrong_height_counts_by_how_unusual_it_is_there() -> None:
    drawn, image = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 51, dtype=torch.uint8)
    usual = torch.tensor([[0.04, 0.04], [0.04, 0.01]])[None, None]
    assert shape_error(image, drawn, usual).item() == pytest.approx(((1 + 1 + 1 + 16) / 4) ** 0.5, rel=1e-5)


def test_the_loss_leaves_pixels_without_data_out_unless_told() -> None:
    image, drawing = torch.tensor([[[[0.0, 0.5]]]]), torch.tensor([[[[1.0, 0.7]]]])
    assert drawing_loss(every_pixel=False)(drawing, image).item() == pytest.approx(0.04)
    assert drawing_loss(every_pixel=True)(drawing, image).item() == pytest.approx((1 + 0.04) / 2)


def test_too_few_good_scans_are_refused(task: Task) -> None:
    bad = tuple(scan for scan in task.training if scan.label == "bad")
    with pytest.raises(DatasetError, match="too few good scans among the training"):
        fit_autoencoder(replace(task, training=bad), OPTIONS)
    bad = tuple(scan for scan in task.validation if scan.label == "bad")
    with pytest.raises(DatasetError, match="too few good scans among the validation"):
        fit_autoencoder(replace(task, validation=bad), OPTIONS)


def test_a_size_that_cannot_be_halved_five_times_is_refused(task: Task) -> None:
    with pytest.raises(ExportError, match="multiples of 32"):
        fit_autoencoder(replace(task, spec=msgspec.structs.replace(task.spec, height=50)), OPTIONS)


@pytest.mark.parametrize(("name", "value"), [("quantile", 0.2), ("epochs", 0)])
def test_an_option_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(DatasetError, match=name):
        AutoencoderOptions(**{name: value})  # type: ignore[arg-type]
