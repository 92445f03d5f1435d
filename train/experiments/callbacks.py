"""Fastai callbacks of experiments: a log that goes on over several fits, a line per epoch without a terminal, a trial that is given up."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional

from train.experiments.schema import Experiment
from train.fast import Callback, CSVLogger, EarlyStoppingCallback, MixUp, ReduceLROnPlateau, SaveModelCallback

MONITOR = "log_loss"
"""What decides on the validation scans: unlike the training's loss it knows no label smoothing and no weights."""


def log_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of logits [N, classes] against class indices [N], the metric that trackers watch."""
    return functional.cross_entropy(logits.as_subclass(Tensor), truth.as_subclass(Tensor))


class EpochLog(CSVLogger):  # type: ignore[misc]
    """The CSVLogger of fastai for several fits in a row (fine-tuning, progressive sizes): one header, one line per epoch."""

    def __init__(self, path: Path) -> None:
        super().__init__(fname=path, append=True)
        path.unlink(missing_ok=True)

    def before_fit(self) -> None:
        """Open the file; only the first fit writes a header."""
        self.file = Path(self.fname).open("a", encoding="utf-8")  # noqa: SIM115 - after_fit closes it
        if not self.file.tell():
            self.file.write(",".join(self.recorder.metric_names) + "\n")
        self.old_logger, self.learn.logger = self.logger, self._write_line


class EpochLine(Callback):  # type: ignore[misc]
    """Counts epochs; without a terminal it says each on stderr."""

    order = 55  # after the recorder, before what may end the fit

    def __init__(self, name: str, epochs: int, *, watch: Callable[[int, float], None] | None = None) -> None:
        self.title = name
        self.expected = epochs
        self.done = 0
        self.watch = watch

    def after_epoch(self) -> None:
        """Say what the recorder has; `watch` gets the epoch's number and its log loss."""
        self.done += 1
        names, values = list(self.recorder.metric_names[1:-1]), list(self.recorder.log[1:-1])
        if not sys.stderr.isatty():
            figures = ", ".join(f"{name} {value:.4f}" for name, value in zip(names, values, strict=True))
            print(f"  {self.title}: epoch {self.done} of {self.expected}: {figures}", file=sys.stderr, flush=True)
        if self.watch is not None:
            self.watch(self.done, float(values[names.index(MONITOR)]))


def callbacks_of(experiment: Experiment) -> list[Any]:
    """What the experiment's own keys ask for, by fastai."""
    made: list[Any] = []
    if experiment.mixup:
        made.append(MixUp(experiment.mixup))
    if experiment.keep == "best":
        made.append(SaveModelCallback(monitor=MONITOR, fname="best"))
    if experiment.early_stopping is not None:
        made.append(EarlyStoppingCallback(monitor=MONITOR, patience=experiment.early_stopping.patience))
    if experiment.reduce_on_plateau is not None:
        plateau = experiment.reduce_on_plateau
        made.append(ReduceLROnPlateau(monitor=MONITOR, patience=plateau.patience, factor=plateau.factor))
    return made
