"""A PyTorch module as an ONNX graph, and which operator of which submodule stands in the way when there is none."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from calib.quantise import read_model
from edge.errors import ExportError
from export.sources.base import brief

OPSET = 19
_OPERATORS = (re.compile(r"aten::(\w+)"), re.compile(r"operator '?(\w+)"))
_REMEDY = "Replace that operator in the network, or export the network as ONNX yourself"


def trace(module: nn.Module, example: Tensor, inputs: Sequence[str], outputs: Sequence[str], *, name: str) -> onnx.ModelProto:
    """`module` on inputs of the shape of `example`, opset 19, weights as initialisers; node names contain the submodule's path.

    PyTorch's tracing exporter comes first, because its graphs are the ones the INT8 tools know best (a pooling is one pooling); the
    torch.export one is asked where tracing knows no ONNX form of an operator, as for programs decomposed into core ATen.
    Raises ExportError naming operator and submodule, or the place where the network's path depends on the data.
    """
    options: dict[str, Any] = {"input_names": list(inputs), "output_names": list(outputs), "opset_version": OPSET}
    with _silence() as seen:
        try:
            buffer: Any = io.BytesIO()  # torch takes it, its annotation does not
            torch.onnx.export(module, (example,), buffer, dynamo=False, **options)
            model = read_model(buffer.getvalue())
        except torch.onnx.errors.UnsupportedOperatorError as exc:
            model = _by_torch_export(module, example, options, _refused(module, example, exc, name), exc)
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as exc:
            raise _refused(module, example, exc, name) from exc
    doubts = [str(w.message) for w in seen if w.category.__name__ == "TracerWarning" and "Python" in str(w.message)]
    if doubts:
        _require_one_path(module, example, name)
    return model


def _by_torch_export(
    module: nn.Module, example: Tensor, options: dict[str, Any], refused: ExportError, cause: Exception
) -> onnx.ModelProto:
    try:
        program = torch.onnx.export(module, (example,), dynamo=True, verbose=False, optimize=True, external_data=False, **options)
    except (RuntimeError, torch.onnx.errors.OnnxExporterError):
        raise refused from cause
    if program is None:
        raise refused from cause
    model: onnx.ModelProto = program.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")  # source lines, with the paths of this machine
    return model


def _require_one_path(module: nn.Module, example: Tensor, name: str) -> None:
    """The tracer warned of an `if`: harmless when it asks for shapes, wrong for other images when it asks for values."""
    try:
        with _silence():
            torch.export.export(module, (example,), strict=False)
    except Exception as exc:  # torch.export's errors have no common base
        raise ExportError(
            f"{name} takes another path through its layers for other images, which a fixed graph cannot",
            seen=brief(exc),
            remedy="Replace the `if` or loop over tensor values by torch.where or by fixed shapes",
        ) from exc


def _refused(module: nn.Module, example: Tensor, exc: Exception, name: str) -> ExportError:
    operator = next((found.group(1) for pattern in _OPERATORS if (found := pattern.search(str(exc)))), "")
    where = _where(module, example, operator) if operator else ""
    what = f"{name} cannot be written as ONNX" + (f": operator {operator} in {where}" if operator else "")
    return ExportError(what, seen=brief(exc), remedy=_REMEDY)


def _where(module: nn.Module, example: Tensor, operator: str) -> str:
    """The submodule whose forward calls `operator`, as a path like layer1.0.conv."""
    try:
        with torch.no_grad():
            traced: Any = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]
            graph = traced.inlined_graph
    except RuntimeError:
        return "an unknown module"
    scopes = [node.scopeName() for node in graph.findAllNodes(f"aten::{operator}")]
    return (scopes[0].split("/")[-1].removeprefix("__module.").removeprefix("body.") if scopes else "") or "the network itself"


@contextlib.contextmanager
def _silence() -> Iterator[list[warnings.WarningMessage]]:
    """Both exporters talk a lot; their warnings are kept, not shown."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(record=True) as seen,
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            _closed_terminal(),
        ):
            warnings.simplefilter("always")
            yield seen
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def _closed_terminal() -> Iterator[None]:
    """The C++ half of the exporter prints whole graphs when it fails, past Python's own streams."""
    with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a device
        kept = [(number, os.dup(number)) for number in (1, 2)]
        try:
            for number, _ in kept:
                os.dup2(nothing.fileno(), number)
            yield
        finally:
            for number, copy in kept:
                os.dup2(copy, number)
                os.close(copy)
