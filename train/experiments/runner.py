"""Runs experiments one after the other into OUT: everything is checked first, and what is finished is not done again."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import msgspec

from edge.errors import ConfigError, DatasetError
from nets.checkpoint import Checkpoint, save_checkpoint
from scans.folder import ScanFolder
from train.experiments.calibration import calibrated
from train.experiments.classifier import stages_of
from train.experiments.kinds import options_of, run_of
from train.experiments.networks import check_network, check_size, check_weights
from train.experiments.records import EXPERIMENT, NETWORK, RECORD, SCORES, Record, key_of, load_record, save_record, write_table
from train.experiments.rows import row_of
from train.experiments.schema import Experiment
from train.experiments.tasks import DataStore, save_scores, task_of
from train.experiments.writing import to_toml
from train.learner import Task
from train.memory import give_memory_back


@dataclass(frozen=True, kw_only=True)
class Run:
    """One experiment, checked and ready."""

    experiment: Experiment
    task: Task
    found: ScanFolder
    fingerprint: str


def plan(experiments: Sequence[Experiment], data: Path, out: Path) -> list[Run]:
    """Read and check everything that the experiments name. Raises ConfigError or DatasetError before anything is trained."""
    store = DataStore(data)
    runs = [_planned(_like_members(experiment, experiments, out), store) for experiment in experiments]
    for network in {(run.experiment.architecture, run.experiment.pretrained): run.experiment for run in runs}.values():
        check_weights(network)
    return runs


def run_all(runs: Sequence[Run], out: Path, *, resume: bool) -> list[Record]:
    """Do what is not finished yet; OUT/results.csv is right after every run. Raises CordonError.

    Without `resume`, runs that OUT already has are refused; with it, finished ones are kept and a killed one starts again.
    """
    known = [run.experiment.name for run in runs if (out / run.experiment.name).exists()]
    if known and not resume:
        raise DatasetError(f"{out} already has these runs", seen=", ".join(known[:5]), remedy="Add --resume, or choose another --out")
    clock = _Clock(runs)
    for number, run in enumerate(runs, start=1):
        folder = out / run.experiment.name
        key = key_of(run.experiment, run.fingerprint, *_scores_of_members(run.experiment, out))
        record = load_record(folder)
        if record is not None and record.key == key:
            clock.skip(number, run)
            continue
        clock.begin(number, run)
        (folder / RECORD).unlink(missing_ok=True)
        write_table(out)
        clock.end(run, _run(run, folder, key))
        give_memory_back()
        write_table(out)
    return write_table(out)


def _run(run: Run, folder: Path, key: str) -> Record:
    """Train, score, and write the folder; the record comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    outcome = calibrated(run.experiment, run_of(run.experiment.kind)(run.experiment, run.task, folder))
    row = row_of(run.experiment, outcome, seconds=time.monotonic() - started)
    parts = {"validation": (outcome.validation, outcome.validation_badness), "held_out": (outcome.held_out, outcome.badness)}
    save_scores(folder / SCORES, run.found.root, parts)
    (folder / EXPERIMENT).write_text(to_toml(run.experiment), encoding="utf-8")
    if outcome.checkpoint is not None:
        save_checkpoint(_with_split(outcome.checkpoint, run.experiment), folder / NETWORK)
    shutil.rmtree(folder / "models", ignore_errors=True)  # fastai's, of the best epoch
    return save_record(folder, key, run.experiment, row, {name: version(name) for name in ("cordon", "torch", "fastai")})


def _with_split(checkpoint: Checkpoint, experiment: Experiment) -> Checkpoint:
    """The export deals the scans again by what the network says of its split: it must prove on the same held-out ones."""
    split = {"held_out": str(experiment.split.held_out), "seed": str(experiment.split.seed), "training_seed": str(experiment.seed)}
    return replace(checkpoint, provenance={**checkpoint.provenance, **split})


