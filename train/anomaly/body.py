"""Where an anomaly network's body comes from: fixed filters, a pretext task, published weights, a checkpoint, or chance."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from edge.errors import DatasetError
from nets.anomaly import ANOMALY
from nets.architectures import build
from nets.checkpoint import load_checkpoint
from nets.patches import ReliefBody, patch_body
from scans.folder import Scan
from train.anomaly.options import AnomalyOptions
from train.anomaly.pretext import taught
from train.data import PreparedScan
from train.learner import Task
from train.scoring import heightmaps, normalised

SEEN = 64
"""Scans whose statistics the batch norms of a random body take."""


def body_for(task: Task, good: Sequence[Scan], prepared: PreparedScan, options: AnomalyOptions) -> nn.Module:
    """A body with weights, in eval mode, from `good` scans only. Raises DatasetError or ExportError when they cannot be had."""
    name = ANOMALY[options.architecture][1]
    if name == "relief":
        return _fixed(task)
    if options.origin == "pretext":
        whole = taught(build(name, 2, size=(task.spec.height, task.spec.width)), good, prepared, options)
    elif options.checkpoint is not None:
        found = load_checkpoint(options.checkpoint)
        if found.architecture != name:
            raise DatasetError(f"{options.checkpoint} is no {name}", seen=found.architecture, remedy=f"Give a checkpoint of {name}")
        whole = found.model
    elif options.origin == "pretrained":
        whole = _published()
    else:
        whole = build(name, 2)
    body = patch_body(name, whole)
    if options.origin == "random":
        images = heightmaps(good[:SEEN], prepared)
        _see(body, normalised(images, task.spec.mean, task.spec.std))
    return body.eval()


def _fixed(task: Task) -> nn.Module:
    body = ReliefBody()
    body.expect(task.spec.mean, task.spec.std)
    return body.eval()


def _published() -> nn.Module:
    from torchvision import models  # noqa: PLC0415 - costs a second that other origins need not pay

    try:
        network: nn.Module = models.resnet18(weights=models.ResNet18_Weights.DEFAULT)
    except (OSError, RuntimeError) as exc:
        raise DatasetError(
            "the published weights of resnet18 cannot be had on this machine",
            seen=exc,
            remedy="Put the file that torchvision names into its cache, or use another origin",
        ) from exc
    return network


def _see(body: nn.Module, images: Tensor) -> None:
    """Batch norms take the statistics of the images, so that a random body neither dies out nor blows up."""
    norms = [module for module in body.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    body.train()
    with torch.no_grad():
        body(images)
