"""The network that `cordon train` makes by default: residual, small, and in widths that INT8 likes."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut; the first one and the shortcut may halve the image and widen it."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, stride=stride)
        self.second = _convolution(outputs, outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _convolution(inputs, outputs, kernel=1, stride=stride)
        self.relu = nn.ReLU()

    def forward(self, image: Tensor) -> Tensor:
        """f32 [N, inputs, H, W] → [N, outputs, H / stride, W / stride]."""
        changed = self.second(self.relu(self.first(image)))
        summed: Tensor = self.relu(changed + self.shortcut(image))
        return summed


class SmallResidualNetwork(nn.Module):
    """Five residual blocks of 16 to 96 channels; about 0.3 M weights and 58 M multiplications for 128 x 352.

    Average pooling sees how the seam lies as a whole, max pooling the one pore or lump in it; the head gets both, of the last two
    resolutions, because a pore is as small as one pixel of the last. Only convolution, batch norm, ReLU, addition and pooling, in
    multiples of 16 channels, so that it quantises well.
    """

    def __init__(self, classes: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(3, 16, stride=2), nn.ReLU())
        self.fine = nn.Sequential(Residual(16, 16, 2), Residual(16, 32, 2), Residual(32, 64, 2), Residual(64, 64))
        self.coarse = Residual(64, 96, 2)
        self.average = nn.AdaptiveAvgPool2d(1)
        self.maximum = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * (64 + 96), classes))

    def forward(self, image: Tensor) -> Tensor:
        """f32 [N, 3, H, W], normalised → logits f32 [N, classes]; H and W at least 32."""
        fine = self.fine(self.stem(image))
        coarse = self.coarse(fine)
        pooled = torch.cat((self.average(fine), self.maximum(fine), self.average(coarse), self.maximum(coarse)), dim=1)
        logits: Tensor = self.head(pooled.flatten(1))
        return logits


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))
