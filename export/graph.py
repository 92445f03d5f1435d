"""A trained network as one FP32 ONNX graph with everything from the heightmap's bytes to the probabilities inside."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from calib.fold import tidy, to_bytes
from calib.quantise import read_model
from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from export.source import Source

OPSET = 19
INPUT, OUTPUT = "heightmap", "scores"
TORCH_TOLERANCE = 1e-3
"""Largest difference of a probability between PyTorch and the exported graph."""


class InspectionModule(nn.Module):
    """u8 [1, 1, H, W] → probabilities f32 [1, classes]."""

    scale: Tensor
    shift: Tensor

    def __init__(self, body: nn.Module, spec: HeightmapSpec) -> None:
        super().__init__()
        mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
        self.body = body
        # (x / 255 - mean) / std as one multiplication and one addition, whose broadcasting also makes the three channels.
        self.register_buffer("scale", (1.0 / (255.0 * std)).reshape(1, 3, 1, 1))
        self.register_buffer("shift", (-mean / std).reshape(1, 3, 1, 1))

    def forward(self, heightmap: Tensor) -> Tensor:
        """Normalise, run the body, softmax."""
        return torch.softmax(self.body(heightmap.float() * self.scale + self.shift), dim=1)


def export_onnx(source: Source) -> bytes:
    """The FP32 graph, opset 19, static batch of one. Raises ExportError when the network does not fit its classes or cannot be traced."""
    spec = source.heightmap
    module = InspectionModule(source.model, spec).eval()
    example = torch.zeros((1, 1, spec.height, spec.width), dtype=torch.uint8)
    _require_fit(module, example, source)
    buffer: Any = io.BytesIO()  # torch takes it, its annotation does not
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing warns about itself
            torch.onnx.export(module, (example,), buffer, input_names=[INPUT], output_names=[OUTPUT], opset_version=OPSET, dynamo=False)
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as exc:
        seen = " ".join(str(exc).split())[:300]
        raise ExportError(f"{source.architecture} cannot be written as ONNX", seen=seen, remedy="Use static shapes only") from exc
    return to_bytes(tidy(read_model(buffer.getvalue())))


def run_torch(source: Source, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities [N, classes] of u8 [N, 1, H, W] by PyTorch itself."""
    module = InspectionModule(source.model, source.heightmap).eval()
    with torch.inference_mode():
        answers: NDArray[np.float32] = torch.cat([module(torch.from_numpy(image[None])) for image in images]).numpy()
    return answers


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


def _require_fit(module: nn.Module, example: Tensor, source: Source) -> None:
    try:
        with torch.inference_mode():
            answer = module(example)
    except RuntimeError as exc:
        raise ExportError(
            f"{source.architecture} cannot take heightmaps of {tuple(example.shape[2:])}",
            seen=" ".join(str(exc).split())[:300],
            remedy="Use the heightmap spec the network was trained with",
        ) from exc
    if tuple(answer.shape) != (1, len(source.classes)) or not bool(torch.isfinite(answer).all()):
        raise ExportError(
            f"{source.architecture} does not give one finite score per class",
            seen=f"{tuple(answer.shape)} for {len(source.classes)} classes",
            remedy="Give the classes in the order of the network's output",
        )
