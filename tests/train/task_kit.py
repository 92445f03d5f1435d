"""A task whose scans are dealt into training, validation and held out, in whole groups."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scans.folder import find_scans
from scans.split import split_by_group
from train.learner import Task
from train.typology import typology_task


def task_of(folder: Path, *, held_out: float = 0.25, validation: float = 0.3) -> Task:
    """The fractions are of all scans, and of those that are then left."""
    found = find_scans(folder)
    rest, judging = split_by_group(found.scans, held_out=held_out, seed=1)
    training, choosing = split_by_group(rest, held_out=validation, seed=1)
    return replace(typology_task(found, rest, judging, None), training=training, validation=choosing)
