"""An ONNX file, from whatever framework; its reference answers come from onnxruntime on the file as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from calib.fold import tidy, to_bytes
from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from export.graph.checks import require_finite_weights, require_standard_domains, require_supported
from export.graph.rewrite import EMBEDDING, INPUT, OUTPUT
from export.graph.trace import OPSET
from export.sources.base import Output, brief, read_bytes, require_classes, require_heightmap
from export.sources.normalised import Graph, NormalisedSource, require_input

OLDEST_OPSET = 7


@dataclass(frozen=True, kw_only=True)
class OnnxSource(NormalisedSource):
    """`network`: the file's bytes, external data included; `channels` 1 or 3, `batch` 0 where it is free."""

    network: bytes = field(repr=False)
    channels: int
    batch: int

    @cached_property
    def graph(self) -> Graph:
        """The file's own graph."""
        return Graph(model=onnx.load_model_from_string(self.network), channels=self.channels, batch=self.batch)

    def answer(self, normalised: NDArray[np.float32]) -> NDArray[np.float32]:
        """By onnxruntime."""
        return _run(self._session, normalised)

    @cached_property
    def _session(self) -> Any:
        return _session(self.network, self.architecture)


@dataclass(frozen=True, kw_only=True)
class ReadyOnnxSource(OnnxSource):
    """A file in Cordon's own form already: u8 `heightmap` → f32 `scores`, perhaps f32 `embedding`."""

    def to_onnx(self, *, embedding: bool = False) -> bytes:
        """The file in canonical order. Raises ExportError when it has no embedding and should, or does not fit its classes."""
        model = tidy(self.graph.model)
        names = [value.name for value in model.graph.output]
        if embedding and EMBEDDING not in names:
            raise ExportError("the network gives no embedding", seen=names, remedy="Export it without embedding")
        for value in [value for value in model.graph.output if value.name == EMBEDDING and not embedding]:
            model.graph.output.remove(value)
        require_supported(model, self.architecture)
        scores = self.run(np.zeros((1, 1, self.heightmap.height, self.heightmap.width), np.uint8))
        if scores.shape != (1, len(self.classes)) or not np.isfinite(scores).all():
            raise ExportError(
                f"{self.architecture} does not give one finite score per class",
                seen=f"{scores.shape} for {len(self.classes)} classes",
                remedy="Give one name per output in --classes",
            )
        return to_bytes(tidy(model))

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """By onnxruntime, one heightmap after the other."""
        return np.concatenate([_run(self._session, image[None]) for image in images])


def from_onnx(
    path: Path, heightmap: HeightmapSpec | None, architecture: str | None, classes: Sequence[str] | None, output: Output
) -> OnnxSource:
    """Read and check the file. Raises ExportError naming what is no ONNX, no image classifier, or of another size."""
    named, spec = require_classes(path, classes, output), require_heightmap(path, heightmap)
    model, sha256 = _read(path)
    image = _only_input(model, path)
    shape = [d.dim_value or -1 for d in image.type.tensor_type.shape.dim]
    kind = image.type.tensor_type.elem_type
    ready = image.name == INPUT and kind == onnx.TensorProto.UINT8
    if not ready and kind != onnx.TensorProto.FLOAT:
        raise ExportError(
            f"{path} does not take float32 images",
            seen=onnx.TensorProto.DataType.Name(kind),
            remedy="Export it for normalised float32 images [N, 3, H, W]",
        )
    batch, channels = require_input(shape, spec, str(path)) if not ready else (_require_ready(shape, model, spec, path), 1)
    require_standard_domains(model, str(path))
    require_finite_weights(model, str(path))
    outputs = [value.name for value in model.graph.output]
    if not ready and len(outputs) != 1:
        raise ExportError(f"{path} has more than one output", seen=outputs, remedy="Export it with its class scores only")
    return (ReadyOnnxSource if ready else OnnxSource)(
        architecture=architecture or "onnx",
        classes=named,
        heightmap=spec,
        sha256=sha256,
        provenance={"framework": f"{model.producer_name} {model.producer_version}".strip()},
        output=output,
        network=to_bytes(model),
        channels=channels,
        batch=batch,
    )


def _read(path: Path) -> tuple[onnx.ModelProto, str]:
    """The model with its external data in it, and the SHA-256 of all its bytes."""
    data = read_bytes(path)
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as exc:
        raise ExportError(f"{path} is not an ONNX file", seen=f"{len(data)} bytes", remedy="Export the network again") from exc
    if not model.graph.node or not model.graph.output:
        raise ExportError(f"{path} holds no graph", seen=f"{len(data)} bytes", remedy="Export the network again")
    opset = next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < OLDEST_OPSET:
        raise ExportError(f"{path} is too old", seen=f"opset {opset}", remedy=f"Export it with opset {OLDEST_OPSET} or later, best 17")
    outside = any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)
    if not outside:
        return model, hashlib.sha256(data).hexdigest()
    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as exc:
        raise ExportError(
            f"the weights that {path} keeps in files of their own cannot be read", seen=brief(exc), remedy="Copy those files next to it"
        ) from exc
    return model, hashlib.sha256(to_bytes(model)).hexdigest()


def _only_input(model: onnx.ModelProto, path: Path) -> onnx.ValueInfoProto:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise ExportError(f"{path} does not take exactly one image", seen=[i.name for i in inputs], remedy="Export it with one input")
    return inputs[0]


def _require_ready(shape: list[int], model: onnx.ModelProto, spec: HeightmapSpec, path: Path) -> int:
    opset = next((int(o.version) for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if shape != [1, 1, spec.height, spec.width] or model.graph.output[0].name != OUTPUT or opset != OPSET:
        raise ExportError(
            f"{path} takes a u8 heightmap, but not as Cordon's own files do",
            seen=f"input {shape}, output {model.graph.output[0].name}, opset {opset}",
            remedy=f"Wanted: input [1, 1, {spec.height}, {spec.width}], output {OUTPUT}, opset {OPSET}",
        )
    return 1


def _session(network: bytes, name: str) -> Any:
    import onnxruntime  # type: ignore[import-untyped]  # noqa: PLC0415 - checks come first

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # onnxruntime's errors have no common base
        raise ExportError(f"onnxruntime cannot run {name}", seen=brief(exc), remedy="Export the network again") from exc


def _run(session: Any, images: NDArray[Any]) -> NDArray[np.float32]:
    try:
        answer: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: images})[0]
    except Exception as exc:  # as above
        raise ExportError(
            "the network cannot take heightmaps of this size",
            seen=f"{images.shape}: {brief(exc)}",
            remedy="Use the heightmap spec the network was trained with",
        ) from exc
    return answer
