"""Adaptive pooling that ONNX has no form for, as the constant matrices it amounts to at one input size."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from edge.errors import ExportError

Size = tuple[int, int]


class MatrixPool(nn.Module):
    """AdaptiveAvgPool2d for one input size: averages over rows and columns as two constant matrices."""

    rows: Tensor
    columns: Tensor

    def __init__(self, inputs: Size, outputs: Size) -> None:
        super().__init__()
        self.register_buffer("rows", _averages(inputs[0], outputs[0]))
        self.register_buffer("columns", _averages(inputs[1], outputs[1]).T.contiguous())

    def forward(self, image: Tensor) -> Tensor:
        """f32 [N, C, *inputs] → [N, C, *outputs]."""
        return torch.matmul(self.rows, torch.matmul(image, self.columns))


def fixed_pools(module: nn.Module, example: Tensor) -> nn.Module:
    """`module` with every adaptive average pooling whose output does not divide its input replaced by an equal MatrixPool.

    `example` is an input of the only size it will be given. The module itself is left as it is; one without such pooling is
    returned unchanged. Raises ExportError for adaptive maximum pooling of that sort, which no standard operator equals.
    """
    odd = _uneven(module, example)
    if not odd:
        return module
    fixed = copy.deepcopy(module)
    for name, (inputs, outputs) in odd.items():
        if isinstance(module.get_submodule(name), nn.AdaptiveMaxPool2d):
            raise ExportError(
                f"{name} pools maxima of {inputs} to {outputs}, which ONNX cannot say",
                seen="an output size that does not divide the input's",
                remedy="Train with a heightmap size whose feature map the output size divides",
            )
        parent, _, child = name.rpartition(".")
        setattr(fixed.get_submodule(parent), child, MatrixPool(inputs, outputs))
    return fixed


def _uneven(module: nn.Module, example: Tensor) -> dict[str, tuple[Size, Size]]:
    """(input size, output size) of every adaptive pooling whose output does not divide its input, as `module` runs on `example`."""
    found: dict[str, tuple[Size, Size]] = {}
    with _hooked(module, found), torch.inference_mode():
        module(example)
    return found


@contextmanager
def _hooked(module: nn.Module, found: dict[str, tuple[Size, Size]]) -> Iterator[None]:
    def note(name: str) -> object:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen = (_size(inputs[0]), _size(output))
            if any(i % o for i, o in zip(*seen, strict=True)) and found.setdefault(name, seen) != seen:
                raise ExportError(f"{name} is used at two sizes", seen=(found[name], seen), remedy="Give each use a pooling of its own")

        return hook

    pools = [(name, m) for name, m in module.named_modules() if isinstance(m, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)]
    hooks = [pool.register_forward_hook(note(name)) for name, pool in pools]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _size(image: Tensor) -> Size:
    return int(image.shape[-2]), int(image.shape[-1])


def _averages(inputs: int, outputs: int) -> Tensor:
    """f32 [outputs, inputs]: output i is the mean of the inputs from floor(i n / m) to ceil((i + 1) n / m), as in PyTorch."""
    weights = torch.zeros(outputs, inputs)
    for i in range(outputs):
        first, last = i * inputs // outputs, -(-(i + 1) * inputs // outputs)
        weights[i, first:last] = 1.0 / (last - first)
    return weights
