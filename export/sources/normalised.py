"""Networks that come as a fixed graph of normalised floats: how heightmaps get in and probabilities out."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import NDArray

from calib.fold import to_bytes
from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from export.graph.checks import require_supported
from export.graph.rewrite import ending_of, inspection_graph, probabilities, static_batch_of_one
from export.sources.base import Output, Source


@dataclass(frozen=True, kw_only=True)
class Graph:
    """An f32 network graph with the batch it was made for; 0 where the batch is free."""

    model: onnx.ModelProto
    channels: int
    batch: int


@dataclass(frozen=True, kw_only=True)
class NormalisedSource(Source):
    """A graph f32 [N, 1 or 3, H, W] normalised → answer, which `output` explains."""

    output: Output = "logits"

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """The network as it came, as ONNX."""

    @abstractmethod
    def answer(self, normalised: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the network says of f32 [batch, channels, H, W], by its own runtime."""

    @cached_property
    def static(self) -> onnx.ModelProto:
        """The checked graph at batch one. Raises ExportError naming the operator that does not fit."""
        size = (self.heightmap.height, self.heightmap.width)
        model = static_batch_of_one(self.graph.model, self.graph.channels, size, max(1, self.graph.batch))
        require_supported(model, self.architecture)
        return model

    def to_onnx(self, *, embedding: bool = False) -> bytes:
        """FP32 ONNX, see Source. Raises ExportError naming what does not fit."""
        self._require_fit()
        return to_bytes(inspection_graph(self.static, self.heightmap, self.output, embedding=embedding))

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities f32 [N, classes] of u8 [N, 1, H, W] by the runtime of the file's own kind."""
        return probabilities(self._answers(images), ending_of(self.static), self.output)

    def _answers(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        batch = max(1, self.graph.batch)
        parts = []
        for start in range(0, len(images), batch):
            part = images[start : start + batch]
            padded = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
            parts.append(self.answer(normalise(padded, self.heightmap, self.graph.channels))[: len(part)])
        return np.concatenate(parts)

    def _require_fit(self) -> None:
        size = (self.heightmap.height, self.heightmap.width)
        noise = np.random.default_rng(0).integers(0, 256, (1, 1, *size), dtype=np.uint8)
        raw = self._answers(noise)
        wanted = 1 if self.output == "sigmoid" else len(self.classes)
        if raw.size != wanted or not np.isfinite(raw).all():
            raise ExportError(
                f"{self.architecture} does not give one finite score per class",
                seen=f"output {raw.shape}, finite: {bool(np.isfinite(raw).all())}, for {len(self.classes)} classes",
                remedy="Give one name per output in --classes, or --output sigmoid where one number stands for two classes",
            )
        ending = ending_of(self.static)
        if ending == "Sigmoid" and self.output != "sigmoid":
            raise ExportError(
                "the network gives every class a sigmoid of its own, and such scores do not add up to one",
                seen=f"output {raw.shape} of a Sigmoid",
                remedy="Export the network without its last sigmoid, or train it with a softmax",
            )
        scores = probabilities(raw, ending, self.output)
        if not (np.abs(scores.sum(axis=1) - 1) < 1e-3).all() or scores.min() < 0:
            raise ExportError(
                f"the scores of {self.architecture} are no probabilities",
                seen=np.array2string(scores[0], precision=4),
                remedy="Leave --output probabilities out: the network gives logits",
            )


def normalise(images: NDArray[np.uint8], spec: HeightmapSpec, channels: int) -> NDArray[np.float32]:
    """u8 [N, 1, H, W] → (gray / 255 - mean) / std, f32 [N, channels, H, W]."""
    mean, std = (np.array(values[:channels], np.float32).reshape(1, channels, 1, 1) for values in (spec.mean, spec.std))
    normalised: NDArray[np.float32] = (images.astype(np.float32) / np.float32(255) - mean) / std
    return normalised


def require_input(shape: list[int], spec: HeightmapSpec, what: str) -> tuple[int, int]:
    """Batch (0: free) and channels of an input [N, 1 or 3, H, W], -1 or 0 for free axes. Raises ExportError for any other."""
    fits = len(shape) == 4 and shape[1] in {1, 3}
    if not fits:
        raise ExportError(
            f"{what} does not take images [N, 3, H, W] or [N, 1, H, W]", seen=shape, remedy="Export it with the channels second and fixed"
        )
    if any(axis > 0 and axis != size for axis, size in zip(shape[2:], (spec.height, spec.width), strict=True)):
        raise ExportError(
            f"{what} takes images of another size than the heightmap spec gives",
            seen=f"{shape[2]} x {shape[3]}, spec {spec.height} x {spec.width}",
            remedy="Use the heightmap spec the network was trained with, or export the network for that size",
        )
    if shape[1] == 1 and len({*spec.mean}) + len({*spec.std}) > 2:
        raise ExportError(
            f"{what} takes one channel, the heightmap spec normalises three differently",
            seen=f"mean {spec.mean}, std {spec.std}",
            remedy="Give the heightmap spec three equal means and three equal deviations",
        )
    return max(0, shape[0]), shape[1]
