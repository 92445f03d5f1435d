"""The kind "committee": all combinations of finished runs by every rule the box has, the validation scans choosing one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scans.folder import Scan
from train.committee import Candidate, Judged, study
from train.experiments.outcome import Outcome
from train.experiments.records import SCORES
from train.experiments.rows import threshold_of
from train.experiments.schema import Experiment
from train.experiments.tasks import read_scores
from train.learner import Task
from train.metrics import Scores
from train.report import save_json
from train.typology import truth_of

STUDY = "committees.json"


def run_committee(experiment: Experiment, task: Task, folder: Path) -> Outcome:
    """Read the members' scores beside `folder`, try every combination, and end in the one with the fewest errors on validation.

    `folder` gets committees.json with all of them. Raises DatasetError when members were not judged on the same scans.
    """
    root = _root(task, folder.parent / experiment.members[0] / SCORES)
    candidates = [_candidate(name, folder.parent / name / SCORES, root) for name in experiment.members]
    tried = study(candidates, choose=lambda bad, badness: threshold_of(experiment, bad, badness))
    save_json(tried.as_dict(), folder / STUDY)
    held_out, _ = read_scores(folder.parent / experiment.members[0] / SCORES, root, "held_out")
    validation, _ = read_scores(folder.parent / experiment.members[0] / SCORES, root, "validation")
    best = "not worse" if tried.not_worse else "worse"
    hindsight = "not worse" if tried.not_worse_in_hindsight else "worse"
    return Outcome(
        held_out=held_out,
        badness=tried.chosen.badness,
        validation=validation,
        validation_badness=tried.chosen.validation_badness,
        threshold=tried.chosen.held_out.threshold,
        notes=(
            f"{tried.chosen.name} of {len(tried.committees)} committees",
            f"{best} than {tried.best_member.name}, best on validation",
            f"{hindsight} than {tried.best_member_in_hindsight.name}, best in hindsight",
        ),
    )


def _candidate(name: str, path: Path, root: Path) -> Candidate:
    return Candidate(
        name=name,
        validation=_judged(*read_scores(path, root, "validation"), root),
        held_out=_judged(*read_scores(path, root, "held_out"), root),
    )


def _judged(scans: Sequence[Scan], badness: Scores, root: Path) -> Judged:
    files = tuple(scan.path.relative_to(root).as_posix() for scan in scans)
    return Judged(files=files, bad=truth_of(tuple(scans)), badness=badness)


def _root(task: Task, path: Path) -> Path:
    """The folder that the scores' file names are relative to."""
    scans, _ = read_scores(path, Path(), "held_out")
    return next(parent for parent in task.held_out[0].path.parents if parent / scans[0].path in task.labels)
