"""The network an experiment begins with: fresh weights or a library's, and every way it could fail tried before the training."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from edge.errors import ConfigError, ExportError
from nets.architectures import CLASSIFIERS, TORCHVISION, build
from nets.classics import Size
from nets.fastai_library import layer_groups, vision_model
from train.experiments.schema import Experiment

FASTAI = "fastai/"
ANSWER_S = 20.0
"""A server of weights that says nothing for so long is not there."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """A network before its first epoch."""

    network: nn.Module
    splitter: Callable[[nn.Module], Any] | None = None
    """How fine-tuning parts it; None: it starts from fresh weights, and nothing is frozen."""
    notes: tuple[str, ...] = ()


def check_network(experiment: Experiment, sizes: list[Size]) -> None:
    """Refuse an architecture, a size or a pair of them that cannot work, without computing. Raises ConfigError."""
    name = experiment.architecture
    if name not in CLASSIFIERS:
        raise ConfigError(
            f"{experiment.name}: this architecture is not known", seen=name, remedy=f"Choose one of: {', '.join(sorted(CLASSIFIERS))}"
        )
    with_weights = [FASTAI + known for known in TORCHVISION]
    if experiment.pretrained and name not in with_weights:
        remedy = f"Choose one of: {', '.join(with_weights)}"
        raise ConfigError(f"{experiment.name}: there are no pretrained weights for this", seen=name, remedy=remedy)
    shapes = [_shapes(experiment, size) for size in dict.fromkeys(sizes)]
    if any(shape != shapes[0] for shape in shapes):
        remedy = "Leave out stages, or choose a network with global pooling"
        raise ConfigError(f"{experiment.name}: {name} cannot change its size", seen=sizes, remedy=remedy)


def check_size(name: str, architecture: str, size: Size) -> None:
    """Refuse a size that the network of another kind cannot take. Raises ConfigError."""
    try:
        with torch.device("meta"):
            build(architecture, 2, size=size)
    except (ExportError, RuntimeError) as exc:
        raise ConfigError(f"{name}: {architecture} cannot take this size", seen=f"{size[0]} x {size[1]}: {exc}", remedy="Set size") from exc


def check_weights(experiment: Experiment) -> None:
    """Get pretrained weights that must be there, so that they are when their turn comes. Raises ConfigError."""
    if experiment.pretrained is True and experiment.kind in ("classifier", "search"):
        _pretrained(experiment, 2)


def start(experiment: Experiment, classes: int, size: Size) -> Start:
    """The network with its dropout set. Raises ConfigError when weights must be pretrained and cannot be had."""
    made = _pretrained(experiment, classes) if experiment.pretrained else Start(network=build(experiment.architecture, classes, size=size))
    if experiment.dropout is not None:
        for module in made.network.modules():
            if isinstance(module, nn.Dropout):
                module.p = experiment.dropout
    return made


def _pretrained(experiment: Experiment, classes: int) -> Start:
    name = experiment.architecture.removeprefix(FASTAI)
    try:
        with _impatient():
            network = vision_model(name, classes, pretrained=True)
    except (OSError, RuntimeError) as exc:
        if experiment.pretrained != "if available":
            raise ConfigError(
                f"{experiment.name}: the pretrained weights of {name} cannot be had on this machine",
                seen=exc,
                remedy=f'Connect it, copy them to {torch.hub.get_dir()}/checkpoints, or set pretrained = "if available" or false',
            ) from exc
        return Start(network=vision_model(name, classes), notes=(f"pretrained weights of {name} not available: from scratch",))
    return Start(network=network, splitter=layer_groups(name), notes=("pretrained on ImageNet",))


def _shapes(experiment: Experiment, size: Size) -> list[torch.Size]:
    """Shapes of all weights; on the way one image goes through without being computed."""
    try:
        with torch.device("meta"), torch.inference_mode():
            network = build(experiment.architecture, 2, size=size).eval()
            network(torch.empty(1, 3, *size))
    except (ExportError, RuntimeError) as exc:
        raise ConfigError(
            f"{experiment.name}: {experiment.architecture} cannot take this size",
            seen=f"{size[0]} x {size[1]}: {exc}",
            remedy="Choose a larger one",
        ) from exc
    return [weights.shape for weights in network.state_dict().values()]


@contextmanager
def _impatient() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(ANSWER_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
