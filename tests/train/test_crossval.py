from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow
from nets.checkpoint import load_checkpoint
from scans.folder import find_scans
from scans.split import folds_by_group
from train.baseline import baseline_badness, gradient_features, trivial_features
from train.cli import main
from train.crossval import NETWORK, CrossValidation
from train.data import PreparedScan
from train.scoring import heightmaps, probabilities
from train.typology import truth_of

SHARED = Path(os.environ.get("CORDON_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
BATTERY = SHARED / "data" / "battery_weld"


def test_every_scan_is_scored_once_by_the_network_of_its_fold(tmp_path: Path, make_folder: Any) -> None:
    root = make_folder(tmp_path / "T2")
    assert main([str(root), "--folds", "2", "--epochs", "1", "--out", str(tmp_path / "cv")]) == 0
    with (tmp_path / "cv" / "folds.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = find_scans(root)
    assert [row["file"] for row in rows] == [scan.path.relative_to(root).as_posix() for scan in found.scans]
    folds_of_group = {row["group"]: {r["fold"] for r in rows if r["group"] == row["group"]} for row in rows}
    assert all(len(folds) == 1 for folds in folds_of_group.values())
    network = load_checkpoint(tmp_path / "cv" / "fold1.safetensors")
    held_out = [scan for scan, row in zip(found.scans, rows, strict=True) if row["fold"] == "1"]
    scores = probabilities(network, heightmaps(held_out, PreparedScan(network.heightmap, found.scale)))[:, 0]
    assert np.allclose(scores, [float(row["network"]) for row in rows if row["fold"] == "1"], atol=1e-5)
    figures = json.loads((tmp_path / "cv" / "metrics.json").read_text())
    assert list(figures) == ["network", "trivial three", "gradient histogram"]


def test_a_fold_s_threshold_is_chosen_without_it(tmp_path: Path, make_folder: Any) -> None:
    scans = find_scans(make_folder(tmp_path / "T2", count=4)).scans
    fold = np.array([0, 0, 1, 1] * 2)
    bad = truth_of(scans)
    badness = np.where(bad, np.where(fold == 0, 0.3, 0.9), 0.1)  # the bad welds of fold 0 look milder
    paths = (tmp_path / "fold0.safetensors", tmp_path / "fold1.safetensors")
    result = CrossValidation(root=tmp_path, scans=scans, fold=fold, badness={NETWORK: badness}, checkpoints=paths, escape_rate=0.0)
    crossed = result.crossed(NETWORK)
    assert (crossed.escapes, crossed.overkills) == (2, 0)
    assert result.metrics(NETWORK).at_target.escapes == 0
    assert result.mean_auroc(NETWORK) == 1.0


def test_trivial_features_are_zero_fraction_mean_and_deviation() -> None:
    image = np.zeros((1, 4, 4), np.uint8)
    image[:, :2] = 100
    assert trivial_features(image).tolist() == [[0.5, 50.0, 50.0]]


def test_gradient_histograms_tell_orientation() -> None:
    rows = np.tile((np.arange(64) % 8 * 30).astype(np.uint8)[:, None], (1, 88))[None]
    columns = np.tile((np.arange(88) % 8 * 30).astype(np.uint8), (64, 1))[None]
    across, along = (gradient_features(image).reshape(-1, 8).sum(axis=0) for image in (rows, columns))
    assert (across.argmax(), along.argmax()) == (4, 0)


@pytest.mark.skipif(not BATTERY.is_dir(), reason=f"no real scans in {BATTERY}")
def test_the_trivial_baseline_is_as_strong_on_real_scans_as_its_readme_says() -> None:
    found = find_scans(BATTERY / "tiles", table=BATTERY / "tiles.csv")
    images = heightmaps(found.scans, PreparedScan(HeightmapSpec(window=PercentileWindow()), found.scale)).numpy()[:, 0]
    place = {scan: index for index, scan in enumerate(found.scans)}
    bad = truth_of(found.scans)
    correct = 0
    for training, test in folds_by_group(found.scans, folds=5, seed=42):
        inside, outside = [place[scan] for scan in training], [place[scan] for scan in test]
        badness = baseline_badness("trivial three", images[inside], bad[inside], images[outside])
        correct += int(((badness > 0.5) == bad[outside]).sum())
    assert len(found.scans) == 323
    assert 0.88 < correct / len(found.scans) < 0.96
