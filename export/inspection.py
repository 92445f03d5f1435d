"""Every kind of network as one module from the heightmap's bytes to probabilities, so that the box runs them all alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edge.bundle import Kind
from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec


def inspection_of(
    model: nn.Module, spec: HeightmapSpec, kind: Kind, constants: Mapping[str, Tensor], *, embedding: bool = False
) -> nn.Module:
    """`model` (f32 [N, C, H, W] normalised → its own answer) as u8 [N, 1, H, W] → scores f32 [N, classes] in eval mode.

    With `embedding` it gives a pair: scores, and the features f32 [N, F] that the last decision is made on.
    Raises ExportError for a kind without its constants, or a one-channel network with three different means.
    """
    if kind != "classifier":
        raise ExportError("this kind of network is not known", seen=(kind, sorted(constants)), remedy="Export a classifier")
    return _Classifier(model, spec, embedding=embedding).eval()


class _Normalised(nn.Module):
    """What all kinds share: the body, and (gray / 255 - mean) / std in as many channels as the body takes."""

    scale: Tensor
    shift: Tensor

    def __init__(self, body: nn.Module, spec: HeightmapSpec, *, embedding: bool) -> None:
        super().__init__()
        channels = _input_channels(body)
        mean, std = (torch.tensor(_of_channels(values, channels)) for values in (spec.mean, spec.std))
        self.body = body
        self.embedding = embedding
        # (x / 255 - mean) / std as one multiplication and one addition, whose broadcasting also makes the channels.
        self.register_buffer("scale", (1.0 / (255.0 * std)).reshape(1, channels, 1, 1))
        self.register_buffer("shift", (-mean / std).reshape(1, channels, 1, 1))

    def normalise(self, heightmap: Tensor) -> Tensor:
        """u8 [N, 1, H, W] → f32 [N, C, H, W]."""
        return heightmap.float() * self.scale + self.shift


class _Classifier(_Normalised):
    """Logits become probabilities."""

    def forward(self, heightmap: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if not self.embedding:
            return torch.softmax(self.body(self.normalise(heightmap)), dim=1)
        with _penultimate(self.body) as seen:
            logits = self.body(self.normalise(heightmap))
        return torch.softmax(logits, dim=1), _features(seen)


@contextmanager
def _penultimate(body: nn.Module) -> Iterator[list[Tensor]]:
    """A list that holds, after `body` ran, the inputs of its Linear layers (of its convolutions where it has none), in order."""
    linear = [module for module in body.modules() if isinstance(module, nn.Linear)]
    deciding: list[nn.Module] = [*linear] or [module for module in body.modules() if isinstance(module, nn.Conv2d)]
    seen: list[Tensor] = []
    hooks = [module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])) for module in deciding]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _features(seen: list[Tensor]) -> Tensor:
    """The last input seen as [N, F]; a feature map by its averages."""
    if not seen:
        raise ExportError(
            "this network gives no embedding",
            seen="no Linear or Conv2d module",
            remedy="Export it without embedding, or from a state dict instead of a traced program",
        )
    last = seen[-1]
    return last.mean(dim=(2, 3)) if last.ndim == 4 else last.flatten(1)


def _input_channels(body: nn.Module) -> int:
    """1 where the first kernel [outputs, inputs, height, width] reads one channel, else 3."""
    first = next((weight for weight in body.parameters() if weight.ndim == 4), None)
    return 1 if first is not None and first.shape[1] == 1 else 3


def _of_channels(values: tuple[float, float, float], channels: int) -> tuple[float, ...]:
    if channels == 3:
        return values
    if len(set(values)) > 1:
        raise ExportError(
            "the network takes one channel, the heightmap spec normalises three differently",
            seen=values,
            remedy="Give the heightmap spec three equal means and three equal deviations",
        )
    return values[:1]
