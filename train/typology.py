"""One typology: a folder of good and bad scans in, a network that tells them apart out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.inspector.heightmap.spec import HeightmapSpec
from nets.checkpoint import Checkpoint
from scans.checks import check_scans
from scans.folder import Scan, ScanFolder, find_scans
from scans.split import split_by_group
from train.fast import Learner
from train.learner import DEFAULT_SPEC, Fitted, Task, fit
from train.metrics import Metrics, Scores, Truth, measure
from train.options import TrainingOptions

CLASSES = ("bad", "good")
"""Output 0 is the badness."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A typology's network with its figures on the held-out scans."""

    fitted: Fitted
    metrics: Metrics
    root: Path

    @property
    def learner(self) -> Learner:
        """Fastai's Learner, with the scans it was trained on."""
        return self.fitted.learner

    @property
    def checkpoint(self) -> Checkpoint:
        """What export and the box go on with."""
        return self.fitted.checkpoint

    def as_dict(self) -> dict[str, object]:
        """For JSON: the figures, and which held-out scans were misjudged at 0.5, the worst first."""
        return {**self.metrics.as_dict(), "refused": self.fitted.refused, "mistakes": self.mistakes()}

    def mistakes(self) -> list[str]:
        """Held-out files, relative to the folder, that 0.5 puts on the wrong side; the worst first."""
        wrongness = np.where(truth_of(self.fitted.held_out), 1.0, -1.0) * (0.5 - badness_of(self.fitted))
        order = np.argsort(-wrongness, kind="stable")
        wrong = [index for index in order if wrongness[index] >= 0]
        return [self.fitted.held_out[index].path.relative_to(self.root).as_posix() for index in wrong]


def train_typology(
    folder: Path,
    options: TrainingOptions,
    *,
    table: Path | None = None,
    keep_aside: Path | None = None,
    spec: HeightmapSpec | None = None,
    watch: bool = True,
) -> TrainResult:
    """Train on the scans below `folder`, whole groups held out for the figures. `spec` goes before the folder's heightmap.json.

    `keep_aside` is a CSV with a column file: scans that take no part at all, for a judgement later.

    Raises DatasetError for a folder that is missing, empty, lacks a label, or holds files that cannot be read or judged, that differ in
    depth or size, or that are good and bad at once.
    """
    found = find_scans(folder, table=table).without(keep_aside)
    check_scans(found)
    training, held_out = split_by_group(found.scans, held_out=options.held_out, seed=options.seed)
    fitted = fit(typology_task(found, training, held_out, spec), options, watch=watch)
    metrics = measure(truth_of(fitted.held_out), badness_of(fitted), options.escape_rate)
    return TrainResult(fitted=fitted, metrics=metrics, root=folder)


def typology_task(found: ScanFolder, training: tuple[Scan, ...], held_out: tuple[Scan, ...], spec: HeightmapSpec | None) -> Task:
    """Good against bad, prepared by `spec`, else the folder's own, else the default one."""
    return Task(
        training=training,
        held_out=held_out,
        labels={scan.path: scan.label for scan in (*training, *held_out)},
        classes=CLASSES,
        spec=spec or found.spec or DEFAULT_SPEC,
        scale=found.scale,
    )


def truth_of(scans: tuple[Scan, ...]) -> Truth:
    """Which scans are bad, bool [n]."""
    return np.array([scan.label == "bad" for scan in scans])


def badness_of(fitted: Fitted) -> Scores:
    """The held-out scans' badness, f64 [n]."""
    return fitted.probabilities[:, CLASSES.index("bad")]
