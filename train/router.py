"""The router: one network that names the typology of a frame that does not say it, learnt from a folder per typology."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.errors import DatasetError
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow
from nets.checkpoint import Checkpoint
from scans.checks import check_scans
from scans.folder import LABEL_FOLDERS, Scale, ScanFolder, find_scans
from scans.split import split_by_group
from train.fast import Learner
from train.learner import DEFAULT_SPEC, Fitted, Task, fit
from train.options import TrainingOptions


@dataclass(frozen=True, kw_only=True)
class RouterResult:
    """A router with its figures on the held-out scans."""

    learner: Learner
    checkpoint: Checkpoint
    errors: dict[str, int]
    """Held-out scans of each typology that were named another one."""
    held_out: dict[str, int]
    """Held-out scans of each typology."""
    unsure: int
    """Held-out scans whose best probability is under one half."""
    refused: int
    """Bad scans that the box refuses before any network."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {"held_out": self.held_out, "errors": self.errors, "unsure": self.unsure, "refused": self.refused}


def train_router(root: Path, options: TrainingOptions, *, spec: HeightmapSpec | None = None, watch: bool = True) -> RouterResult:
    """Train on ROOT/<typology>/{good,bad}: both labels of a typology are one class, named like its folder.

    Raises DatasetError for fewer than two typologies, and for what `find_scans` refuses in one of them.
    """
    folders = {path.name: find_scans(path) for path in typology_folders(root)}
    for found in folders.values():
        check_scans(found)
    splits = {name: split_by_group(found.scans, held_out=options.held_out, seed=options.seed) for name, found in folders.items()}
    chosen = spec or _common_spec(list(folders.values()))
    task = Task(
        training=tuple(scan for training, _ in splits.values() for scan in training),
        held_out=tuple(scan for _, held_out in splits.values() for scan in held_out),
        labels={scan.path: name for name, found in folders.items() for scan in found.scans},
        classes=tuple(folders),
        spec=chosen,
        scale=_common_scale(list(folders.values()), chosen),
    )
    return _result(fit(task, options, watch=watch), task)


def typology_folders(root: Path) -> list[Path]:
    """The folders below `root` that have label folders, sorted by name. Raises DatasetError when there are fewer than two."""
    inside = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    found = [path for path in inside if any(child.name.lower() in LABEL_FOLDERS for child in path.iterdir())]
    if len(found) < 2:
        raise DatasetError(
            f"{root} does not hold a folder per typology",
            seen=[path.name for path in found],
            remedy="Give a folder with at least two typologies, each with good/ and bad/ in it",
        )
    return found


def _common_spec(folders: list[ScanFolder]) -> HeightmapSpec:
    """The spec all typologies share; else each scan's own percentiles, because a fixed window would be some typology's only."""
    specs = {found.spec for found in folders}
    shared = specs.pop() if len(specs) == 1 else None
    return shared or DEFAULT_SPEC


def _common_scale(folders: list[ScanFolder], spec: HeightmapSpec) -> Scale:
    """The scale all typologies share; where they differ, only a window by percentile does not depend on it. Raises DatasetError."""
    scales = [found.scale for found in folders]
    independent = isinstance(spec.window, PercentileWindow) and spec.outliers is None and spec.plane is None
    if any(scale != scales[0] for scale in scales) and not independent:
        raise DatasetError(
            "the typologies' scan.toml differ, and the router's heightmap spec is in millimetres",
            seen=sorted({f"z_scale_mm {scale.z_scale_mm:g}" for scale in scales}),
            remedy="Give --spec with a percentile window",
        )
    return scales[0]


def _result(fitted: Fitted, task: Task) -> RouterResult:
    truth = [task.labels[scan.path] for scan in fitted.held_out]
    named = [task.classes[index] for index in fitted.probabilities.argmax(axis=1)]
    pairs = list(zip(truth, named, strict=True))
    return RouterResult(
        learner=fitted.learner,
        checkpoint=fitted.checkpoint,
        errors={name: sum(said != true for true, said in pairs if true == name) for name in task.classes},
        held_out={name: truth.count(name) for name in task.classes},
        unsure=int(np.count_nonzero(fitted.probabilities.max(axis=1) < 0.5)),
        refused=fitted.refused,
    )
