"""The arithmetic: OpenVINO with the product's own settings, one thread."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.inspector.engines.openvino import Compiler
from edge.inspector.engines.openvino_graph import guard_concats

Arrays = Mapping[str, NDArray[Any]]
_KEPT = 32
"""Compiled networks kept: tests load the same few again and again."""


@functools.cache
def _compiler() -> Compiler:
    return Compiler(threads=1)


def read_model(onnx: bytes) -> Any:
    """OpenVINO's model of an ONNX file. Raises RuntimeError."""
    return _compiler()._core.read_model(onnx)


@functools.lru_cache(maxsize=_KEPT)
def _compiled(onnx: bytes) -> Any:
    compiler, model = _compiler(), read_model(onnx)
    guard_concats(model, compiler._openvino.opset8)
    return compiler._core.compile_model(model, "CPU", compiler._settings)


class Numbers:
    """A compiled network. Raises RuntimeError for bytes that are none."""

    def __init__(self, onnx: bytes) -> None:
        self._compiled = _compiled(onnx)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it answers."""
        return tuple(name for port in self._compiled.outputs for name in port.get_names())

    def request(self) -> Request:
        """Something that runs it, with memory of its own."""
        return Request(self._compiled.create_infer_request())


class Request:
    """One execution at a time."""

    def __init__(self, request: Any) -> None:
        self._request = request

    def run(self, inputs: Arrays, outputs: tuple[str, ...]) -> dict[str, NDArray[Any]]:
        """The values of `outputs` by name. Raises RuntimeError."""
        for name, value in inputs.items():
            self._request.get_tensor(name).data[...] = value
        self._request.start_async()
        self._request.wait()
        return {name: np.array(self._request.get_tensor(name).data) for name in outputs}
