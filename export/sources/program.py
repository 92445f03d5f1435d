"""A program saved by torch.export (.pt2): the graph PyTorch captured, with its weights."""

from __future__ import annotations

import contextlib
import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from export.graph.trace import trace
from export.sources.base import Output, brief, file_sha256, read_bytes, require_classes, require_finite, require_heightmap
from export.sources.normalised import Graph, NormalisedSource, require_input
from export.sources.program_safety import require_only_tensors

_TRAINING = {"batch_norm": 5, "dropout": 2, "feature_dropout": 2, "native_dropout": 2, "instance_norm": 5}
"""Operators with an argument at this place that is true in training."""


@dataclass(frozen=True, kw_only=True)
class ProgramSource(NormalisedSource):
    """`module`: the program as a PyTorch module; `channels` 1 or 3, `batch` 0 where it is free."""

    module: nn.Module = field(repr=False, compare=False)
    channels: int
    batch: int

    @cached_property
    def graph(self) -> Graph:
        """The program traced to ONNX."""
        shape = (max(1, self.batch), self.channels, self.heightmap.height, self.heightmap.width)
        model = trace(self.module, torch.zeros(shape), ["image"], ["answer"], name=self.architecture)
        return Graph(model=model, channels=self.channels, batch=max(1, self.batch))

    def answer(self, normalised: NDArray[np.float32]) -> NDArray[np.float32]:
        """By PyTorch."""
        with torch.inference_mode():
            answer: NDArray[np.float32] = self.module(torch.from_numpy(normalised)).numpy()
        return answer


def from_program(
    path: Path,
    heightmap: HeightmapSpec | None,
    architecture: str | None,
    classes: Sequence[str] | None,
    output: Output,
    *,
    trusted: bool,
) -> ProgramSource:
    """Load and check the program. Raises ExportError for code in the file (unless `trusted`), other sizes, or training mode."""
    named, spec = require_classes(path, classes, output), require_heightmap(path, heightmap)
    read_bytes(path)
    if not trusted:
        require_only_tensors(path)
    program = _load(path)
    shape = _input_shape(program, path)
    batch, channels = require_input(shape, spec, str(path))
    _require_evaluating(program, path)
    module = _module(program)
    weights = {name: value.detach().cpu().numpy() for name, value in module.state_dict().items()}
    require_finite(weights, str(path))
    return ProgramSource(
        architecture=architecture or "torch.export",
        classes=named,
        heightmap=spec,
        sha256=file_sha256(path),
        output=output,
        module=module,
        channels=channels,
        batch=batch,
    )


def _load(path: Path) -> Any:
    try:
        with _quiet():
            return torch.export.load(path)
    except Exception as exc:  # the reader has no errors of its own
        raise ExportError(
            f"{path} cannot be loaded as a torch.export program",
            seen=brief(exc),
            remedy=f"Save it from the CPU with the PyTorch of this machine, {torch.__version__}, or export the network as ONNX",
        ) from exc


def _input_shape(program: Any, path: Path) -> list[int]:
    """The only input's [N, C, H, W], -1 for free axes."""
    names = list(program.graph_signature.user_inputs)
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    images = [value for value in values if isinstance(value, torch.Tensor)]
    if len(names) != 1 or len(images) != 1 or len(program.graph_signature.user_outputs) != 1:
        raise ExportError(
            f"{path} is not a network of one image and one answer",
            seen=f"inputs {names}, outputs {list(program.graph_signature.user_outputs)}",
            remedy="Export it with one input and its class scores only",
        )
    if images[0].dtype != torch.float32:
        raise ExportError(f"{path} does not take float32 images", seen=images[0].dtype, remedy="Export it for normalised float32 images")
    return [axis if isinstance(axis, int) else -1 for axis in images[0].shape]


def _require_evaluating(program: Any, path: Path) -> None:
    """A program keeps for ever the mode it was captured in; in training mode the answer depends on the other images."""
    training = sorted(program.graph_signature.buffers_to_mutate.values())
    for node in program.graph.nodes:
        name = getattr(getattr(node.target, "overloadpacket", None), "__name__", "")
        place = _TRAINING.get(name)
        if place is not None and len(node.args) > place and node.args[place] is True:
            training.append(str(node.name))
    if training:
        raise ExportError(
            f"{path} was exported in training mode",
            seen=training[0],
            remedy="Call model.eval() before torch.export.export, and save it again",
        )


def _module(program: Any) -> nn.Module:
    """A plain module without guards: they are code of the file's own, and sizes were checked above."""
    free = {"check_guards": False} if "check_guards" in inspect.signature(program.module).parameters else {}
    with _quiet():
        unlifted = program.module(**free)
        module = torch.fx.GraphModule(unlifted, unlifted.graph).eval()
    for parameter in module.parameters():
        parameter.requires_grad = False
    return module


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
