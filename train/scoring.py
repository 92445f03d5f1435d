"""Probabilities of a checkpoint's network for prepared heightmaps, without fastai: what an exported network must reproduce."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nets.checkpoint import Checkpoint
from scans.folder import Scan
from train.data import PreparedScan

BATCH = 64


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """u8 [N, 1, H, W] → f32 [N, 3, H, W], (gray / 255 - mean) / std per channel."""
    channels = (1, 3, 1, 1)
    return (images.float() / 255 - torch.tensor(mean).view(channels)) / torch.tensor(std).view(channels)


def probabilities(checkpoint: Checkpoint, images: Tensor) -> NDArray[np.float64]:
    """u8 [N, 1, H, W] → f64 [N, classes], on the CPU; the network is left in `eval()` mode."""
    spec = checkpoint.heightmap
    network = checkpoint.model.eval()
    with torch.inference_mode():
        parts = [network(normalised(part, spec.mean, spec.std)).softmax(1) for part in torch.split(images, BATCH)]
    return torch.cat(parts).double().numpy()


def heightmaps(scans: Sequence[Scan], prepared: PreparedScan) -> Tensor:
    """u8 [N, 1, H, W], the prepared scans."""
    images: list[Any] = [prepared(scan.path).as_subclass(torch.Tensor) for scan in scans]
    return torch.stack(images)
