"""Scores of a checkpoint's network for prepared heightmaps, without fastai: what an exported network must reproduce."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge.errors import DatasetError
from nets.architectures import kind_of
from nets.autoencoder import ERROR_SCALE, DrawingError
from nets.checkpoint import Checkpoint
from nets.siamese import REFERENCE_IMAGES
from scans.folder import Scan
from train.data import PreparedScan

BATCH = 64
Score = Callable[[Tensor], Tensor]
"""u8 [N, 1, H, W] → f32 [N, classes]."""


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """u8 [N, 1, H, W] → f32 [N, 3, H, W], (gray / 255 - mean) / std per channel."""
    channels = (1, 3, 1, 1)
    return (images.float() / 255 - torch.tensor(mean).view(channels)) / torch.tensor(std).view(channels)


def probabilities(checkpoint: Checkpoint, images: Tensor) -> NDArray[np.float64]:
    """u8 [N, 1, H, W] → f64 [N, classes], on the CPU; the network is left in `eval()` mode.

    A siamese network's are badness against its reference scans and the rest, an autoencoder's error / (error + scale) and the rest,
    as in the graph that the box runs. Raises DatasetError for a checkpoint of such a kind without its constants.
    """
    if not len(images):
        return np.zeros((0, len(checkpoint.classes)))
    with torch.inference_mode():
        score = _score(checkpoint)
        return torch.cat([score(part) for part in torch.split(images, BATCH)]).double().numpy()


def heightmaps(scans: Sequence[Scan], prepared: PreparedScan) -> Tensor:
    """u8 [N, 1, H, W], the prepared scans."""
    images: list[Any] = [prepared(scan.path).as_subclass(torch.Tensor) for scan in scans]
    return torch.stack(images) if images else torch.zeros((0, 1, prepared.spec.height, prepared.spec.width), dtype=torch.uint8)


def _score(checkpoint: Checkpoint) -> Score:
    network: Any = checkpoint.model.eval()
    prepare = _preparation(checkpoint)
    match kind_of(checkpoint.architecture):
        case "siamese":
            sides = network.right(network.embed(prepare(_constant(checkpoint, REFERENCE_IMAGES))))[None]
            return lambda images: _bad_and_good(network.badness(network.embed(prepare(images)), sides))
        case "autoencoder":
            scale, error = _constant(checkpoint, ERROR_SCALE), DrawingError(checkpoint.constants)
            return lambda images: _against(error(images, network(prepare(images))), scale)
    return lambda images: network(prepare(images)).softmax(1)


def _preparation(checkpoint: Checkpoint) -> Score:
    spec = checkpoint.heightmap
    return lambda images: normalised(images, spec.mean, spec.std)


def _against(error: Tensor, scale: Tensor) -> Tensor:
    return _bad_and_good(error / (error + scale))


def _bad_and_good(badness: Tensor) -> Tensor:
    return torch.cat((badness, 1.0 - badness), dim=1)


def _constant(checkpoint: Checkpoint, name: str) -> Tensor:
    if name not in checkpoint.constants:
        raise DatasetError(
            f"this {checkpoint.architecture} has no {name.replace('_', ' ')}",
            seen=sorted(checkpoint.constants),
            remedy="Train it again with `cordon train run`, which leaves them in the checkpoint",
        )
    return checkpoint.constants[name]
