"""Small classifiers of the teaching sources, each readable as one column of layers."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from edge.errors import ExportError

Size = tuple[int, int]


class LeNet(nn.Sequential):
    """LeNet-5 (LeCun et al. 1998) for three channels and any size: two 5x5 convolutions with pooling, three linear layers."""

    def __init__(self, classes: int, size: Size) -> None:
        height, width = (((side - 4) // 2 - 4) // 2 for side in size)
        _require_room("lenet", size, min(height, width), least=16)
        super().__init__(
            nn.Conv2d(3, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * height * width, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, classes),
        )


class ScratchNetwork(nn.Sequential):
    """Five stride-2 convolutions with batch norm, then three linear layers; 128 x 352 flattens to 128 x 4 x 11 features."""

    def __init__(self, classes: int, size: Size) -> None:
        widths = (3, 16, 32, 64, 128, 128)
        height, width = (-(-side // 32) for side in size)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        features = widths[-1] * height * width
        layers += [nn.Flatten(), nn.Linear(features, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, classes)]
        super().__init__(*layers)


class SixConvolutionNetwork(nn.Module):
    """Six 3x3 convolutions with batch norm and leaky ReLU, pooled after every one but the last, dropout 0.34, one linear layer.

    `width` is the channels of the first two; each pair has twice as many as the one before.
    """

    def __init__(self, classes: int, dropout: float = 0.34, width: int = 32) -> None:
        super().__init__()
        widths = (3, width, width, 2 * width, 2 * width, 4 * width, 4 * width)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.01), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers[:-1])
        self.average = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(widths[-1], classes))

    def forward(self, image: Tensor) -> Tensor:
        """f32 [N, 3, H, W], normalised → logits f32 [N, classes]; H and W at least 32."""
        logits: Tensor = self.head(self.average(self.features(image)))
        return logits


def _require_room(name: str, size: Size, left: int, *, least: int) -> None:
    if left < 1:
        raise ExportError(f"heightmaps are too small for {name}", seen=size, remedy=f"Use at least {least} x {least} pixels")
