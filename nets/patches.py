"""Bodies that give patch features: fixed filters for heights, the blocks of `small`, or ResNet18's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu

from nets.small import SmallResidualNetwork

Kernel: TypeAlias = NDArray[np.float64]
Kernels: TypeAlias = NDArray[np.float32]
BodyName = Literal["relief", "small", "resnet18"]
SIDE = 9
"""Of the fixed filters, in pixels."""
SCALES = ((2, 1.2), (4, 2.2))
"""Reach and standard deviation of the filters' Gaussians, in pixels."""
_DIRECTIONS = 4
_GRAYS = 255.0
_STEPS = 127.0
_ROWS, _COLUMNS = np.mgrid[-(SIDE // 2) : SIDE // 2 + 1, -(SIDE // 2) : SIDE // 2 + 1].astype(np.float64)
_RADIUS = np.hypot(_ROWS, _COLUMNS)
_REACHES = (*(reach for reach, _ in SCALES for _ in range(2 * _DIRECTIONS + 2)), 2, 2, 0, 0)
"""Of every filter over heights: as far as it reaches there must be data."""


class ReliefBody(nn.Module):
    """What one sees of a height field without having learnt anything: slopes, ridges and dents at two sizes, heights, holes.

    Each of 24 answers is a difference of heights inside one small window, cut off below zero, and 0 where the window holds a pixel
    without data; 16 more describe the shape of what has no data. They are averaged over squares of 8 and of 16 pixels.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gray = nn.Conv2d(3, 1, 1)
        """From the normalised channels back to gray / 255."""
        self.gray.requires_grad_(requires_grad=False)
        self.expect((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        self.heights = _fixed(*height_filters())
        self.holes = _fixed(*hole_filters())
        self.float_tail = ReliefAverages()

    def expect(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Say how the input is normalised."""
        with torch.no_grad():
            self.gray.weight.copy_(torch.tensor(std).reshape(1, 3, 1, 1) / 3)
            self.gray.bias.copy_(torch.tensor([sum(mean) / 3]))  # type: ignore[union-attr]

    def forward(self, image: Tensor) -> list[Tensor]:
        """f32 [N, 3, H, W] → f32 [N, 24, H / 8, W / 8], [N, 24, H / 16, W / 16] and [N, 16, H / 8, W / 8]."""
        heights = relu(self.gray(image))
        empty = relu(1.0 - _GRAYS * heights)  # 1 where there is no data, else 0
        # In INT8's own steps, and 1 where there is no data, so that INT8 finds the same steps and rounds nothing any more.
        depths = ((1.0 - heights) * _STEPS).round() / _STEPS
        maps: list[Tensor] = self.float_tail(self.heights(depths), self.holes(empty), empty)
        return maps


class ReliefAverages(nn.Module):
    """What becomes of the filters' answers; in float, because INT8 would round most of them, which are small, to zero."""

    def __init__(self) -> None:
        super().__init__()
        reaches = sorted(set(_REACHES))
        self.register_buffer("reach", torch.tensor([reaches.index(reach) for reach in _REACHES]))

    def forward(self, slopes: Tensor, holes: Tensor, empty: Tensor) -> list[Tensor]:
        """Answers f32 [N, 24 and 16, H / 2, W / 2] and places without data f32 [N, 1, H, W] → as ReliefBody."""
        near = [max_pool2d(empty, 2 * reach + 1, stride=2, padding=reach) for reach in sorted(set(_REACHES))]
        seen = 1.0 - torch.cat(near, dim=1).index_select(1, self.get_buffer("reach"))
        kept = relu(slopes) * seen
        return [avg_pool2d(kept, 4), avg_pool2d(kept, 8), avg_pool2d(relu(holes), 4)]


class SmallBody(nn.Module):
    """All of the network `small` but its coarsest block and its head."""

    def __init__(self, whole: SmallResidualNetwork) -> None:
        super().__init__()
        self.stem, self.fine = whole.stem, whole.fine

    def forward(self, image: Tensor) -> list[Tensor]:
        """f32 [N, 3, H, W] → f32 [N, 32, H / 8, W / 8] and [N, 64, H / 16, W / 16]."""
        first = self.fine[1](self.fine[0](self.stem(image)))
        return [first, self.fine[3](self.fine[2](first))]


class ResNetBody(nn.Module):
    """ResNet18 up to its third group; of the last two groups' 128 and 256 channels a random choice stays, as in PaDiM."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.stem = nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool, whole.layer1)
        self.second, self.third = whole.layer2, whole.layer3
        order = torch.Generator().manual_seed(0)
        for level, (channels, width) in enumerate(((128, 32), (256, 64))):
            chosen = torch.randperm(channels, generator=order, device="cpu")[:width].sort().values
            self.register_buffer(f"kept{level}", chosen)

    def forward(self, image: Tensor) -> list[Tensor]:
        """f32 [N, 3, H, W] → f32 [N, 32, H / 8, W / 8] and [N, 64, H / 16, W / 16]."""
        second = self.second(self.stem(image))
        third = self.third(second)
        return [feature.index_select(1, self.get_buffer(f"kept{level}")) for level, feature in enumerate((second, third))]


def patch_body(name: BodyName, whole: nn.Module | None = None) -> nn.Module:
    """The body of that name, from a whole network of it (which then shares its weights) or with fresh weights."""
    if name == "relief":
        return ReliefBody()
    if name == "small":
        return SmallBody(whole if isinstance(whole, SmallResidualNetwork) else SmallResidualNetwork(2))
    if whole is None:
        from torchvision.models import resnet18  # noqa: PLC0415 - costs a second that the other bodies need not pay

        whole = resnet18(weights=None)
    return ResNetBody(whole)


def height_filters() -> tuple[Kernels, NDArray[np.float32]]:
    """Weights f32 [24, 1, 9, 9] and biases f32 [24]: per scale, derivatives of a Gaussian in four directions and both signs, and blobs
    of both signs; then a single pixel over and below the mean of 5 x 5, the pixel itself, and the mean of 9 x 9.
    """
    found: list[Kernel] = []
    for reach, deviation in SCALES:
        square = (np.maximum(np.abs(_ROWS), np.abs(_COLUMNS)) <= reach).astype(np.float64)
        found += _slopes(_mean_of(np.exp(-(_RADIUS**2) / (2 * deviation**2)) * square))
        blob = _mean_of(np.exp(-(_RADIUS**2) / (2 * (deviation / 2) ** 2))) - _mean_of(square)
        found += [blob, -blob]
    odd = _disc(0) - _mean_of((np.maximum(np.abs(_ROWS), np.abs(_COLUMNS)) <= 2).astype(np.float64))
    found += [odd, -odd, _disc(0), _mean_of(np.ones((SIDE, SIDE)))]
    return np.array(found, np.float32)[:, None], np.zeros(len(found), np.float32)


def hole_filters() -> tuple[Kernels, NDArray[np.float32]]:
    """Weights f32 [16, 1, 9, 9] and biases f32 [16] over the places without data, 1 or 0: edges in four directions and both signs, round
    spots of two sizes (disc less ring), discs of three sizes that are all but full, the place itself, its surroundings, more than a
    quarter of them.
    """
    edges = _slopes(_mean_of(np.exp(-(_RADIUS**2) / (2 * 2.2**2)) * (_RADIUS <= 4.6)))
    spots = [_mean_of(_disc(inner)) - _mean_of(_disc(outer) - _disc(outer - 1.0)) for inner, outer in ((2.5, 4.6), (1.5, 3.1))]
    full = [(2.5, 0.9), (3.3, 0.9), (4.3, 0.92)]
    discs = [_mean_of(_disc(radius)) / (1 - part) for radius, part in full]
    around = _mean_of(_disc(4.6))
    weights = [*edges, *spots, *discs, _disc(0), around, around]
    biases = [*[0.0] * len((*edges, *spots)), *(-part / (1 - part) for _, part in full), 0.0, 0.0, -0.25]
    return np.array(weights, np.float32)[:, None], np.array(biases, np.float32)


def _fixed(weight: NDArray[np.float32], bias: NDArray[np.float32]) -> nn.Conv2d:
    """A convolution whose weights lie on INT8's steps, per output, so that quantising it changes nothing."""
    layer = nn.Conv2d(1, len(weight), SIDE, stride=2, padding=SIDE // 2)
    step = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / _STEPS
    layer.weight = nn.Parameter(torch.from_numpy((np.rint(weight / step) * step).astype(np.float32)), requires_grad=False)
    layer.bias = nn.Parameter(torch.from_numpy(bias), requires_grad=False)
    return layer


def _slopes(bell: Kernel) -> list[Kernel]:
    """Derivatives of a bell, each with its negative; a step of one unit answers 1 at most."""
    found: list[Kernel] = []
    for turn in np.pi / _DIRECTIONS * np.arange(_DIRECTIONS):
        slope = bell * (_COLUMNS * np.cos(turn) + _ROWS * np.sin(turn))
        slope = slope / (np.abs(slope).sum() / 2)
        found += [slope, -slope]
    return found


def _disc(radius: float) -> Kernel:
    disc: Kernel = np.less_equal(_RADIUS, radius).astype(np.float64)
    return disc


def _mean_of(kernel: Kernel) -> Kernel:
    summed: Kernel = kernel / kernel.sum()
    return summed
