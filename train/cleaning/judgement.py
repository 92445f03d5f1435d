"""What the out-of-fold scores say: which defects are confused, which scans cost most, which labels are probably wrong."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError
from scans.folder import Scan
from train.metrics import Scores
from train.typology import truth_of

UNNAMED = "(not said)"
TINY = 1e-6


@dataclass(frozen=True, kw_only=True)
class Confused:
    """One kind of defect of one label: how many of its scans each split seed's networks judged bad."""

    defect: str
    label: str
    scans: int
    judged_bad: tuple[int, ...]

    @property
    def wrong(self) -> tuple[int, ...]:
        """Misjudged, per split seed."""
        return self.judged_bad if self.label == "good" else tuple(self.scans - bad for bad in self.judged_bad)

    @property
    def wrong_share(self) -> float:
        """Mean over the split seeds."""
        return float(np.mean(self.wrong)) / self.scans


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Per scan, arrays [scans]: mean, lowest and highest badness, mean and worst loss, how often misjudged at 0.5, and cleanlab's view."""

    mean: Scores
    lowest: Scores
    highest: Scores
    loss: Scores
    worst_loss: Scores
    misjudged: NDArray[np.int64]
    quality: Scores
    """cleanlab's self confidence: the averaged probability of the given label."""
    error: NDArray[np.bool_]
    """Whether cleanlab's confident learning takes the label for an error and every split contradicts it."""
    doubtful: NDArray[np.bool_]
    """Misjudged in every split, though cleanlab finds that no error: a hard scan, or one of few errors."""


def judge_labels(scans: tuple[Scan, ...], badness: Scores) -> Judged:
    """Everything per scan, from badness f64 [split seeds, scans]. The loss is -log of the probability of the given label."""
    bad = truth_of(scans)
    given = np.clip(np.where(bad, badness, 1 - badness), TINY, 1.0)
    loss = -np.log(given)
    quality, issue, contradicted = _label_issues(bad, badness.mean(axis=0))
    misjudged = ((badness > 0.5) != bad).sum(axis=0)
    always = misjudged == len(badness)
    return Judged(
        mean=badness.mean(axis=0),
        lowest=badness.min(axis=0),
        highest=badness.max(axis=0),
        loss=loss.mean(axis=0),
        worst_loss=loss.max(axis=0),
        misjudged=misjudged,
        quality=quality,
        error=issue & always,
        doubtful=contradicted & always & ~issue,
    )


def confusion(scans: Sequence[Scan], badness: Scores) -> tuple[Confused, ...]:
    """Per label and kind of defect, the most often misjudged first; judged bad above 0.5."""
    kinds = sorted({(scan.label, scan.defect or UNNAMED) for scan in scans})
    rows = []
    for label, defect in kinds:
        of_kind = np.array([(scan.label, scan.defect or UNNAMED) == (label, defect) for scan in scans])
        judged = tuple(int(count) for count in (badness[:, of_kind] > 0.5).sum(axis=1))
        rows.append(Confused(defect=defect, label=label, scans=int(of_kind.sum()), judged_bad=judged))
    return tuple(sorted(rows, key=lambda row: (-row.wrong_share, row.label, row.defect)))


def confusion_table(rows: Sequence[Confused]) -> str:
    """As text: one line per kind of defect, misjudged scans per split seed and their mean share."""
    lines = [f"{'label':6s} {'defect':20s} {'scans':>6s} {'misjudged':>10s}   per split seed"]
    for row in rows:
        each = " ".join(str(count) for count in row.wrong)
        lines.append(f"{row.label:6s} {row.defect:20.20s} {row.scans:6d} {row.wrong_share:10.1%}   {each}")
    return "\n".join(lines)


def save_confusion(rows: Sequence[Confused], seeds: Sequence[int], path: Path) -> None:
    """label, defect, scans, judged bad and good per split seed, mean share misjudged. Raises DatasetError."""
    header = ["label", "defect", "scans", *(f"{what}_{seed}" for seed in seeds for what in ("judged_bad", "judged_good")), "mean_misjudged"]
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for row in rows:
                counts = [count for bad in row.judged_bad for count in (bad, row.scans - bad)]
                writer.writerow([row.label, row.defect, row.scans, *counts, f"{row.wrong_share:.4f}"])
    except OSError as exc:
        raise DatasetError(f"cannot write {path}", seen=exc.strerror, remedy="Check the folder's rights and free space") from exc


def _label_issues(bad: NDArray[np.bool_], mean: Scores) -> tuple[Scores, NDArray[np.bool_], NDArray[np.bool_]]:
    """From cleanlab, [scans] each: label quality, label errors by confident learning, and labels that the mean contradicts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what cleanlab's import says about its optional parts is nobody's business here
        from cleanlab.filter import find_label_issues  # noqa: PLC0415
        from cleanlab.rank import get_label_quality_scores  # noqa: PLC0415
    labels, probabilities = bad.astype(int), np.stack([1 - mean, mean], axis=1)
    quality = np.asarray(get_label_quality_scores(labels, probabilities, method="self_confidence"), dtype=np.float64)
    issues, contradicted = (
        np.asarray(find_label_issues(labels, probabilities, filter_by=rule, n_jobs=1), dtype=np.bool_)
        for rule in ("confident_learning", "predicted_neq_given")
    )
    return quality, issues, contradicted
