"""What a PyTorch network's answer means: logits as they are, probabilities and single sigmoids turned back into logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from export.graph.inspection import inspection_of
from export.sources.base import Output, brief

_TINY = 1e-12
"""Probabilities below it count as it; their logarithm stays finite."""
_PASSING = frozenset({"view", "_unsafe_view", "reshape", "squeeze", "unsqueeze", "flatten", "clone", "_to_copy", "detach", "alias"})


def as_logits(model: nn.Module, heightmap: HeightmapSpec, output: Output) -> nn.Module:
    """`model` itself where it answers in logits, else wrapped so that the softmax of its answer is the answer it meant.

    The last operator of the network is looked at, so that a softmax that is there already is never done twice.
    Raises ExportError when the network cannot take the heightmap's size, or when what it does is not what `output` says.
    """
    answer, last = _look(model, heightmap)
    columns = answer.shape[1] if answer.ndim == 2 else 0
    if output == "sigmoid":
        if columns != 1:
            raise ExportError("a sigmoid is one number", seen=f"output {tuple(answer.shape)}", remedy="Leave --output sigmoid out")
        return _Binary(model, probability=last == "sigmoid")
    if columns == 1:
        raise ExportError(
            "the network gives one number instead of one per class",
            seen=f"output {tuple(answer.shape)}",
            remedy="Give --output sigmoid, where that number belongs to the second of two --classes",
        )
    if last == "sigmoid":
        raise ExportError(
            "the network gives every class a sigmoid of its own, and such scores do not add up to one",
            seen=f"output {tuple(answer.shape)}",
            remedy="Export the network without its last sigmoid, or train it with a softmax",
        )
    return _Probabilities(model) if output == "probabilities" or last in {"_softmax", "softmax"} else model


class _Probabilities(nn.Module):
    """softmax(log p) = p."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, image: Tensor) -> Tensor:
        return torch.log(torch.clamp_min(self.body(image), _TINY))


class _Binary(nn.Module):
    """softmax([0, x]) = [1 - sigmoid(x), sigmoid(x)]; of a probability p, softmax([log(1 - p), log p]) = [1 - p, p]."""

    second: Tensor

    def __init__(self, body: nn.Module, *, probability: bool) -> None:
        super().__init__()
        self.body = body
        self.probability = probability
        self.register_buffer("second", torch.tensor([[0.0, 1.0]]))

    def forward(self, image: Tensor) -> Tensor:
        value = self.body(image)
        if self.probability:
            return torch.log(torch.clamp_min(torch.cat((1 - value, value), dim=1), _TINY))
        logits: Tensor = value * self.second
        return logits


class _Watched(nn.Module):
    """The body, keeping its last answer and the operator it came out of."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.answer: Any = None
        self.last = ""

    def forward(self, image: Tensor) -> Tensor:
        with _Operators() as seen:
            self.answer = self.body(image)
        self.last = seen.maker.get(id(self.answer), "")
        return torch.zeros((len(image), 2))


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The name of the operator that made each tensor; operators that only pass values on count as what they pass."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.maker: dict[int, str] = {}
        self._kept: list[Any] = []  # so that no id is used twice

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if isinstance(result, Tensor):
            self._kept.append(result)
            self.maker[id(result)] = self.maker.get(id(args[0]), "") if name in _PASSING and args else name
        return result


def _look(model: nn.Module, heightmap: HeightmapSpec) -> tuple[Tensor, str]:
    watched = _Watched(model)
    try:
        with torch.no_grad():
            inspection_of(watched, heightmap, "classifier", {})(torch.zeros((1, 1, heightmap.height, heightmap.width), dtype=torch.uint8))
    except RuntimeError as exc:
        raise ExportError(
            f"{type(model).__name__} cannot take heightmaps of {(heightmap.height, heightmap.width)}",
            seen=brief(exc),
            remedy="Use the heightmap spec the network was trained with",
        ) from exc
    if not isinstance(watched.answer, Tensor):
        raise ExportError(
            f"{type(model).__name__} does not answer with one tensor",
            seen=type(watched.answer).__name__,
            remedy="Wrap it so that it gives its class scores only",
        )
    return watched.answer, watched.last
