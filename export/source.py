"""Where a trained network comes from: a checkpoint, a fastai Learner that is trusted, or a PyTorch module in hand."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from nets.checkpoint import load_checkpoint
from scans.folder import LABEL_FOLDERS

STATISTICS_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Source:
    """A network with its meaning: f32 [N, 3, H, W] normalised → logits [N, classes]; `sha256` of the file it came from."""

    model: nn.Module
    architecture: str
    classes: tuple[str, ...]
    heightmap: HeightmapSpec
    sha256: str
    provenance: dict[str, str] = field(default_factory=dict)


def load_source(path: Path, *, heightmap: HeightmapSpec | None = None, trust_pickle: bool = False) -> Source:
    """A .safetensors checkpoint, or a .pkl Learner together with `heightmap` and `trust_pickle`. Raises ExportError."""
    if path.suffix == ".safetensors":
        return _from_checkpoint(path)
    if path.suffix == ".pkl":
        return _from_learner(path, heightmap, trusted=trust_pickle)
    raise ExportError("this kind of file is no trained network", seen=path.name, remedy="Give a .safetensors checkpoint or a Learner .pkl")


def source_from_module(
    model: nn.Module, *, classes: Sequence[str], heightmap: HeightmapSpec, architecture: str = "", provenance: dict[str, str] | None = None
) -> Source:
    """A module as it is in memory; `sha256` is that of its weights."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return Source(
        model=model.cpu().eval(),
        architecture=architecture or type(model).__name__,
        classes=_labels(classes),
        heightmap=heightmap,
        sha256=digest.hexdigest(),
        provenance=provenance or {},
    )


def _from_checkpoint(path: Path) -> Source:
    found = load_checkpoint(path)
    return Source(
        model=found.model,
        architecture=found.architecture,
        classes=_labels(found.classes),
        heightmap=found.heightmap,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        provenance=found.provenance,
    )


def _from_learner(path: Path, heightmap: HeightmapSpec | None, *, trusted: bool) -> Source:
    if not trusted:
        raise ExportError(
            f"{path} is a pickle: loading it executes whatever code it contains",
            seen="no --trust-pickle",
            remedy="Give --trust-pickle if you made the file yourself, or export a .safetensors checkpoint",
        )
    if heightmap is None:
        raise ExportError(
            f"{path} does not say how its heightmaps are made", remedy="Give heightmap = FILE in line.toml, or heightmap.json in the scans"
        )
    learner = _unpickled(path)
    _require_statistics(learner, heightmap, path)
    source = source_from_module(learner.model, classes=[str(name) for name in learner.dls.vocab], heightmap=heightmap)
    return Source(**{**vars(source), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()})


def _unpickled(path: Path) -> Any:
    from fastai.learner import load_learner  # noqa: PLC0415 - seconds that checkpoints need not pay

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fastai warns about pickles, which the user has just agreed to
            return load_learner(path, cpu=True)
    except Exception as exc:  # a pickle may raise anything
        raise ExportError(
            f"{path} cannot be loaded as a Learner", seen=repr(exc), remedy="Import the modules it was trained with, or save it again"
        ) from exc


def _require_statistics(learner: Any, spec: HeightmapSpec, path: Path) -> None:
    """The Learner's own normalisation is what the exported network will contain; a silent difference ruins every score."""
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    for transform in learner.dls.valid.after_batch.fs:
        if type(transform).__name__ == "Normalize":
            mean, std = _channels(transform.mean), _channels(transform.std)
    wanted = np.array([spec.mean, spec.std])
    if np.abs(wanted - np.array([mean, std])).max() > STATISTICS_TOLERANCE:
        raise ExportError(
            f"{path} normalises otherwise than the heightmap spec says",
            seen=f"mean {mean}, std {std}",
            remedy="Write the Learner's mean and std into the heightmap spec",
        )


def _channels(values: Any) -> tuple[float, float, float]:
    flat = torch.as_tensor(values).detach().cpu().reshape(-1).tolist()
    first, second, third = flat if len(flat) == 3 else (flat[0],) * 3
    return round(first, 6), round(second, 6), round(third, 6)


def _labels(classes: Sequence[str]) -> tuple[str, ...]:
    """Class names with the known names of good and bad made equal; any other name (a typology) stays."""
    return tuple(LABEL_FOLDERS.get(name.lower(), name) for name in classes)
