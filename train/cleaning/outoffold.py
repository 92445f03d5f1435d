"""Several cross-validations with other splits: what networks that never saw a scan's group say about it, kept fold by fold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from edge.errors import DatasetError
from edge.inspector.heightmap.spec import HeightmapSpec, spec_to_json
from scans.folder import Scan, ScanFolder
from scans.split import folds_by_group
from train.learner import fit
from train.metrics import Scores
from train.options import TrainingOptions
from train.report import save_json
from train.typology import badness_of, typology_task


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """`badness` f64 [split seeds, scans]: each scan judged once per split seed."""

    scans: tuple[Scan, ...]
    seeds: tuple[int, ...]
    badness: Scores
    trained: int
    """Networks trained now; the others' results were kept from before."""


def judge_out_of_fold(
    found: ScanFolder,
    scans: Sequence[Scan],
    content: Sequence[str],
    options: TrainingOptions,
    *,
    spec: HeightmapSpec,
    splits: int,
    folds: int,
    kept: Path,
) -> OutOfFold:
    """Train splits x folds networks on `scans`, whole groups held out. `content` are the scans' hashes.

    Each fold's result is written to `kept`; one of equal scans, labels, groups and options is not trained again. Raises DatasetError.
    """
    if splits < 1 or folds < 2:
        raise DatasetError("at least 1 split and 2 folds are needed", seen=f"{splits} x {folds}", remedy="3 splits of 4 folds are usual")
    seeds = tuple(options.seed + index for index in range(splits))
    dealt = [(seed, fold, *split) for seed in seeds for fold, split in enumerate(folds_by_group(scans, folds=folds, seed=seed))]
    place = {scan.path: index for index, scan in enumerate(scans)}
    badness, trained = np.full((splits, len(scans)), np.nan), 0
    facts = _facts(found, scans, content, spec)
    for seed, fold, training, test in tqdm(dealt, desc="out-of-fold", unit="network", disable=None):
        chosen = replace(options, seed=1000 * seed + fold)
        wanted = _key(facts, chosen, folds)
        scores = _read(kept / f"{wanted}.json", len(test))
        if scores is None:
            fitted = fit(typology_task(found, training, test, spec), chosen, watch=False)
            scores, trained = [float(value) for value in badness_of(fitted)], trained + 1
            save_json({"split_seed": seed, "fold": fold, "badness": scores}, kept / f"{wanted}.json")
        badness[seeds.index(seed), [place[scan.path] for scan in test]] = scores
    return OutOfFold(scans=tuple(scans), seeds=seeds, badness=badness, trained=trained)


def _facts(found: ScanFolder, scans: Sequence[Scan], content: Sequence[str], spec: HeightmapSpec) -> str:
    names = [scan.path.relative_to(found.root).as_posix() for scan in scans]
    rows = [[name, scan.label, scan.group, digest] for name, scan, digest in zip(names, scans, content, strict=True)]
    scale = found.scale
    return json.dumps([rows, spec_to_json(spec).decode(), scale.pitch_mm, scale.z_scale_mm, scale.z_offset_mm, repr(scale.no_data)])


def _key(facts: str, options: TrainingOptions, folds: int) -> str:
    """Everything a fold's result depends on but the installed packages, as a name."""
    text = json.dumps([facts, folds, asdict(options)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(path: Path, count: int) -> list[float] | None:
    """What an earlier run kept; a file that does not fit is made again."""
    try:
        scores = json.loads(path.read_bytes())["badness"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    fits = isinstance(scores, list) and len(scores) == count and all(isinstance(score, float) for score in scores)
    return scores if fits else None
