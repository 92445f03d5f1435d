"""The kind "search": an Optuna study over an experiment's options, kept in a file; the best values become an experiment of their own."""

from __future__ import annotations

import csv
from dataclasses import replace
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from edge.errors import DatasetError
from train.experiments.classifier import run_classifier, without_why
from train.experiments.outcome import Outcome
from train.experiments.records import replace_file
from train.experiments.schema import CHOICES, LOGARITHMIC, Experiment, Search
from train.experiments.writing import to_toml
from train.fast import CancelFitException
from train.learner import Task

BEST, TRIALS = "best.toml", "trials.csv"


def run_search(experiment: Experiment, task: Task, folder: Path) -> Outcome:
    """Try `search.trials` sets of options, then train with the best ones for the full number of epochs.

    What a trial makes small is the log loss on the validation scans after its last epoch; the held-out scans take no part in it.
    `folder` gets the study's journal, trials.csv and best.toml. A killed search goes on after its last finished trial and ends like
    one that was not killed. Raises DatasetError when no trial was finished.
    """
    study = open_study(experiment, task, folder)
    while len(finished(study)) < experiment.search.trials:
        study.sampler = _sampler(experiment, len(finished(study)))
        study.optimize(lambda trial: _value(experiment, task, folder, trial), n_trials=1)
        if study.trials[-1].state is TrialState.FAIL:
            raise DatasetError(f"{experiment.name}: a trial has no loss", seen=study.trials[-1].params, remedy="Narrow search.space")
    _save_trials(study, folder)
    found = study.best_params
    best = msgspec.structs.replace(experiment, **found, kind="classifier", search=Search(), name=f"{experiment.name}-best")
    replace_file(folder / BEST, to_toml(best).encode())
    outcome = run_classifier(best, task, folder)
    pruned = sum(trial.state is TrialState.PRUNED for trial in study.trials)
    said = ", ".join(f"{key} {value if isinstance(value, str) else f'{value:.3g}'}" for key, value in found.items())
    return replace(outcome, notes=(*outcome.notes, f"best of {experiment.search.trials} trials ({pruned} pruned): {said}"))


def open_study(experiment: Experiment, task: Task, folder: Path) -> optuna.Study:
    """The study in `folder` for this very experiment and these scans, or a new one; a trial that was killed counts as failed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scans = "\n".join(str(scan.path) for scan in (*task.training, *task.validation))
    less = msgspec.structs.replace(without_why(experiment), search=msgspec.structs.replace(experiment.search, trials=1))
    name = sha256(msgspec.json.encode(less) + scans.encode()).hexdigest()[:16]
    study = optuna.create_study(
        study_name=name,
        storage=JournalStorage(JournalFileBackend(str(folder / "study.log"))),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=experiment.search.warm_up_trials, n_warmup_steps=1),
        load_if_exists=True,
    )
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that ran to their end or were pruned."""
    found: list[optuna.trial.FrozenTrial] = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return found


def suggested(search: Search, trial: optuna.Trial) -> dict[str, Any]:
    """One trial's options, drawn by its sampler."""
    drawn: dict[str, Any] = {}
    for key, values in search.space.items():
        if key in CHOICES:
            drawn[key] = trial.suggest_categorical(key, values)
        else:
            drawn[key] = trial.suggest_float(key, float(values[0]), float(values[1]), log=key in LOGARITHMIC)
    return drawn


def _sampler(experiment: Experiment, number: int) -> optuna.samplers.BaseSampler:
    """A seed per trial, so that a search that was interrupted draws what it would have drawn."""
    return optuna.samplers.TPESampler(n_startup_trials=experiment.search.warm_up_trials, seed=experiment.seed + number, constant_liar=False)


def _value(experiment: Experiment, task: Task, folder: Path, trial: optuna.Trial) -> float:
    drawn = suggested(experiment.search, trial)
    epochs = experiment.search.epochs or experiment.epochs
    title = f"{experiment.name} trial {trial.number + 1}"
    tried = msgspec.structs.replace(experiment, **drawn, kind="classifier", search=Search(), epochs=epochs, keep="last")
    losses: list[float] = []

    def watch(epoch: int, loss: float) -> None:
        losses.append(loss)
        trial.report(loss, epoch)
        if trial.should_prune():
            raise CancelFitException

    place = folder / "trials" / str(trial.number)
    place.mkdir(parents=True, exist_ok=True)
    run_classifier(tried, replace(task, held_out=()), place, watch=watch, title=title)
    if len(losses) < tried.epochs_in_all and experiment.early_stopping is None:
        raise optuna.TrialPruned
    return losses[-1]


def _save_trials(study: optuna.Study, folder: Path) -> None:
    names = list(dict.fromkeys(name for trial in study.trials for name in trial.params))
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", "log_loss", "epochs", *names])
    for trial in study.trials:
        values = [trial.params.get(name, "") for name in names]
        writer.writerow([trial.number, trial.state.name.lower(), trial.value, len(trial.intermediate_values), *values])
    replace_file(folder / TRIALS, text.getvalue().encode())
