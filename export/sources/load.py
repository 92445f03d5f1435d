"""Where a trained network comes from: the kind of file decides how it is read, and every kind becomes a Source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from export.sources.base import OUTPUTS, Output, Source, file_sha256, read_bytes
from export.sources.learner import from_learner
from export.sources.module import TorchSource, source_from_module
from export.sources.onnx_file import OnnxSource, from_onnx
from export.sources.program import ProgramSource, from_program
from export.sources.state import from_state_dict
from nets.architectures import kind_of
from nets.checkpoint import load_checkpoint

__all__ = ["OUTPUTS", "OnnxSource", "Output", "ProgramSource", "Source", "TorchSource", "load_source", "source_from_module"]
SUFFIXES = (".safetensors", ".pkl", ".pth", ".pt", ".pt2", ".onnx")


def load_source(
    path: Path,
    *,
    heightmap: HeightmapSpec | None = None,
    architecture: str | None = None,
    classes: Sequence[str] | None = None,
    output: Output = "logits",
    trust_pickle: bool = False,
) -> Source:
    """The network in `path`; docs/sources.md says what each kind of file needs besides. Raises ExportError naming what does not fit."""
    match path.suffix.lower():
        case ".safetensors":
            return _from_checkpoint(path)
        case ".pkl":
            return from_learner(path, heightmap, output, trusted=trust_pickle)
        case ".pth" | ".pt":
            return from_state_dict(path, heightmap, architecture, classes, output)
        case ".pt2":
            return from_program(path, heightmap, architecture, classes, output, trusted=trust_pickle)
        case ".onnx":
            return from_onnx(path, heightmap, architecture, classes, output)
    raise ExportError("this kind of file is no trained network", seen=path.name, remedy=f"Give one of: {', '.join(SUFFIXES)}")


def _from_checkpoint(path: Path) -> Source:
    read_bytes(path)
    found = load_checkpoint(path)
    return source_from_module(
        found.model,
        classes=found.classes,
        heightmap=found.heightmap,
        architecture=found.architecture,
        provenance=found.provenance,
        kind=kind_of(found.architecture),
        constants=found.constants,
        sha256=file_sha256(path),
    )
