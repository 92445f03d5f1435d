"""From an experiment's folder of scans to the task that every kind gets: checked files, one split, one size."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np

from edge.errors import DatasetError
from edge.inspector.heightmap.spec import HeightmapSpec, spec_to_json
from scans.checks import check_scans
from scans.folder import Label, Scan, ScanFolder, find_scans
from scans.split import split_by_group
from train.experiments.schema import Experiment
from train.learner import DEFAULT_SPEC, Task
from train.metrics import Scores
from train.typology import CLASSES


@dataclass(frozen=True, kw_only=True)
class Data:
    """One folder, read and checked."""

    found: ScanFolder
    fingerprint: str
    """SHA-256 over every file's name, label, group, defect and content, and the folder's spec and scale."""


class DataStore:
    """Every folder is read once, however many experiments use it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept: dict[tuple[str, str], Data] = {}

    def of(self, experiment: Experiment) -> Data:
        """The experiment's folder. Raises DatasetError for what is wrong with it."""
        place = experiment.data, experiment.table
        if place not in self._kept:
            folder = self.root / experiment.data  # an absolute path stays itself
            found = find_scans(folder, table=folder / experiment.table if experiment.table else None)
            self._kept[place] = Data(found=found, fingerprint=_fingerprint(found, check_scans(found)))
        return self._kept[place]


def task_of(experiment: Experiment, data: Data) -> Task:
    """Training, validation and held-out scans in whole groups. Raises DatasetError when a part would lack a label."""
    part, found = experiment.split, data.found
    rest, held_out = split_by_group(found.scans, held_out=part.held_out, seed=part.seed)
    training, validation = split_by_group(rest, held_out=part.validation / (1 - part.held_out), seed=part.seed)
    return Task(
        training=training,
        validation=validation,
        held_out=held_out,
        labels={scan.path: scan.label for scan in found.scans},
        classes=CLASSES,
        spec=spec_of(experiment, found.spec or DEFAULT_SPEC),
        scale=found.scale,
    )


def spec_of(experiment: Experiment, spec: HeightmapSpec) -> HeightmapSpec:
    """The folder's spec at the experiment's last size. Raises ConfigError."""
    if experiment.last_size is None:
        return spec
    height, width = experiment.last_size
    return msgspec.structs.replace(spec, height=height, width=width)


def save_scores(path: Path, root: Path, parts: dict[str, tuple[tuple[Scan, ...], Scores]]) -> None:
    """One line per scan: file, label, defect, group, part, badness; the last as the shortest text that reads back equal."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "label", "defect", "group", "part", "badness"])
        for part, (scans, badness) in parts.items():
            for scan, value in zip(scans, badness, strict=True):
                writer.writerow([scan.path.relative_to(root).as_posix(), scan.label, scan.defect, scan.group, part, repr(float(value))])


def read_scores(path: Path, root: Path, part: str) -> tuple[tuple[Scan, ...], Scores]:
    """The scans of one part and their badness, f64 [scans], in the file's order. Raises DatasetError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["part"] == part]
        scans = tuple(Scan(root / row["file"], _label(row["label"]), row["group"], row["defect"]) for row in rows)
        return scans, np.array([float(row["badness"]) for row in rows])
    except (OSError, KeyError, ValueError) as exc:
        raise DatasetError(f"cannot read the scores {path}", seen=exc, remedy="Run that experiment again") from exc


def _label(word: str) -> Label:
    if word not in CLASSES:
        raise ValueError(word)
    return "good" if word == "good" else "bad"


def _fingerprint(found: ScanFolder, digests: dict[Path, str]) -> str:
    spec = "" if found.spec is None else spec_to_json(found.spec).decode()
    lines = [f"{s.path.relative_to(found.root).as_posix()}\t{s.label}\t{s.group}\t{s.defect}\t{digests[s.path]}" for s in found.scans]
    return sha256("\n".join([spec, repr(found.scale), *lines]).encode()).hexdigest()
