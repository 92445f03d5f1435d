"""Cross-validation by group: every scan is judged once by a network that never saw its group, next to the baselines on the same folds."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError
from edge.inspector.heightmap.spec import HeightmapSpec
from nets.checkpoint import save_checkpoint
from scans.checks import check_scans
from scans.folder import Scan, find_scans
from scans.split import folds_by_group
from train.baseline import BASELINES, baseline_badness
from train.data import PreparedScan, usable
from train.learner import fit
from train.metrics import Judgement, Metrics, Scores, judge, measure, threshold_for
from train.options import TrainingOptions
from train.scoring import heightmaps
from train.typology import badness_of, truth_of, typology_task

NETWORK = "network"


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """Out-of-fold scores of every scan. `badness[name]` holds the network's ("network") and each baseline's, f64 [scans]."""

    root: Path
    scans: tuple[Scan, ...]
    fold: NDArray[np.int64]
    badness: dict[str, Scores]
    checkpoints: tuple[Path, ...]
    escape_rate: float

    def metrics(self, name: str, fold: int | None = None) -> Metrics:
        """Figures of one column of scores, over one fold or pooled over all."""
        chosen = np.ones(len(self.scans), np.bool_) if fold is None else self.fold == fold
        return measure(truth_of(self.scans)[chosen], self.badness[name][chosen], self.escape_rate)

    def mean_auroc(self, name: str) -> float:
        """The mean of the folds' own AUROC, which does not compare scores of different networks."""
        return float(np.mean([self.metrics(name, fold).auroc for fold in range(len(self.checkpoints))]))

    def crossed(self, name: str) -> Judgement:
        """Escapes and overkills when each fold's threshold is chosen on the other folds' scores only; `threshold` is their mean."""
        bad, badness = truth_of(self.scans), self.badness[name]
        parts = []
        for fold in range(len(self.checkpoints)):
            here = self.fold == fold
            parts.append(judge(bad[here], badness[here], threshold_for(bad[~here], badness[~here], self.escape_rate)))
        return Judgement(
            threshold=float(np.mean([part.threshold for part in parts])),
            escapes=sum(part.escapes for part in parts),
            overkills=sum(part.overkills for part in parts),
        )

    def table(self) -> str:
        """The figures as text: the network and the baselines, pooled, with each fold's AUROC below."""
        lines = [f"{'':20s} {'mean AUROC':>10s} {'pooled':>7s} {'escapes':>7s} {'overkills':>9s}   AUROC per fold"]
        for name in self.badness:
            crossed, pooled = self.crossed(name), self.metrics(name).auroc
            each = " ".join(f"{self.metrics(name, fold).auroc:.3f}" for fold in range(len(self.checkpoints)))
            figures = f"{self.mean_auroc(name):10.4f} {pooled:7.4f} {crossed.escapes:7d} {crossed.overkills:9d}"
            lines.append(f"{name:20s} {figures}   {each}")
        lines.append("escapes and overkills: each fold by a threshold from the other folds' scores")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, object]:
        """For JSON: per column of scores the pooled figures, each fold's AUROC and the cross-chosen threshold's result."""
        folds = range(len(self.checkpoints))
        return {
            name: {
                "mean_auroc": self.mean_auroc(name),
                "fold_auroc": [self.metrics(name, fold).auroc for fold in folds],
                "pooled": self.metrics(name).as_dict(),
                "threshold_from_other_folds": vars(self.crossed(name)),
            }
            for name in self.badness
        }


def cross_validate(
    folder: Path,
    options: TrainingOptions,
    *,
    folds: int,
    out: Path,
    table: Path | None = None,
    spec: HeightmapSpec | None = None,
    half: bool = False,
) -> CrossValidation:
    """Train one network per fold for a fixed number of epochs and write OUT/fold0.safetensors ... and OUT/folds.csv.

    The fold held out is scored once, after its training; neither epochs nor thresholds are chosen on it. Raises DatasetError.
    """
    found = find_scans(folder, table=table)
    check_scans(found)
    chosen = typology_task(found, found.scans, (), spec).spec
    prepared = PreparedScan(chosen, found.scale)
    scans, _ = usable(found.scans, prepared)
    images = heightmaps(scans, prepared).numpy()[:, 0]
    place = {scan.path: index for index, scan in enumerate(scans)}
    bad, fold_of = truth_of(scans), np.zeros(len(scans), np.int64)
    badness: dict[str, Scores] = {name: np.zeros(len(scans)) for name in (NETWORK, *BASELINES)}
    paths = []
    for fold, (training, test) in enumerate(folds_by_group(scans, folds=folds, seed=options.seed)):
        inside, outside = [place[s.path] for s in training], [place[s.path] for s in test]
        fold_of[outside] = fold
        fitted = fit(typology_task(found, training, test, chosen), replace(options, seed=options.seed + fold), watch=False)
        badness[NETWORK][outside] = badness_of(fitted)
        for name in BASELINES:
            badness[name][outside] = baseline_badness(name, images[inside], bad[inside], images[outside])
        paths.append(out / f"fold{fold}.safetensors")
        save_checkpoint(fitted.checkpoint, paths[-1], half=half)
    result = CrossValidation(
        root=folder, scans=scans, fold=fold_of, badness=badness, checkpoints=tuple(paths), escape_rate=options.escape_rate
    )
    save_folds(result, out / "folds.csv")
    return result


def save_folds(result: CrossValidation, path: Path) -> None:
    """One line per scan: file, fold, label, group and every out-of-fold badness. Raises DatasetError."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "fold", "label", "group", *(name.replace(" ", "_") for name in result.badness)])
            for index, scan in enumerate(result.scans):
                scores = [f"{column[index]:.6f}" for column in result.badness.values()]
                writer.writerow([scan.path.relative_to(result.root).as_posix(), result.fold[index], scan.label, scan.group, *scores])
    except OSError as exc:
        raise DatasetError(f"cannot write {path}", seen=exc.strerror, remedy="Check the folder's rights and free space") from exc
