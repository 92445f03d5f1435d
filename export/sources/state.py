"""A state dict, as PyTorch and fastai save it, poured into a network of a named architecture; no code in the file is run."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from export.sources.base import Output, Source, brief, file_sha256, first_few, read_bytes, require_classes, require_heightmap
from export.sources.module import source_from_module
from nets.architectures import ARCHITECTURES, build, kind_of

_NESTED = ("model", "state_dict", "model_state_dict")
"""Keys below which fastai's `learn.save`, PyTorch Lightning and many training loops put the weights."""
_PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and wrappers put before every name."""


_GLOBAL = re.compile(r"GLOBAL (\S+) was not an allowed")


class _Items:
    """Stands in for the list type of fastai's optimiser state, which is read over."""


def from_state_dict(
    path: Path, heightmap: HeightmapSpec | None, architecture: str | None, classes: Sequence[str] | None, output: Output
) -> Source:
    """Weights read with `weights_only=True`. Raises ExportError listing names and shapes that do not fit the architecture."""
    named, spec = require_classes(path, classes, output), require_heightmap(path, heightmap)
    if architecture is None:
        raise ExportError(
            f"{path} holds weights without their network",
            seen="no --arch",
            remedy=f"Give --arch with one of: {', '.join(sorted(ARCHITECTURES))}",
        )
    weights = _weights(path)
    model = build(architecture, len(named), size=(spec.height, spec.width))
    if output == "sigmoid":
        model = _one_output(model, path)
    _pour(weights, model, architecture, path)
    kind = kind_of(architecture)
    return source_from_module(
        model, classes=named, heightmap=spec, architecture=architecture, kind=kind, output=output, sha256=file_sha256(path)
    )


def read_weights_only(data: bytes, what: str) -> Any:
    """What `torch.save` wrote, as long as it is tensors in plain containers. Raises ExportError, and runs no code of the file."""
    try:
        with torch.serialization.safe_globals([(_Items, "fastcore.foundation.L")]):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as exc:  # garbage makes the reader raise anything
        code = _GLOBAL.search(str(exc))
        if code is not None:
            raise ExportError(
                f"{what} holds more than weights, and loading it would execute code from the file",
                seen=code.group(1),
                remedy="Save it as torch.save(model.state_dict(), FILE), or give the Learner as .pkl with --trust-pickle",
            ) from exc
        if "TorchScript" in str(exc):
            raise ExportError(f"{what} is TorchScript", seen="a TorchScript archive", remedy="Export the network as ONNX or .pt2") from exc
        raise _unreadable(what, exc) from exc


def _unreadable(what: str, exc: Exception) -> ExportError:
    return ExportError(f"{what} cannot be read as a PyTorch file", seen=brief(exc, 160), remedy="Copy it again, or save it again")


def _weights(path: Path) -> dict[str, Tensor]:
    found = read_weights_only(read_bytes(path), str(path))
    for key in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        keys = [str(key) for key in found] if isinstance(found, Mapping) else [type(found).__name__]
        raise ExportError(f"{path} holds no state dict", seen=first_few(keys), remedy="Save it as torch.save(model.state_dict(), FILE)")
    return {str(name): value for name, value in found.items()}


def _pour(weights: dict[str, Tensor], model: nn.Module, architecture: str, path: Path) -> None:
    wanted = model.state_dict()
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in weights) and not all(name.startswith(prefix) for name in wanted):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    missing, strange = sorted(wanted.keys() - weights.keys()), sorted(weights.keys() - wanted.keys())
    bent = [
        f"{name} is {tuple(weights[name].shape)} instead of {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in weights and weights[name].shape != value.shape
    ]
    kinds = (("missing", missing), ("not part of it", strange), ("misshapen", bent))
    if missing or strange or bent:
        raise ExportError(
            f"the weights in {path} are not those of {architecture}",
            seen="; ".join(f"{len(names)} {kind}: {first_few(names)}" for kind, names in kinds if names),
            remedy="Give the --arch, the number of --classes and the heightmap size it was trained with",
        )
    model.load_state_dict(weights)


def _one_output(model: nn.Module, path: Path) -> nn.Module:
    """The network with its last Linear or Conv2d cut to one output."""
    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    parent, _, child = names[-1].rpartition(".")
    last = model.get_submodule(names[-1])
    if isinstance(last, nn.Linear):
        setattr(model.get_submodule(parent), child, nn.Linear(last.in_features, 1, bias=last.bias is not None))
        return model
    raise ExportError(
        f"the single output of {path} cannot be placed", seen=f"last layer {names[-1]}", remedy="Export it as .pt2 or ONNX instead"
    )
