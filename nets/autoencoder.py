"""Draws a good weld again from a few features; what it cannot draw was not good."""

from __future__ import annotations

from collections.abc import Mapping
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
ERROR_MAP, GAP_MAP = "error_map", "gap_map"
"""Constants of a checkpoint with the local rule: what `cell_errors` and `window_errors` of good welds reach, f32 [1, 1, H / 4, W / 4]."""
EVERY_PIXEL = "every_pixel"
"""Constant of a checkpoint trained as in the sources, f32 [1] = 1: pixels without data count as gray 0."""
CELL, WINDOW = 4, 8
"""Height and width in pixels of the places whose errors are compared with what is usual there; windows lie on every cell, too."""
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


class DrawingError(nn.Module):
    """How badly a heightmap was drawn, by the constants that training left: local, over every pixel, or over the pixels with data."""

    error_map: Tensor | None
    gap_map: Tensor | None

    def __init__(self, constants: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name in (ERROR_MAP, GAP_MAP):
            self.register_buffer(name, constants.get(name))
        self.every_pixel = EVERY_PIXEL in constants

    def forward(self, heightmap: Tensor, drawn: Tensor) -> Tensor:
        """u8 and f32 (gray / 255), both [N, 1, H, W] → f32 [N, 1]."""
        if self.error_map is not None and self.gap_map is not None:
            return local_error(heightmap, drawn, self.error_map, self.gap_map)
        return plain_error(heightmap, drawn) if self.every_pixel else reconstruction_error(heightmap, drawn)


def plain_error(heightmap: Tensor, drawn: Tensor) -> Tensor:
    """Mean squared difference over every pixel, as in the sources: u8 and f32 (gray / 255), both [N, 1, H, W] → f32 [N, 1]."""
    difference = drawn - heightmap.float() / 255.0
    return (difference * difference).mean(dim=(2, 3))


def reconstruction_error(heightmap: Tensor, drawn: Tensor) -> Tensor:
    """Mean squared difference over the pixels with data: u8 and f32 (gray / 255), both [N, 1, H, W] → f32 [N, 1] in (gray / 255)²."""
    squares, valid = _squares(heightmap, drawn)
    return (squares.mean(dim=(2, 3)) + _LEAST) / (valid.mean(dim=(2, 3)) + _LEAST)


def local_error(heightmap: Tensor, drawn: Tensor, error_map: Tensor, gap_map: Tensor) -> Tensor:
    """The greater of `shape_error` and `gap_error`, each as a multiple of what its map says is usual: → f32 [N, 1]."""
    return torch.maximum(shape_error(heightmap, drawn, error_map), gap_error(heightmap, drawn, gap_map))


def shape_error(heightmap: Tensor, drawn: Tensor, error_map: Tensor) -> Tensor:
    """Root mean square of the cells' errors, each divided by the map's: heights that are wrong somewhere, f32 [N, 1]."""
    ratio = cell_errors(heightmap, drawn) / error_map
    return (ratio * ratio).mean(dim=(2, 3)).sqrt()


def gap_error(heightmap: Tensor, drawn: Tensor, gap_map: Tensor) -> Tensor:
    """The greatest of the windows' errors, each divided by the map's: data that is missing, or there, against the drawing, f32 [N, 1]."""
    return (window_errors(heightmap, drawn) / gap_map).amax(dim=(2, 3))


def cell_errors(heightmap: Tensor, drawn: Tensor) -> Tensor:
    """Mean over each cell of the squared difference, 0 where there is no data: → f32 [N, 1, H / 4, W / 4] in (gray / 255)²."""
    squares, _ = _squares(heightmap, drawn)
    return avg_pool2d(squares, CELL)


def window_errors(heightmap: Tensor, drawn: Tensor) -> Tensor:
    """Mean over each window of the squared difference, no data counting as gray 0: → f32 [N, 1, H / 4, W / 4] in (gray / 255)²."""
    difference = drawn - heightmap.float() / 255.0
    return avg_pool2d(difference * difference, WINDOW, CELL, padding=(WINDOW - CELL) // 2)


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