def _planned(experiment: Experiment, store: DataStore) -> Run:
    data = store.of(experiment)
    task = task_of(experiment, data)
    options = options_of(experiment)
    if options is not None:
        check_size(experiment.name, options.architecture, (task.spec.height, task.spec.width))
    if experiment.kind in ("classifier", "search"):
        for architecture in architectures_of(experiment):
            named = msgspec.structs.replace(experiment, architecture=architecture)
            check_network(named, [stage.size for stage in stages_of(experiment, task.spec)])
    return Run(experiment=experiment, task=task, found=data.found, fingerprint=data.fingerprint)


def architectures_of(experiment: Experiment) -> list[str]:
    """The experiment's own, or those a search may choose."""
    return [str(name) for name in experiment.search.space.get("architecture", [experiment.architecture])]


def _like_members(experiment: Experiment, experiments: Sequence[Experiment], out: Path) -> Experiment:
    """A committee with its members' folder and split, which must be one. Raises ConfigError."""
    if experiment.kind != "committee":
        return experiment
    known = {other.name: other for other in experiments if other.kind != "committee"}
    members = []
    for name in experiment.members:
        record = None if name in known else load_record(out / name)
        if name not in known and record is None:
            raise ConfigError(
                f"{experiment.name}: this member is neither planned nor finished in {out}",
                seen=name,
                remedy=f"Add its experiment; planned are {', '.join(known) or 'none'}",
            )
        members.append(known[name] if record is None else record.experiment)
    judged = {(member.data, member.table, member.split) for member in members}
    if len(judged) > 1:
        seen = "; ".join(f"{member.name}: {member.data}, {member.split}" for member in members)
        raise ConfigError(
            f"{experiment.name}: its members are not judged on the same scans", seen=seen, remedy="Give all one data and split"
        )
    data, table, split = judged.pop()
    return msgspec.structs.replace(experiment, data=data, table=table, split=split)


def _scores_of_members(experiment: Experiment, out: Path) -> list[str]:
    """Digests of what a committee reads. Raises DatasetError when a member has no scores."""
    digests = []
    for name in experiment.members:
        record = load_record(out / name)
        if record is None:
            raise DatasetError(f"{experiment.name}: its member {name} is not finished", seen=out / name, remedy="Run that experiment first")
        digests.append(record.files[SCORES])
    return [sha256(" ".join(digests).encode()).hexdigest()] if digests else []


class _Clock:
    """Says which run of how many, how long so far, and about how long to go, by epochs."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.count = len(runs)
        self.left = sum(_epochs(run) for run in runs)
        self.done = 0
        self.started = time.monotonic()

    def skip(self, number: int, run: Run) -> None:
        self.left -= _epochs(run)
        print(f"run {number} of {self.count}: {run.experiment.name} is finished, skipped", file=sys.stderr, flush=True)

    def begin(self, number: int, run: Run) -> None:
        elapsed = time.monotonic() - self.started
        rest = f", about {_minutes(elapsed * self.left / self.done)} to go" if self.done else ""
        text = f"run {number} of {self.count}: {run.experiment.name} ({_minutes(elapsed)} so far{rest})"
        print(text, file=sys.stderr, flush=True)

    def end(self, run: Run, record: Record) -> None:
        self.done += _epochs(run)
        self.left -= _epochs(run)
        row = record.row
        figures = f"error {row['error']:.2%}, {row['escapes']} escapes, {row['overkills']} overkills, AUROC {row['auroc']:.4f}"
        print(f"  {run.experiment.name}: {figures} in {_minutes(float(row['seconds']))}", file=sys.stderr, flush=True)


def _epochs(run: Run) -> int:
    if run.experiment.kind == "committee":
        return 0
    if "epochs" in run.experiment.options:
        return int(run.experiment.options["epochs"])
    trials = run.experiment.search.trials if run.experiment.kind == "search" else 0
    return run.experiment.epochs_in_all + trials * (run.experiment.search.epochs or run.experiment.epochs_in_all)


def _minutes(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"
