"""Training itself: a fastai Learner on prepared scans, with fixed seeds, balanced classes and a one-cycle schedule."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge.errors import DatasetError
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow
from nets.architectures import build
from nets.checkpoint import Checkpoint
from scans.folder import Scale, Scan
from train.data import PreparedScan, loaders, usable
from train.fast import Callback, CancelValidException, CrossEntropyLossFlat, DataLoaders, Learner, error_rate, no_random
from train.memory import keep_freed_memory
from train.options import TrainingOptions
from train.scoring import heightmaps, probabilities

DEFAULT_SPEC = HeightmapSpec(window=PercentileWindow())
"""Used when neither the command nor the folder's heightmap.json says how frames are prepared."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be learnt: which scans, called what, prepared how."""

    training: tuple[Scan, ...]
    held_out: tuple[Scan, ...]
    labels: dict[Path, str]
    classes: tuple[str, ...]
    spec: HeightmapSpec
    scale: Scale
    validation: tuple[Scan, ...] = ()
    """Scans that may choose: when to stop, a threshold, a member's weight. Never trained on, never among the figures."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A trained network and what it says about the held-out scans."""

    learner: Learner
    checkpoint: Checkpoint
    held_out: tuple[Scan, ...]
    images: torch.Tensor
    """u8 [held out, 1, height, width], prepared."""
    probabilities: NDArray[np.float64]
    """f64 [held out, classes]."""
    refused: int
    """Bad scans that the box refuses before any network, so that no network learnt or judged them."""
    validation: tuple[Scan, ...] = ()
    validation_probabilities: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    """f64 [validation, classes]."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures must know besides, as short sentences without a full stop."""


class NoValidation(Callback):  # type: ignore[misc]
    """Leaves the held-out scans alone until training is over."""

    def before_validate(self) -> None:
        """Skip it."""
        raise CancelValidException


def fit(task: Task, options: TrainingOptions, *, watch: bool = True) -> Fitted:
    """Train on `task.training`, then score `task.held_out` once; `watch` shows the loss after every epoch, of the validation scans if any.

    Nothing is chosen by the held-out scans: the last epoch's weights are kept. Equal task and options give equal weights on one
    kind of CPU. Raises DatasetError.
    """
    torch.set_num_threads(options.threads)
    prepared = PreparedScan(task.spec, task.scale)
    training, refused = usable(task.training, prepared)
    validation, refused_there = usable(task.validation, prepared)
    held_out, refused_too = usable(task.held_out, prepared)
    with no_random(options.seed, reproducible=True):
        data = loaders(training, validation or held_out, task.labels, task.classes, prepared=prepared, options=options)
        learner = make_learner(task, options, data, training)
        with quiet_unless_terminal(learner):
            learner.fit_one_cycle(options.epochs, options.learning_rate, cbs=[] if watch else [NoValidation()])
    checkpoint = Checkpoint(
        architecture=options.architecture,
        classes=task.classes,
        heightmap=task.spec,
        model=learner.model.cpu().to(memory_format=torch.contiguous_format).eval(),
        provenance=_provenance(options, training, held_out),
    )
    images = heightmaps(held_out, prepared)
    return Fitted(
        learner=learner,
        checkpoint=checkpoint,
        held_out=held_out,
        images=images,
        probabilities=probabilities(checkpoint, images),
        refused=refused + refused_there + refused_too,
        validation=validation,
        validation_probabilities=_scores_of(checkpoint, validation, prepared),
    )


def make_learner(
    task: Task,
    options: TrainingOptions,
    data: DataLoaders,
    training: Sequence[Scan],
    *,
    network: nn.Module | None = None,
    **more: Any,
) -> Learner:
    """A Learner for `task` over `data`, its classes weighed as `options` says; without `network` a fresh one; `more` goes to Learner."""
    keep_freed_memory()
    weights = _class_weights(task, options, training).to(data.device)
    size = (task.spec.height, task.spec.width)
    # Channels last runs this network three times as fast on a CPU.
    made = (network or build(options.architecture, len(task.classes), size=size)).to(memory_format=torch.channels_last)
    loss = CrossEntropyLossFlat(weight=weights, label_smoothing=options.label_smoothing)
    return Learner(data, made, loss_func=loss, wd=options.weight_decay, **{"metrics": [error_rate], **more})


def _class_weights(task: Task, options: TrainingOptions, training: Sequence[Scan]) -> torch.Tensor:
    counts = Counter(task.labels[scan.path] for scan in training)
    if missing := [name for name in task.classes if not counts[name]]:
        remedy = "Give more groups; bad scans that are empty or constant are refused by the box and teach nothing"
        raise DatasetError("a class has no scan to learn from", seen=", ".join(missing), remedy=remedy)
    evened = [len(training) / (len(task.classes) * counts[name]) for name in task.classes]
    weights = torch.tensor(evened if options.balance == "weights" else [1.0] * len(task.classes))
    weights[0] *= options.cost_ratio
    return weights


def _scores_of(checkpoint: Checkpoint, scans: Sequence[Scan], prepared: PreparedScan) -> NDArray[np.float64]:
    return probabilities(checkpoint, heightmaps(scans, prepared)) if scans else np.zeros((0, len(checkpoint.classes)))


@contextmanager
def quiet_unless_terminal(learner: Learner) -> Iterator[None]:
    """Show fastai's bars and tables on a terminal only."""
    if sys.stderr.isatty() and sys.stdout.isatty():
        yield
    else:
        with learner.no_bar(), learner.no_logging():
            yield


def _provenance(options: TrainingOptions, training: Sequence[Scan], held_out: Sequence[Scan]) -> dict[str, str]:
    counts = {f"{name}_scans": str(len(scans)) for name, scans in (("training", training), ("held_out", held_out))}
    versions = {name: version(name) for name in ("cordon", "torch", "fastai")}
    return {**options.as_text(), **counts, **versions}
