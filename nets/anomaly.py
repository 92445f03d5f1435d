"""Networks that know good welds only: patch features of a body, and how far each patch lies from what good welds show there.

PaDiM (Defard et al. 2020) holds a Gaussian per position, PatchCore (Roth et al. 2022) a memory of patches. Both end in the logits of
(bad, good), so that everything behind them takes them for a classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from nets.patches import BodyName, patch_body

Statistics = Literal["padim", "patchcore"]
ANOMALY: dict[str, tuple[Statistics, BodyName]] = {
    "padim": ("padim", "relief"),
    "padim_small": ("padim", "small"),
    "padim_resnet18": ("padim", "resnet18"),
    "patchcore": ("patchcore", "relief"),
    "patchcore_small": ("patchcore", "small"),
    "patchcore_resnet18": ("patchcore", "resnet18"),
}
"""Names of the architectures, and what they are made of."""
MEMORY = 512
"""Patches that a memory holds per feature map."""
FARTHEST = 12.0
"""Limit of a patch's normalised distance along one direction: squares and their sum stay within float16."""
_LEAST = 1e-6


class GaussianDistances(nn.Module):
    """Per position a mean and a whitening matrix; the distance of a patch is Mahalanobis', divided by the root of the dimensions."""

    def __init__(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        for level, (depth, height, width) in enumerate(shapes):
            self.register_buffer(f"mean{level}", torch.zeros(1, depth, height, width))
            whitening = torch.eye(depth)[None, :, :, None, None] / depth**0.5
            self.register_buffer(f"whitening{level}", whitening.repeat(1, 1, 1, height, width))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Feature maps f32 [N, C, h, w] → squared distances f32 [N, 1, h, w]; good patches lie around 1."""
        return [self._squares(level, feature) for level, feature in enumerate(maps)]

    def _squares(self, level: int, feature: Tensor) -> Tensor:
        away = feature - self.get_buffer(f"mean{level}")
        # Multiplied and summed, not a matrix product: one small matrix per position is no work for a matrix unit.
        turned = (away.unsqueeze(1) * self.get_buffer(f"whitening{level}")).sum(dim=2)
        return turned.clamp(-FARTHEST, FARTHEST).square().sum(dim=1, keepdim=True)


class MemoryDistances(nn.Module):
    """Patches of good welds; the distance of a patch is that to the nearest of them, in standardised channels."""

    def __init__(self, shapes: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        for level, (depth, _, _) in enumerate(shapes):
            self.register_buffer(f"mean{level}", torch.zeros(1, depth, 1, 1))
            self.register_buffer(f"scale{level}", torch.ones(1, depth, 1, 1))
            self.register_buffer(f"memory{level}", torch.zeros(MEMORY, depth))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Feature maps f32 [N, C, h, w] → squared distances f32 [N, 1, h, w], divided by the dimensions."""
        return [self._squares(level, self.patches(level, feature)) for level, feature in enumerate(maps)]

    def patches(self, level: int, feature: Tensor) -> Tensor:
        """Standardised features, averaged over 3 x 3 positions as PatchCore does: f32 [N, C, h, w] → same."""
        standard = (feature - self.get_buffer(f"mean{level}")) * self.get_buffer(f"scale{level}")
        return avg_pool2d(standard.clamp(-FARTHEST, FARTHEST), 3, stride=1, padding=1)

    def _squares(self, level: int, patches: Tensor) -> Tensor:
        memory = self.get_buffer(f"memory{level}")
        # |p - m|² = |p|² - 2 p m + |m|², divided by the dimensions; rounding must not make it negative.
        products = torch.matmul(patches.flatten(2).transpose(1, 2), memory.T)
        nearest = (memory.square().sum(dim=1) - 2 * products).amin(dim=2).reshape(-1, 1, *patches.shape[2:])
        return (nearest + patches.square().sum(dim=1, keepdim=True)).clamp(min=0) / memory.shape[1]


Distances = GaussianDistances | MemoryDistances


class Tail(nn.Module):
    """From feature maps to logits: distances, the worst place of each map, the worst map, and what that means."""

    def __init__(self, distances: Distances, shapes: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        self.distances = distances
        self.register_buffer("unit", torch.ones(len(shapes)))
        """Per map, the squared distance that counts as 1."""
        self.calibration = nn.Linear(1 + sum(depth for depth, _, _ in shapes), 2)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Feature maps → logits f32 [N, 2], bad and good."""
        # The averages weigh nothing in the decision: they are there because what the last layer reads is the scan's embedding.
        averages = [feature.mean(dim=(2, 3)) for feature in maps]
        logits: Tensor = self.calibration(torch.cat((self.score(maps).log(), *averages), dim=1))
        return logits

    def score(self, maps: Sequence[Tensor]) -> Tensor:
        """Feature maps → anomaly score f32 [N, 1], above 0; 1 is about the border of good."""
        return (self.peaks(maps) / self.get_buffer("unit")).amax(dim=1, keepdim=True).clamp(min=_LEAST)

    def peaks(self, maps: Sequence[Tensor]) -> Tensor:
        """Feature maps → squared distance of each map's worst place, f32 [N, maps]."""
        return torch.cat([squares.amax(dim=(2, 3)) for squares in self.places(maps)], dim=1)

    def places(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Feature maps → squared distances f32 [N, 1, h, w], averaged over 3 x 3 places: one odd patch is often noise."""
        return [avg_pool2d(squares, 3, stride=1, padding=1) for squares in self.distances(maps)]


class PatchNetwork(nn.Module):
    """A body's feature maps, judged in float by a tail that was fitted to good welds.

    Modules named `float_tail` stay float when the network is quantised: distances are small differences of large numbers.
    """

    def __init__(self, architecture: str, size: tuple[int, int]) -> None:
        super().__init__()
        statistics, body = ANOMALY[architecture]
        self.body = patch_body(body)
        shapes = map_shapes(self.body, size)
        self.float_tail = Tail((GaussianDistances if statistics == "padim" else MemoryDistances)(shapes), shapes)

    def forward(self, image: Tensor) -> Tensor:
        """f32 [N, 3, H, W], normalised → logits f32 [N, 2], bad and good."""
        logits: Tensor = self.float_tail(self.body(image))
        return logits

    def heat(self, image: Tensor) -> Tensor:
        """f32 [N, 3, H, W], normalised → f32 [N, 1, H, W]: where the score comes from, its largest value; above 1 is beyond good."""
        places = self.float_tail.places(self.body(image))
        units = self.float_tail.get_buffer("unit")
        spread = [interpolate(each / unit, size=image.shape[2:]) for each, unit in zip(places, units, strict=True)]
        return torch.cat(spread, dim=1).amax(dim=1, keepdim=True)


def map_shapes(body: nn.Module, size: tuple[int, int]) -> list[tuple[int, int, int]]:
    """(channels, height, width) of every feature map that `body` makes of heightmaps of `size`; leaves it in training mode."""
    body.eval()
    with torch.no_grad():
        maps = body(torch.zeros(1, 3, *size))
    body.train()
    return [(int(m.shape[1]), int(m.shape[2]), int(m.shape[3])) for m in maps]
