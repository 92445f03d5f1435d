"""What trainings of every kind of network begin and end with: scans the box takes, and the scores of those that judge."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

import torch
from torch import Tensor, nn

from edge.errors import DatasetError
from nets.checkpoint import Checkpoint
from scans.folder import Label, Scan
from train.data import PreparedScan, usable
from train.fast import Learner
from train.learner import Fitted, Task
from train.scoring import heightmaps, probabilities
from train.typology import CLASSES


@dataclass(frozen=True, kw_only=True)
class Sides:
    """A task's scans less those that the box refuses, and the transform that prepared them all."""

    prepared: PreparedScan
    training: tuple[Scan, ...]
    validation: tuple[Scan, ...]
    held_out: tuple[Scan, ...]
    refused: int


def usable_sides(task: Task) -> Sides:
    """Read and prepare every scan once. Raises DatasetError for scans that cannot be used, and for classes other than bad and good."""
    if task.classes != CLASSES:
        raise DatasetError("this kind of network tells good from bad", seen=task.classes, remedy=f"Give the classes {CLASSES}")
    prepared = PreparedScan(task.spec, task.scale)
    training, refused = usable(task.training, prepared)
    validation, refused_there = usable(task.validation, prepared)
    held_out, refused_too = usable(task.held_out, prepared)
    return Sides(
        prepared=prepared, training=training, validation=validation, held_out=held_out, refused=refused + refused_there + refused_too
    )


def of_label(scans: tuple[Scan, ...], label: Label) -> tuple[Scan, ...]:
    """Those of one label."""
    return tuple(scan for scan in scans if scan.label == label)


def require(scans: tuple[Scan, ...], label: Label, where: str, *, least: int = 1) -> None:
    """Raises DatasetError when fewer than `least` of `scans` have the label."""
    if (found := len(of_label(scans, label))) < least:
        raise DatasetError(
            f"too few {label} scans among the {where} scans",
            seen=f"{found} of {len(scans)}",
            remedy=f"Give at least {least}, in groups of their own",
        )


def finished(
    task: Task,
    sides: Sides,
    learner: Learner,
    network: nn.Module,
    *,
    architecture: str,
    provenance: dict[str, str],
    constants: dict[str, Tensor],
    notes: tuple[str, ...] = (),
) -> Fitted:
    """The trained network as a checkpoint, and what that checkpoint says about the held-out and the validation scans."""
    counts = {f"{name}_scans": str(len(getattr(sides, name))) for name in ("training", "held_out")}
    versions = {name: version(name) for name in ("cordon", "torch", "fastai")}
    checkpoint = Checkpoint(
        architecture=architecture,
        classes=task.classes,
        heightmap=task.spec,
        model=plain(network),
        provenance={**provenance, **counts, **versions},
        constants=constants,
    )
    images = heightmaps(sides.held_out, sides.prepared)
    return Fitted(
        learner=learner,
        checkpoint=checkpoint,
        held_out=sides.held_out,
        images=images,
        probabilities=probabilities(checkpoint, images),
        refused=sides.refused,
        validation=sides.validation,
        validation_probabilities=probabilities(checkpoint, heightmaps(sides.validation, sides.prepared)),
        notes=notes,
    )


def plain(network: nn.Module) -> nn.Module:
    """On the CPU, in PyTorch's usual memory order, for scoring."""
    return network.cpu().to(memory_format=torch.contiguous_format).eval()
