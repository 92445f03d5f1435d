"""The kinds that end in a `Fitted` of their own: siamese, autoencoder, anomaly."""

from __future__ import annotations

from pathlib import Path

import torch

from train.experiments.kinds import options_of
from train.experiments.outcome import Outcome, outcome_of
from train.experiments.schema import Experiment
from train.learner import Task


def run_siamese(experiment: Experiment, task: Task, _: Path) -> Outcome:
    """Same or different, judged against several good references."""
    from train.siamese import fit_siamese  # noqa: PLC0415 - each of these imports what the others need not pay for

    options = options_of(experiment, seed=experiment.seed, threads=torch.get_num_threads())
    return outcome_of(fit_siamese(task, options), epochs=options.epochs, training=len(task.training))


def run_autoencoder(experiment: Experiment, task: Task, _: Path) -> Outcome:
    """Good scans drawn again; what it cannot draw was not good."""
    from train.autoencoder import fit_autoencoder  # noqa: PLC0415

    options = options_of(experiment, seed=experiment.seed, threads=torch.get_num_threads())
    return outcome_of(fit_autoencoder(task, options), epochs=options.epochs, training=_good(task))


def run_anomaly(experiment: Experiment, task: Task, _: Path) -> Outcome:
    """Statistics of good scans' patches."""
    from train.anomaly import fit_anomaly  # noqa: PLC0415

    options = options_of(experiment, seed=experiment.seed, threads=torch.get_num_threads())
    return outcome_of(fit_anomaly(task, options), epochs=options.epochs, training=_good(task), notes=("learnt from good scans only",))


def _good(task: Task) -> int:
    return sum(task.labels[scan.path] == "good" for scan in task.training)
