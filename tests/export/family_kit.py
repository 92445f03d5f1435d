"""Networks of every family with seeded weights that answer as trained ones do: normal statistics inside, scores spread over 0 to 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from calib.quantise import quantise
from edge.bundle import Member
from edge.inspector.engines.openvino import Compiler
from edge.inspector.heightmap.spec import HeightmapSpec, PercentileWindow
from export.graph.kinds import prepare_kind, rebase
from export.sources.base import Source
from export.sources.module import source_from_module
from nets.architectures import build, kind_of

SIZE = (64, 96)
CLASSES = ("bad", "good")
SPREAD = 1.5
"""Distance of a logit between the images' 20th and 80th percentile."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """One family from module to INT8 file."""

    source: Source
    member: Member
    images: NDArray[np.uint8]
    full: bytes
    int8: bytes


def make(name: str, *, size: tuple[int, int] = SIZE, count: int = 16) -> Made:
    """Build, export and quantise one family."""
    torch.set_num_threads(1)
    pictures = images(count, size)
    source = prepare_kind(untrained(name, pictures), pictures)
    full = source.to_onnx(embedding=True)
    member = Member(
        name="member",
        file=f"{name}.onnx",
        architecture=name,
        input="heightmap",
        output="scores",
        classes=CLASSES,
        kind=source.kind,
        embedding="embedding",
    )
    return Made(source=source, member=member, images=pictures, full=full, int8=rebase(quantise(full, pictures), source, pictures))


def answers(made: Made, onnx: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scores [N, 2] and embeddings [N, F] by the box's own engine class."""
    data = np.zeros(made.images.shape[2:], np.uint8)
    engine = Compiler(threads=1).compile(made.member, onnx, data)
    scores, features = [], []
    for image in made.images:
        data[:] = image[0]
        scores.append(engine.run().copy())
        assert engine.embedding is not None
        features.append(engine.embedding.copy())
    return np.array(scores), np.array(features)


def images(count: int, size: tuple[int, int] = SIZE, seed: int = 0) -> NDArray[np.uint8]:
    """Beads u8 [N, 1, H, W] on noise, every other one with a lump, all with a shadow without data."""
    random = np.random.default_rng(seed)
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width]
    made = np.zeros((count, 1, height, width), np.uint8)
    for index, out in enumerate(made):
        centre = random.uniform(0.3, 0.7) * height + random.uniform(-0.2, 0.2) * (columns - width / 2)
        gray = random.uniform(40, 90) + random.uniform(60, 140) * np.exp(-(((rows - centre) / (random.uniform(0.06, 0.2) * height)) ** 2))
        row, column, radius = random.uniform(0.2, 0.8) * height, random.uniform(0.2, 0.8) * width, random.uniform(3, 9)
        lump = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / radius**2)
        out[0] = np.clip(gray + 80 * (index % 2) * lump + random.normal(0, 4, size), 1, 255)
        out[0, :, : int(random.uniform(0.02, 0.15) * width)] = 0
    return made


def untrained(name: str, pictures: NDArray[np.uint8]) -> Source:
    """The family with seeded weights, batch norms that have seen the images, and a last layer that spreads its answers."""
    height, width = pictures.shape[2:]
    torch.manual_seed(0)
    network = build(name, 2, size=(height, width))
    image = torch.from_numpy(pictures).float().div(255).sub(0.45).div(0.225).expand(-1, 3, -1, -1)
    kind = kind_of(name)
    inputs = (image, image.roll(1, 0)) if kind == "siamese" else (image,)
    _see(network, inputs)
    if kind != "autoencoder":
        _spread(network, inputs)
    spec = HeightmapSpec(window=PercentileWindow(), height=height, width=width)
    return source_from_module(network, classes=CLASSES, heightmap=spec, architecture=name, kind=kind)


def _see(network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Batch norms take the images' statistics; layers with a bias of their own are made to answer alike.

    Answers lie mostly where ReLU is linear: through dozens of random rectifiers any rounding grows to noise, which no trained network
    lets happen.
    """
    network.eval()
    hooks = []
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module.train()
            nn.init.uniform_(module.weight, 0.4, 0.8)
            nn.init.uniform_(module.bias, 0.6, 1.2)
            module.momentum = None
        elif isinstance(module, nn.Linear | nn.Conv2d) and module.bias is not None:
            hooks.append(module.register_forward_hook(_standardise))
    with torch.no_grad():
        network(*inputs)
    network.eval()
    for hook in hooks:
        hook.remove()
    for norm in norms:  # a feature that hardly varies over so few images would be blown up out of all proportion
        assert norm.running_var is not None
        norm.running_var.clamp_min_(norm.running_var.mean())


def _standardise(layer: nn.Linear | nn.Conv2d, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
    """Deviation and mean 1 of what the layer answers: per channel of an image, over all features of a vector."""
    over = [0, 2, 3] if output.ndim == 4 else None
    deviation, mean = torch.std_mean(output, dim=over, keepdim=True)
    deviation = deviation.clamp_min(1e-6)
    layer.weight /= deviation.reshape(-1, *[1] * (layer.weight.ndim - 1))
    assert layer.bias is not None
    layer.bias.copy_((layer.bias - mean.flatten()) / deviation.flatten() + 1)
    return (output - mean) / deviation + 1


def _spread(network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Let the last layer read what differs most between the images (their features' first principal component), and spread that."""
    last = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d) and m.weight.shape[0] == 2][-1]
    seen: list[torch.Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        network(*inputs)
        hook.remove()
        features = seen[0] if seen[0].ndim == 2 else seen[0].mean(dim=(2, 3))
        direction = torch.linalg.svd(features - features.mean(dim=0), full_matrices=False).Vh[0]
        low, middle, high = torch.quantile(features @ direction, torch.tensor([0.2, 0.5, 0.8]))
        signed = torch.stack((-direction, direction)) * SPREAD / (high - low)
        last.weight.copy_(signed.reshape(last.weight.shape))
        offset = torch.stack((middle, -middle)) * SPREAD / (high - low)
        last.bias = nn.Parameter(offset if seen[0].ndim == 2 else offset + 4)  # SqueezeNet has a ReLU behind its last convolution
