"""Mistakes planted into a folder of simulated welds are found: about two minutes of one core."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sim.dataset import write_dataset
from train.cleaning.cli import main
from train.cleaning.find import Request, find_issues
from train.cleaning.review import review_entries
from train.options import recipe

Change = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]


def _brighter(image: NDArray[Any], _: np.random.Generator) -> NDArray[Any]:
    return np.where(image > 0, np.clip(np.rint(image * 1.1 + 8), 1, 255), 0).astype(np.uint8)


def _moved_and_thinned(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    moved = np.roll(image, (2, 5), (0, 1))
    moved[rng.random(moved.shape) < 0.02] = 0
    return moved


def _noisy(image: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    return np.where(image > 0, np.clip(np.rint(image + rng.normal(0, 1, image.shape)), 1, 255), 0).astype(np.uint8)


class Planted:
    """A folder with 3 % wrong labels, ten copies in groups of their own, and two welds in both labels."""

    def __init__(self, root: Path, welds: int) -> None:
        write_dataset(root, "T3", good=welds // 2, bad=welds // 2, seed=6)
        self.root, self.rng = root, np.random.default_rng(6)
        with (root / "groups.csv").open(newline="", encoding="utf-8") as file:
            self.rows = list(csv.DictReader(file))
        told = [row for row in self.rows if row["defect"] not in ("solid", "bare_sheet")]
        chosen = iter([told[index] for index in self.rng.permutation(len(told))])
        self.wrong = {self._mislabel(next(chosen)) for _ in range(round(0.03 * welds))}
        changes: list[Change] = [_brighter, _moved_and_thinned, _noisy]
        self.pairs = {self._copy(next(chosen), n, changes[n % 3]) for n in range(10)}
        self.both = {self._copy(next(chosen), 10 + n, None) for n in range(2)}
        with (root / "groups.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["file", "label", "group", "defect"])
            writer.writeheader()
            writer.writerows(self.rows)

    def _mislabel(self, row: dict[str, str]) -> str:
        other = "good" if row["label"] == "bad" else "bad"
        name = f"{other}/{Path(row['file']).name}"
        (self.root / row["file"]).rename(self.root / name)
        row.update(file=name, label=other)
        return name

    def _copy(self, row: dict[str, str], number: int, change: Change | None) -> frozenset[str]:
        label = row["label"] if change else ("good" if row["label"] == "bad" else "bad")
        name = f"{label}/again{number}.png"
        if change is None:
            shutil.copy(self.root / row["file"], self.root / name)
        else:
            cv2.imwrite(str(self.root / name), change(cv2.imread(str(self.root / row["file"]), cv2.IMREAD_UNCHANGED), self.rng))
        self.rows.append({"file": name, "label": label, "group": f"other-{number}", "defect": ""})
        return frozenset((row["file"], name))


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_planted_mistakes_are_found_and_little_else(tmp_path: Path) -> None:
    planted = Planted(tmp_path / "T3", 300)
    request = Request(options=recipe("synthetic", epochs=40, seed=7), splits=2, folds=3, size=(64, 176))
    evidence = find_issues(planted.root, request, tmp_path / "kept").evidence
    assert {frozenset((evidence.names[p.first], evidence.names[p.second])) for p in evidence.pairs} == planted.pairs | planted.both
    entries = review_entries(evidence, top=20)
    assert {evidence.names[entry.index] for entry in entries[:4]} == set().union(*planted.both)
    relabel = {evidence.names[entry.index] for entry in entries if entry.suggestion.startswith("relabel")}
    assert len(relabel & planted.wrong) >= 0.75 * len(planted.wrong)
    assert len(relabel - planted.wrong) <= 3


@pytest.mark.slow
def test_every_planted_copy_is_found_without_any_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = Planted(tmp_path / "T3", 32)
    monkeypatch.setattr("train.cleaning.outoffold.fit", lambda task, _, **__: task)
    monkeypatch.setattr("train.cleaning.outoffold.badness_of", lambda task: np.full(len(task.held_out), 0.5))
    assert main(["find", str(planted.root), "--out", str(tmp_path / "out"), "--folds", "3", "--splits", "1"]) == 0
    with (tmp_path / "out" / "review.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows[:4]} == set().union(*planted.both)
    assert all(row["suggestion"] == "remove" for row in rows[:4])  # nobody can tell which label is right
    joined = {row["file"] for row in rows if row["suggestion"].startswith("regroup")}
    assert joined == {name for pair in planted.pairs for name in pair if "again" in name}
