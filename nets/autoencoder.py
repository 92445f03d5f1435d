"""Draws a good weld again from a few features; what it cannot draw was not good."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from nets.fastai_library import decoder_stage

STRIDE = 32
"""Height and width must be multiples of it."""
ERROR_SCALE = "error_scale"
"""Constant: the error f32 [1] whose badness is 0.5."""
ERROR_MAP = "error_map"
"""Constant of a trained checkpoint: what local error is usual at each place of a good weld, f32 [1, 1, H / CELL, W / CELL]."""
CELL = 4
"""Pixels between two places at which the local error is taken, in both directions."""
WINDOW = 8
"""Height and width in pixels over which one local error is averaged."""
POWER = 4.0
"""Of the power mean over the places: 1 would be the mean, infinity the greatest."""
_LEAST = 1e-6
"""Part of the pixels that counts as drawn wholly wrong, so that a heightmap without any data is bad and not a division by zero."""
Body = Literal["resnet18", "small"]
_WIDTHS = (512, 256, 128, 64, 32, 16)
_SMALL_WIDTHS = (96, 64, 48, 32, 16, 16)


class Autoencoder(nn.Module):
    """An encoder that halves five times, and five pixel-shuffle stages as the decoder; H and W multiples of 32, 128 x 128 in the sources.

    The body `resnet18` gives 512 features per 32 x 32 pixels, `small` (five stride-2 convolutions) 96.
    """

    def __init__(self, *, body: Body = "resnet18") -> None:
        super().__init__()
        widths = _SMALL_WIDTHS if body == "small" else _WIDTHS
        self.encoder = _small_encoder() if body == "small" else _resnet_encoder()
        stages = [decoder_stage(inputs, outputs) for inputs, outputs in pairwise(widths)]
        self.decoder = nn.Sequential(*stages, nn.Conv2d(widths[-1], 1, 1), nn.Sigmoid())

    def encode(self, image: Tensor) -> Tensor:
        """f32 [N, 3, H, W], normalised → f32 [N, F, H / 32, W / 32]."""
        code: Tensor = self.encoder(image)
        return code

    def decode(self, code: Tensor) -> Tensor:
        """What `encode` gives → heightmap f32 [N, 1, H, W], gray / 255."""
        drawn: Tensor = self.decoder(code)
        return drawn

    def forward(self, image: Tensor) -> Tensor:
        """f32 [N, 3, H, W], normalised → the heightmap drawn again, f32 [N, 1, H, W], gray / 255."""
        return self.decode(self.encode(image))


def drawing_error(heightmap: Tensor, drawn: Tensor, error_map: Tensor | None) -> Tensor:
    """`local_error` where an error map is known, else `reconstruction_error`: f32 [N, 1]."""
    return reconstruction_error(heightmap, drawn) if error_map is None else local_error(heightmap, drawn, error_map)


def reconstruction_error(heightmap: Tensor, drawn: Tensor) -> Tensor:
    """Mean squared difference over the pixels with data: u8 and f32 (gray / 255), both [N, 1, H, W] → f32 [N, 1] in (gray / 255)²."""
    squares, valid = _squares(heightmap, drawn)
    return (squares.mean(dim=(2, 3)) + _LEAST) / (valid.mean(dim=(2, 3)) + _LEAST)


def local_error(heightmap: Tensor, drawn: Tensor, error_map: Tensor) -> Tensor:
    """Power mean over the places of the smoothed error, each divided by what is usual there: shapes as above and ERROR_MAP → f32 [N, 1].

    A defect is small: in the mean over the whole image the usual error of every edge hides it.
    """
    ratio = smoothed_error(heightmap, drawn) / error_map
    return (ratio**POWER).mean(dim=(2, 3)) ** (1.0 / POWER)


def smoothed_error(heightmap: Tensor, drawn: Tensor) -> Tensor:
    """Mean squared difference over the pixels with data of each window: as above → f32 [N, 1, H / CELL, W / CELL] in (gray / 255)²."""
    squares, _ = _squares(heightmap, drawn)
    return avg_pool2d(squares, WINDOW, CELL, padding=(WINDOW - CELL) // 2)


def _squares(heightmap: Tensor, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Squared difference per pixel, 0 where there is no data; and 1 where there is."""
    gray = heightmap.float()
    valid = torch.sign(gray)
    difference = (drawn - gray / 255.0) * valid
    return difference * difference, valid


def _resnet_encoder() -> nn.Sequential:
    from torchvision.models import resnet18  # noqa: PLC0415 - costs a second that other networks need not pay

    return nn.Sequential(*list(resnet18(weights=None).children())[:-2])


def _small_encoder() -> nn.Sequential:
    widths = (3, 16, 32, 48, 64, 96)
    return nn.Sequential(*[layer for inputs, outputs in pairwise(widths) for layer in _halved(inputs, outputs)])


def _halved(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
