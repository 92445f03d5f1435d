"""Pairs, references and the verdict against them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from task_kit import task_of
from torch import Tensor

from edge.errors import DatasetError
from nets.checkpoint import load_checkpoint, save_checkpoint
from nets.siamese import REFERENCE_IMAGES, SiameseNetwork
from train.data import PreparedScan
from train.learner import Fitted, Task
from train.pairs import PairLoss, pair_error, pair_kinds
from train.scoring import heightmaps, probabilities
from train.siamese import SiameseOptions, choose_references, fit_siamese
from train.typology import truth_of

OPTIONS = SiameseOptions(epochs=30, references=3, batch_size=8)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory, make_folder: Any) -> Task:
    return task_of(make_folder(tmp_path_factory.mktemp("scans") / "T2", count=16))


@pytest.fixture(scope="module")
def fitted(task: Task) -> Fitted:
    return fit_siamese(task, OPTIONS)


def test_a_gap_in_the_seam_is_worse_than_none(fitted: Fitted) -> None:
    bad, badness = truth_of(fitted.held_out), fitted.probabilities[:, 0]
    assert badness[bad].min() > badness[~bad].max()
    seen = truth_of(fitted.validation)
    assert fitted.validation_probabilities[seen, 0].min() > fitted.validation_probabilities[~seen, 0].max()
    assert "3 references, pair error" in fitted.notes[0]


def test_every_reference_is_a_good_scan_of_the_training(fitted: Fitted, task: Task) -> None:
    good = tuple(scan for scan in task.training if scan.label == "good")
    known = heightmaps(good, PreparedScan(task.spec, task.scale))
    references = fitted.checkpoint.constants[REFERENCE_IMAGES]
    assert references.shape == (3, 1, 64, 96)
    assert len({one.numpy().tobytes() for one in references}) == 3
    assert all(any(torch.equal(one, other) for other in known) for one in references)


def test_equal_seeds_give_equal_files_and_the_file_gives_the_same_scores(fitted: Fitted, task: Task, tmp_path: Path) -> None:
    short = replace(OPTIONS, epochs=1)
    for name in ("a", "b"):
        save_checkpoint(fit_siamese(task, short).checkpoint, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    save_checkpoint(fitted.checkpoint, tmp_path / "c.safetensors")
    loaded = load_checkpoint(tmp_path / "c.safetensors")
    assert loaded.constants[REFERENCE_IMAGES].dtype == torch.uint8
    assert np.allclose(probabilities(loaded, fitted.images), fitted.probabilities, atol=1e-6)


def test_pairs_are_same_among_good_ones_and_different_across() -> None:
    same, different = pair_kinds(torch.tensor([1, 1, 0]), bad_pairs=False)
    assert same.int().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert different.int().tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    with_bad, _ = pair_kinds(torch.tensor([1, 0, 0]), bad_pairs=True)
    assert with_bad.int().tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_both_kinds_of_pairs_weigh_half() -> None:
    """Three good scans and one bad: 6 same pairs called different for sure, 6 different ones called so as well."""
    logits = torch.tensor([-9.0, 9.0]).expand(4, 4, 2)
    assert PairLoss(bad_pairs=False)(logits, torch.tensor([1, 1, 1, 0])).item() == pytest.approx(9.0, abs=1e-3)
    lonely = PairLoss(bad_pairs=False)(logits[:1, :1], torch.tensor([1]))
    assert lonely.item() == 0.0


class Thermometer(SiameseNetwork):
    """Calls a pair different when the sum of its first features exceeds 1."""

    def compare(self, one: Tensor, other: Tensor) -> Tensor:
        total = one[..., 0] + other[..., 0]
        return torch.stack((torch.ones_like(total), total), dim=-1)


def test_the_pair_error_counts_each_kind_on_its_own() -> None:
    """Good 0.2, good 0.9 (too warm together), bad 0.95 (cold enough with 0.2 to be called different, with 0.9 as well), bad 0.5."""
    features = torch.tensor([[0.2], [0.9], [0.95], [0.5]])
    found = pair_error(Thermometer(body="small"), features, torch.tensor([False, False, True, True]), bad_pairs=False)
    assert (found.same, found.different, found.balanced) == (1.0, 0.25, 0.625)


def test_references_cover_every_kind_of_good_scan() -> None:
    kinds = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    features = torch.cat([kind + 0.01 * torch.arange(5)[:, None] for kind in kinds])
    assert sorted(index // 5 for index in choose_references(features, 3, seed=0)) == [0, 1, 2]


def test_fewer_differing_scans_than_references_are_refused() -> None:
    with pytest.raises(DatasetError, match="fewer good training scans than references"):
        choose_references(torch.ones(9, 4), 2, seed=0)


@pytest.mark.parametrize(
    ("side", "label", "match"),
    [
        ("training", "good", "too few good scans among the training"),
        ("training", "bad", "too few bad scans among the training"),
        ("validation", "good", "too few good scans among the validation"),
        ("held_out", "bad", "too few bad scans among the held-out"),
    ],
)
def test_a_side_without_a_label_is_refused(task: Task, side: str, label: str, match: str) -> None:
    kept = tuple(scan for scan in getattr(task, side) if scan.label != label)
    with pytest.raises(DatasetError, match=match):
        fit_siamese(replace(task, **{side: kept}), OPTIONS)  # type: ignore[arg-type]


def test_more_references_than_good_training_scans_are_refused(task: Task) -> None:
    with pytest.raises(DatasetError, match="Give at least 64"):
        fit_siamese(task, replace(OPTIONS, references=64))


@pytest.mark.parametrize(("name", "value"), [("references", 0), ("epochs", 0), ("learning_rate", float("nan"))])
def test_an_option_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(DatasetError, match=name):
        SiameseOptions(**{name: value})  # type: ignore[arg-type]


def test_the_verdict_is_the_mean_over_the_references_each_compared_as_a_pair() -> None:
    torch.manual_seed(0)
    network = SiameseNetwork(body="small").eval()
    features, references = torch.randn(3, network.features), torch.randn(4, network.features)
    with torch.inference_mode():
        badness = network.badness(features, network.right(references)[None])
        pairs = network.compare(features[:, None], references[None]).softmax(2)[:, :, 1]
    assert pairs.std(1).min() > 0
    assert torch.allclose(badness, pairs.mean(1, keepdim=True), atol=1e-6)
