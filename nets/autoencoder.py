"""Draws a good weld again from 512 features; what it cannot draw was not good."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from nets.fastai_library import decoder_stage

STRIDE = 32
"""Height and width must be multiples of it."""


class Autoencoder(nn.Module):
    """ResNet18 body as the encoder, five pixel-shuffle stages as the decoder; H and W multiples of 32, 128 x 128 in the sources."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet18  # noqa: PLC0415 - costs a second that other networks need not pay

        self.encoder = nn.Sequential(*list(resnet18(weights=None).children())[:-2])
        widths = (512, 256, 128, 64, 32, 16)
        stages = [decoder_stage(inputs, outputs) for inputs, outputs in pairwise(widths)]
        self.decoder = nn.Sequential(*stages, nn.Conv2d(widths[-1], 1, 1), nn.Sigmoid())

    def encode(self, image: Tensor) -> Tensor:
        """f32 [N, 3, H, W], normalised → f32 [N, 512, H / 32, W / 32]."""
        code: Tensor = self.encoder(image)
        return code

    def decode(self, code: Tensor) -> Tensor:
        """What `encode` gives → heightmap f32 [N, 1, H, W], gray / 255."""
        drawn: Tensor = self.decoder(code)
        return drawn

    def forward(self, image: Tensor) -> Tensor:
        """f32 [N, 3, H, W], normalised → the heightmap drawn again, f32 [N, 1, H, W], gray / 255."""
        return self.decode(self.encode(image))
