"""Changes that leave a weld's label alone, made on whole batches of heightmaps; no data (0) stays no data."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from train.amounts import Augmentation

DARKEST = 1.0 / 255.0
"""The smallest gray a measured height may have; 0 says that nothing was measured."""


def augment(images: Tensor, amounts: Augmentation) -> Tensor:
    """Each image of f32 [N, 1, H, W] in 0..1, changed on its own; the result has the same shape, and 0 where no data was moved to."""
    draw = _Draw(images)
    moved = _move(_flip(images, amounts, draw), amounts, draw)
    return _drop(_relight(moved, amounts, draw), amounts, draw)


class _Draw:
    """Random numbers from the global generator, one per image, on the images' device."""

    def __init__(self, images: Tensor) -> None:
        self.count = len(images)
        self.device = images.device

    def coin(self) -> Tensor:
        return torch.rand(self.count, device=self.device) < 0.5

    def within(self, amount: float) -> Tensor:
        return (torch.rand(self.count, device=self.device) * 2 - 1) * amount

    def plane(self, amount: float) -> Tensor:
        return self.within(amount).view(-1, 1, 1, 1)


def _flip(images: Tensor, amounts: Augmentation, draw: _Draw) -> Tensor:
    for wanted, axis in ((amounts.flip_rows, 2), (amounts.flip_columns, 3)):
        chosen = draw.coin().view(-1, 1, 1, 1)
        images = torch.where(chosen, images.flip(axis), images) if wanted else images
    return images


def _move(images: Tensor, amounts: Augmentation, draw: _Draw) -> Tensor:
    """Shift, turn and stretch by nearest pixel: interpolation would invent heights at the edge of the data."""
    angle = draw.within(math.radians(amounts.rotation_deg))
    across, along = 1 + draw.within(amounts.stretch), 1 + draw.within(amounts.stretch)
    # The grid's units are half widths and half heights, so that a turn must be told the image's proportions.
    ratio = images.shape[2] / images.shape[3]
    first = torch.stack((angle.cos() * across, -angle.sin() * across * ratio, 2 * draw.within(amounts.shift)), dim=1)
    second = torch.stack((angle.sin() * along / ratio, angle.cos() * along, 2 * draw.within(amounts.shift)), dim=1)
    grid = functional.affine_grid(torch.stack((first, second), dim=1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="nearest", padding_mode="zeros", align_corners=False)


def _relight(images: Tensor, amounts: Augmentation, draw: _Draw) -> Tensor:
    """Other gain, offset, slope and noise of the heights; only measured pixels change."""
    rows = torch.linspace(-0.5, 0.5, images.shape[2], device=draw.device).view(1, 1, -1, 1)
    columns = torch.linspace(-0.5, 0.5, images.shape[3], device=draw.device).view(1, 1, 1, -1)
    slope = draw.plane(amounts.tilt) * rows + draw.plane(amounts.tilt) * columns
    changed = (images - 0.5) * (1 + draw.plane(amounts.gain)) + 0.5 + draw.plane(amounts.offset) + slope
    if amounts.noise:
        changed = changed + torch.randn_like(images) * amounts.noise
    return torch.where(images > 0, changed.clamp(DARKEST, 1.0), 0.0)


def _drop(images: Tensor, amounts: Augmentation, draw: _Draw) -> Tensor:
    if not amounts.dropout:
        return images
    share = draw.plane(amounts.dropout).abs()
    return torch.where(torch.rand_like(images) < share, 0.0, images)
