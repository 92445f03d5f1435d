"""Class activation maps and Grad-CAM of one network: which cells of its last feature maps spoke for a class.

Both explain the log-odds of a class, its logit less the mean of the others'.

cam: B. Zhou et al., "Learning deep features for discriminative localization", CVPR 2016. Only for networks that end in global pooling
    and a linear head; the sum over the map and the head's biases are the log-odds. For maxima and for several resolutions as in
    docs/explaining.md, which the exported networks follow as well.
gradcam: R. R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", ICCV 2017. The
    feature maps weighted by the mean gradient of the log-odds, negative sums cut off. For every network with convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from edge.errors import ExportError

Method = Literal["cam", "gradcam"]
Maps = NDArray[np.float32]
_POOLS = ("adaptive_avg_pool2d", "adaptive_max_pool2d")
_LINEAR = frozenset(
    ["cat", "flatten", "dropout", "linear", "view", "reshape", "squeeze", "batch_norm", "size", "dim", "numel", "__get__", *_POOLS]
)
"""Functions that may stand between pooling and logits so that the logits stay a sum of the pooled values."""
_REMEDY = "Use --method gradcam, or a network that ends in global pooling and one linear layer; docs/explaining.md names them"


@dataclass(frozen=True)
class _Pooling:
    """One global pooling: features [N, C, h, w] and what came out, [N, C, 1, 1]."""

    features: Tensor
    pooled: Tensor
    maximum: bool


@dataclass(eq=False)
class _Watch(TorchFunctionMode):
    """Notes every global pooling, and what other functions were called behind the first."""

    found: list[_Pooling] = field(default_factory=list)
    behind: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call it, and note what matters."""
        del types
        result = func(*args, **(kwargs or {}))
        name = func.__name__.removeprefix("_").removesuffix("_with_indices")
        output = result[0] if isinstance(result, tuple) and result else result
        if name in _POOLS and isinstance(output, Tensor) and tuple(output.shape[2:]) == (1, 1):
            self.found.append(_Pooling(args[0], output, maximum="max" in name))
        elif self.found:
            self.behind.append(func.__name__)
        return result


def activation_maps(model: nn.Module, images: Tensor, target: int, method: Method) -> tuple[Maps, Maps]:
    """Probabilities f32 [N, classes] and maps f32 [N, h, w] for class number `target` of images f32 [N, 3, H, W], normalised.

    The model is left in eval mode. Raises ExportError where the method does not fit the network.
    """
    model.eval()
    with torch.enable_grad(), _last_convolution(model) as last:
        with _Watch() as seen:
            logits = model(images.requires_grad_(True))
        if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < 2:
            raise ExportError("only classifiers are explained", seen=type(model).__name__, remedy="Give a network with one logit per class")
        odds = (logits[:, target] - (logits.sum(1) - logits[:, target]) / (logits.shape[1] - 1)).sum()
        maps = _cam(seen, odds) if method == "cam" else _gradcam(seen.found[-1].features if seen.found else last.stored, odds)
    return logits.detach().softmax(1).numpy(), maps.detach().float().numpy()


def _cam(seen: _Watch, odds: Tensor) -> Tensor:
    if not seen.found:
        raise ExportError("this network has no class activation map", seen="no global pooling", remedy=_REMEDY)
    between = [name for name in seen.behind if name not in _LINEAR]
    if between:
        raise ExportError("this network has no class activation map", seen=f"{between[0]} behind its pooling", remedy=_REMEDY)
    weights = torch.autograd.grad(odds, [pooling.pooled for pooling in seen.found])
    parts = [_part(pooling, weight) for pooling, weight in zip(seen.found, weights, strict=True)]
    rows, columns = (max(part.shape[axis] for part in parts) for axis in (1, 2))
    return torch.stack([_spread(part.shape[1], rows) @ part @ _spread(part.shape[2], columns).T for part in parts]).sum(0)


def _part(pooling: _Pooling, weight: Tensor) -> Tensor:
    """What each cell adds to the log-odds through one pooling: [N, h, w]."""
    features = pooling.features
    if not pooling.maximum:
        return (features * weight).sum(1) / (features.shape[2] * features.shape[3])
    reached = (features == pooling.pooled).float()
    return (reached * features * weight / reached.sum(dim=(2, 3), keepdim=True)).sum(1)


def _spread(cells: int, finer: int) -> Tensor:
    """f32 [finer, cells]: the part of each cell that lies in each finer one."""
    edges, fine = torch.arange(cells + 1) / cells, torch.arange(finer + 1) / finer
    overlap = torch.minimum(edges[None, 1:], fine[1:, None]) - torch.maximum(edges[None, :-1], fine[:-1, None])
    return overlap.clamp(min=0.0) * cells


def _gradcam(features: Tensor, odds: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(odds, [features])
    return (features * gradient.mean(dim=(2, 3), keepdim=True)).sum(1).relu()


@contextmanager
def _last_convolution(model: nn.Module) -> Iterator[Any]:
    """The hook whose `stored` is what the last convolution of `model` gave, for networks without global pooling."""
    from train.fast import hook_output  # noqa: PLC0415 - fastai takes seconds

    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    if not convolutions:
        raise ExportError("this network has no convolution to look at", seen=type(model).__name__, remedy="Give a convolutional network")
    with hook_output(convolutions[-1], detach=False) as hook:
        yield hook
