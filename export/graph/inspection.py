"""Every kind of network as one module from the heightmap's bytes to probabilities, so that the box runs them all alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edge.bundle import Kind
from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from nets.autoencoder import ERROR_SCALE, DrawingError

REFERENCES, SIDES = "references", "reference_sides"
"""Constant of a siamese source, embeddings f32 [K, F]; and the weights in the graph that hold what the head makes of them."""
SCALE = ERROR_SCALE
"""Constant of an autoencoder source and name of the weight in the graph: the error f32 [1] whose badness is 0.5."""


def inspection_of(
    model: nn.Module, spec: HeightmapSpec, kind: Kind, constants: Mapping[str, Tensor], *, embedding: bool = False
) -> nn.Module:
    """`model` as u8 [N, 1, H, W] → scores f32 [N, classes] in eval mode; a siamese's or autoencoder's classes are bad and good.

    A classifier is f32 [N, C, H, W] normalised → logits [N, classes]. A siamese network needs the constant `references`, and its
    badness is the mean probability of being different from them; an autoencoder needs `error_scale`, and its badness is
    error / (error + scale), the error as the constants of `nets.autoencoder` say. With `embedding` the module gives a pair: scores, and the
    features f32 [N, F] that the last decision is made on (an autoencoder's: the averages of its code).
    Raises ExportError for a kind without its constants, or a one-channel network with three different means.
    """
    inspection: nn.Module
    match kind:
        case "classifier":
            inspection = _Classifier(model, spec, embedding=embedding)
        case "siamese":
            inspection = _Siamese(model, spec, _constant(constants, REFERENCES, kind), embedding=embedding)
        case "autoencoder":
            inspection = _Autoencoder(model, spec, _constant(constants, SCALE, kind), DrawingError(constants), embedding=embedding)
    return inspection.eval()


class Normalisation(nn.Module):
    """(gray / 255 - mean) / std in as many channels as `body` takes: u8 [N, 1, H, W] → f32 [N, C, H, W]."""

    scale: Tensor
    shift: Tensor

    def __init__(self, body: nn.Module, spec: HeightmapSpec) -> None:
        super().__init__()
        channels = _input_channels(body)
        mean, std = (torch.tensor(_of_channels(values, channels)) for values in (spec.mean, spec.std))
        # One multiplication and one addition, whose broadcasting also makes the channels.
        self.register_buffer("scale", (1.0 / (255.0 * std)).reshape(1, channels, 1, 1))
        self.register_buffer("shift", (-mean / std).reshape(1, channels, 1, 1))

    def forward(self, heightmap: Tensor) -> Tensor:
        """Normalise."""
        return heightmap.float() * self.scale + self.shift


class _Classifier(nn.Module):
    """Logits become probabilities."""

    def __init__(self, body: nn.Module, spec: HeightmapSpec, *, embedding: bool) -> None:
        super().__init__()
        self.body, self.normalise, self.embedding = body, Normalisation(body, spec), embedding

    def forward(self, heightmap: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        image = self.normalise(heightmap)
        if not self.embedding:
            return torch.softmax(self.body(image), dim=1)
        with _penultimate(self.body) as seen:
            logits = self.body(image)
        return torch.softmax(logits, dim=1), _features(seen)


class _Siamese(nn.Module):
    """The mean probability of being different from the references becomes the badness."""

    reference_sides: Tensor

    def __init__(self, body: Any, spec: HeightmapSpec, references: Tensor, *, embedding: bool) -> None:
        super().__init__()
        self.body, self.normalise, self.embedding = body, Normalisation(body, spec), embedding
        with torch.no_grad():
            self.register_buffer(SIDES, body.right(references.float())[None])

    def forward(self, heightmap: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features = self.body.embed(self.normalise(heightmap))
        scores = bad_and_good(self.body.badness(features, self.reference_sides))
        return (scores, features) if self.embedding else scores


class _Autoencoder(nn.Module):
    """What it cannot draw becomes the badness."""

    error_scale: Tensor

    def __init__(self, body: Any, spec: HeightmapSpec, scale: Tensor, error: DrawingError, *, embedding: bool) -> None:
        super().__init__()
        self.body, self.normalise, self.embedding = body, Normalisation(body, spec), embedding
        self.register_buffer(SCALE, scale.float().reshape(1))
        self.error = error

    def forward(self, heightmap: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        code = self.body.encode(self.normalise(heightmap))
        error = self.error(heightmap, self.body.decode(code))
        scores = bad_and_good(error / (error + self.error_scale))
        return (scores, code.mean(dim=(2, 3))) if self.embedding else scores


def bad_and_good(badness: Tensor) -> Tensor:
    """f32 [N, 1] → scores f32 [N, 2] in the order bad, good."""
    return torch.cat((badness, 1.0 - badness), dim=1)


def _constant(constants: Mapping[str, Tensor], name: str, kind: Kind) -> Tensor:
    if name not in constants:
        raise ExportError(f"the {kind} has no {name} yet", seen=sorted(constants), remedy="Give it good scans with prepare_kind")
    return constants[name]


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
