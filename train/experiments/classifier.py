"""The kind "classifier": fastai trains one network as the experiment says, and it scores validation and held-out scans."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import msgspec
import numpy as np
import torch

from edge.inspector.heightmap.spec import HeightmapSpec
from nets.checkpoint import Checkpoint
from scans.folder import Scan
from train.amounts import AUGMENTATIONS
from train.data import PreparedScan, loaders
from train.experiments.callbacks import EpochLine, EpochLog, callbacks_of, log_loss
from train.experiments.networks import start
from train.experiments.outcome import Outcome
from train.experiments.schema import Experiment, Stage
from train.fast import DataLoaders, Learner, error_rate, no_random
from train.learner import Task, make_learner, quiet_unless_terminal
from train.metrics import Scores
from train.options import TrainingOptions
from train.scoring import heightmaps, probabilities
from train.sides import Sides, usable_sides
from train.typology import CLASSES

LOG = "log.csv"
AUGMENTED = "scored with test-time augmentation, which the box does not do"
Watch = Callable[[int, float], None]
"""Gets every epoch's number, from 1, and its log loss on the validation scans."""


def run_classifier(experiment: Experiment, task: Task, folder: Path, *, watch: Watch | None = None, title: str = "") -> Outcome:
    """Train and score. `folder` gets log.csv; equal experiment, scans, versions and threads give equal weights. Raises CordonError."""
    parts = usable_sides(task)
    with no_random(experiment.seed, reproducible=True), _hushed():
        begun = start(experiment, len(task.classes), (task.spec.height, task.spec.width))
        options = options_of(experiment)
        stages = stages_of(experiment, task.spec)
        first = _loaders(task, options, _resized(parts.prepared, stages[0]), parts)
        learner = make_learner(
            task,
            options,
            first,
            parts.training,
            network=begun.network,
            metrics=[error_rate, log_loss],
            path=folder,
            **_split(begun.splitter),
        )
        rate, notes = _learning_rate(experiment, learner)
        line = EpochLine(title or experiment.name, experiment.epochs_in_all, watch=watch)
        logs = [EpochLog(folder / LOG), line]
        with quiet_unless_terminal(learner):
            for stage in stages:
                learner.dls = first if stage is stages[0] else _loaders(task, options, _resized(parts.prepared, stage), parts)
                _fit(experiment, learner, stage.epochs, rate, frozen=begun.splitter is not None, logs=logs)
        augmented = [_augmented(experiment, learner, scans) for scans in (parts.validation, parts.held_out)]
    checkpoint = Checkpoint(
        architecture=experiment.architecture,
        classes=task.classes,
        heightmap=task.spec,
        model=learner.model.cpu().to(memory_format=torch.contiguous_format).eval(),
        provenance=_provenance(experiment, parts),
    )
    scores = [
        _badness(checkpoint, scans, parts.prepared) if better is None else better
        for scans, better in zip((parts.validation, parts.held_out), augmented, strict=True)
    ]
    return Outcome(
        held_out=parts.held_out,
        badness=scores[1],
        validation=parts.validation,
        validation_badness=scores[0],
        checkpoint=checkpoint,
        epochs=line.done,
        training=len(parts.training),
        refused=parts.refused,
        notes=(*begun.notes, *notes, *([AUGMENTED] if experiment.test_time_augmentation else [])),
    )


def options_of(experiment: Experiment) -> TrainingOptions:
    """The part of an experiment that every training of this room knows."""
    return TrainingOptions(
        architecture=experiment.architecture,
        epochs=experiment.epochs,
        batch_size=experiment.batch_size,
        learning_rate=experiment.learning_rate,
        weight_decay=experiment.weight_decay,
        label_smoothing=experiment.label_smoothing,
        balance="weights" if experiment.balance == "cost" else experiment.balance,
        cost_ratio=experiment.cost_ratio if experiment.balance == "cost" else 1.0,
        held_out=experiment.split.held_out,
        escape_rate=experiment.escape_rate or 0.0,
        seed=experiment.seed,
        threads=torch.get_num_threads(),
        augmentation=AUGMENTATIONS[experiment.augmentation],
    )


