"""The names of a graph's inputs and outputs, and the check that a graph answers as the network it came from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.errors import ExportError
from export.graph.rewrite import EMBEDDING, INPUT, OUTPUT
from export.graph.trace import OPSET
from export.sources.load import Source

__all__ = ["EMBEDDING", "INPUT", "OPSET", "OUTPUT", "export_onnx", "require_same_as_torch", "run_torch"]
TORCH_TOLERANCE = 1e-3
"""Largest difference of a probability between the source's own runtime and the exported graph."""


def export_onnx(source: Source) -> bytes:
    """The FP32 graph, opset 19, static batch of one. Raises ExportError naming what does not fit."""
    return source.to_onnx()


def run_torch(source: Source, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities [N, classes] of u8 [N, 1, H, W] by the source's own runtime."""
    return source.run(images)


def require_same_as_torch(onnx_answers: NDArray[np.float32], torch_answers: NDArray[np.float32]) -> float:
    """Largest difference of any probability. Raises ExportError above the tolerance."""
    difference = float(np.abs(onnx_answers - torch_answers).max())
    if not difference <= TORCH_TOLERANCE:
        raise ExportError(
            "the ONNX graph answers differently from PyTorch",
            seen=f"{difference:.5f}, allowed {TORCH_TOLERANCE:g}",
            remedy="Put the network into eval mode and avoid operators that depend on data",
        )
    return difference
