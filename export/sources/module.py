"""Networks that run in PyTorch: a module in hand, whatever file it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from calib.fold import to_bytes
from edge.bundle import Kind
from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from export.graph.checks import require_finite_weights, require_supported
from export.graph.inspection import inspection_of
from export.graph.pools import fixed_pools
from export.graph.rewrite import EMBEDDING, INPUT, OUTPUT, free_batch
from export.graph.trace import trace
from export.sources.answer import as_logits
from export.sources.base import Output, Source, brief, labels, require_finite


@dataclass(frozen=True, kw_only=True)
class TorchSource(Source):
    """`model` (f32 [N, C, H, W] normalised → logits, or what its kind answers) and the tensors its kind needs besides."""

    model: nn.Module = field(repr=False, compare=False)
    constants: Mapping[str, Tensor] = field(default_factory=dict, repr=False, compare=False)
    """Reference embeddings of a siamese network, the error's scale of an autoencoder."""

    def __post_init__(self) -> None:
        tensors = {**self.model.state_dict(), **self.constants}
        require_finite({name: value.detach().cpu().numpy() for name, value in tensors.items()}, self.architecture)

    def to_onnx(self, *, embedding: bool = False) -> bytes:
        """FP32 ONNX, see Source. Raises ExportError naming classes, size, operator or weights that do not fit."""
        module = self._module(embedding=embedding)
        example = torch.zeros((1, 1, self.heightmap.height, self.heightmap.width), dtype=torch.uint8)
        self._require_fit(module, example)
        outputs = [OUTPUT, EMBEDDING] if embedding else [OUTPUT]
        model = free_batch(trace(fixed_pools(module, example), example, [INPUT], outputs, name=self.architecture))
        require_supported(model, self.architecture)
        require_finite_weights(model, self.architecture)
        return to_bytes(model)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities f32 [N, classes] of u8 [N, 1, H, W] by PyTorch."""
        module = self._module(embedding=False)
        with torch.inference_mode():
            answers: NDArray[np.float32] = torch.cat([module(torch.from_numpy(image[None])) for image in images]).numpy()
        return answers

    def _module(self, *, embedding: bool) -> nn.Module:
        return inspection_of(self.model, self.heightmap, self.kind, self.constants, embedding=embedding).eval()

    def _require_fit(self, module: nn.Module, example: Tensor) -> None:
        try:
            with torch.inference_mode():
                answer = module(example)
        except RuntimeError as exc:
            raise ExportError(
                f"{self.architecture} cannot take heightmaps of {tuple(example.shape[2:])}",
                seen=brief(exc),
                remedy="Use the heightmap spec the network was trained with",
            ) from exc
        scores = answer[0] if isinstance(answer, tuple) else answer
        if tuple(scores.shape) != (1, len(self.classes)) or not bool(torch.isfinite(scores).all()):
            raise ExportError(
                f"{self.architecture} does not give one finite score per class",
                seen=f"{tuple(scores.shape)} for {len(self.classes)} classes",
                remedy="Give the classes in the order of the network's output",
            )


def source_from_module(
    model: nn.Module,
    *,
    classes: Sequence[str],
    heightmap: HeightmapSpec,
    architecture: str = "",
    provenance: dict[str, str] | None = None,
    kind: Kind = "classifier",
    constants: Mapping[str, Tensor] | None = None,
    output: Output = "logits",
    sha256: str = "",
    learner: Any | None = None,
) -> TorchSource:
    """A module as it is in memory; `sha256` is that of its weights where none is given. Raises ExportError for weights like NaN."""
    model = model.cpu().float().eval()
    digest = sha256 or _weights_sha256(model)
    made = TorchSource(
        model=model,
        architecture=architecture or type(model).__name__,
        classes=labels(classes),
        heightmap=heightmap,
        sha256=digest,
        provenance=provenance or {},
        kind=kind,
        constants=constants or {},
        learner=learner,
    )
    return made if kind != "classifier" else _with_logits(made, output)


def _with_logits(source: TorchSource, output: Output) -> TorchSource:
    logits = as_logits(source.model, source.heightmap, output)
    return source if logits is source.model else TorchSource(**{**vars(source), "model": logits})


def _weights_sha256(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