def stages_of(experiment: Experiment, spec: HeightmapSpec) -> tuple[Stage, ...]:
    """The stages of progressive resizing, or the one size and all epochs."""
    return experiment.stages or (Stage(size=(spec.height, spec.width), epochs=experiment.epochs),)


def _resized(prepared: PreparedScan, stage: Stage) -> PreparedScan:
    height, width = stage.size
    if (prepared.spec.height, prepared.spec.width) == (height, width):
        return prepared
    return PreparedScan(msgspec.structs.replace(prepared.spec, height=height, width=width), prepared.scale)


def _loaders(task: Task, options: TrainingOptions, prepared: PreparedScan, parts: Sides) -> DataLoaders:
    return loaders(parts.training, parts.validation, task.labels, task.classes, prepared=prepared, options=options)


def _split(splitter: object) -> dict[str, object]:
    return {} if splitter is None else {"splitter": splitter}


def _learning_rate(experiment: Experiment, learner: Learner) -> tuple[float, tuple[str, ...]]:
    """The rate to train with; fastai's `lr_find` may suggest one (its `valley` rule)."""
    if experiment.lr_find == "no":
        return experiment.learning_rate, ()
    with learner.no_bar(), learner.no_logging():
        suggested = float(learner.lr_find(show_plot=False).valley)
    used = suggested if experiment.lr_find == "use" else experiment.learning_rate
    return used, (f"lr_find suggests {suggested:.2e}, {'used' if experiment.lr_find == 'use' else 'not used'}",)


def _fit(experiment: Experiment, learner: Learner, epochs: int, rate: float, *, frozen: bool, logs: Sequence[object]) -> None:
    callbacks = [*callbacks_of(experiment), *logs]
    if experiment.fine_tune is not None and frozen:
        learner.fine_tune(epochs, base_lr=rate, freeze_epochs=experiment.fine_tune.frozen_epochs, cbs=callbacks)
    elif experiment.fine_tune is not None:
        learner.fit_one_cycle(experiment.epochs_in_all, rate, cbs=callbacks)
    elif experiment.schedule == "one cycle":
        learner.fit_one_cycle(epochs, rate, cbs=callbacks)
    elif experiment.schedule == "flat cosine":
        learner.fit_flat_cos(epochs, rate, cbs=callbacks)
    else:
        learner.fit(epochs, rate, cbs=callbacks)


def _augmented(experiment: Experiment, learner: Learner, scans: Sequence[Scan]) -> Scores | None:
    """Badness by fastai's test-time augmentation: changed copies and the scan itself, averaged."""
    if not experiment.test_time_augmentation or not scans:
        return None
    data = learner.dls.test_dl([scan.path for scan in scans], with_labels=True)
    with learner.no_bar(), learner.no_logging():
        averaged, _ = learner.tta(dl=data, n=experiment.test_time_augmentation)
    badness: Scores = averaged[:, CLASSES.index("bad")].double().numpy()
    return badness


def _badness(checkpoint: Checkpoint, scans: Sequence[Scan], prepared: PreparedScan) -> Scores:
    if not scans:
        return np.zeros(0)
    badness: Scores = probabilities(checkpoint, heightmaps(scans, prepared))[:, CLASSES.index("bad")]
    return badness


def _provenance(experiment: Experiment, parts: Sides) -> dict[str, str]:
    counts = {"training_scans": len(parts.training), "validation_scans": len(parts.validation), "held_out_scans": len(parts.held_out)}
    versions = {name: version(name) for name in ("cordon", "torch", "fastai")}
    said = msgspec.json.encode(without_why(experiment)).decode()
    return {"experiment": said, "threads": str(torch.get_num_threads()), **{k: str(v) for k, v in counts.items()}, **versions}


def without_why(experiment: Experiment) -> Experiment:
    """The experiment without what only readers need, so that a comment changes no bytes."""
    return msgspec.structs.replace(experiment, why="")


@contextmanager
def _hushed() -> Iterator[None]:
    """Fastai's trackers print every improvement; without a terminal nobody asked for that."""
    if sys.stderr.isatty() and sys.stdout.isatty():
        yield
        return
    with redirect_stdout(StringIO()):
        yield
