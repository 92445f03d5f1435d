"""What every trained network offers the export, whatever file it came from."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge.bundle import Kind
from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from scans.folder import LABEL_FOLDERS

Output = Literal["logits", "probabilities", "sigmoid"]
"""What a network's answer means; `sigmoid`: one number, the second class's logit or probability."""
OUTPUTS: tuple[Output, ...] = get_args(Output)


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """A network with its meaning. `sha256` is that of the file it came from, or of its weights; `classes[i]` names score i."""

    architecture: str
    classes: tuple[str, ...]
    heightmap: HeightmapSpec
    sha256: str
    provenance: dict[str, str] = field(default_factory=dict)
    kind: Kind = "classifier"
    learner: Any | None = field(default=None, repr=False, compare=False)
    """The fastai Learner it came in, whose own pipeline the export compares the box's with."""

    @abstractmethod
    def to_onnx(self, *, embedding: bool = False) -> bytes:
        """FP32 ONNX, opset 19: u8 `heightmap` [1, 1, H, W] → f32 `scores` [1, classes], and f32 `embedding` [1, F] where asked for.

        No reshape fixes the batch, so the graph may be built for N heightmaps. Raises ExportError naming what does not fit.
        """

    @abstractmethod
    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities f32 [N, classes] of u8 [N, 1, H, W] by the source's own runtime."""


def labels(classes: Sequence[str]) -> tuple[str, ...]:
    """Class names with the known names of good and bad made equal; any other name (a typology) stays."""
    return tuple(LABEL_FOLDERS.get(name.lower(), name) for name in classes)


def require_classes(path: Path, classes: Sequence[str] | None, output: Output) -> tuple[str, ...]:
    """The names of a file that does not name its outputs itself. Raises ExportError."""
    named = labels(classes or ())
    if len(named) < 2 or len(set(named)) < len(named):
        raise ExportError(
            f"{path} does not name its classes",
            seen=named or "no --classes",
            remedy="Give --classes with one name per output, in their order: --classes bad,good",
        )
    if output == "sigmoid" and len(named) != 2:
        raise ExportError("a sigmoid tells two classes apart", seen=named, remedy="Give two --classes; the sigmoid is the second's")
    return named


def require_heightmap(path: Path, heightmap: HeightmapSpec | None) -> HeightmapSpec:
    """The spec given for a file that carries none. Raises ExportError."""
    if heightmap is None:
        raise ExportError(
            f"{path} does not say how its heightmaps are made", remedy="Give --heightmap FILE, or put heightmap.json next to the scans"
        )
    return heightmap


def require_finite(tensors: Mapping[str, NDArray[Any]], where: str) -> None:
    """Raises ExportError naming the first tensors that hold NaN or infinity, and how many of their values."""
    broken = [
        f"{name}: {int(values.size - np.isfinite(values).sum())} of {values.size}"
        for name, values in tensors.items()
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all()
    ]
    if broken:
        raise ExportError(
            f"{where} has weights that are NaN or infinite",
            seen=first_few(broken),
            remedy="Train it again with a lower learning rate, or take an earlier checkpoint",
        )


def first_few(items: Sequence[str], count: int = 3) -> str:
    """The first `count` items, and how many more there are."""
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return ", ".join(items[:count]) + more


def brief(error: BaseException, length: int = 300) -> str:
    """An error's text on one line, cut."""
    return " ".join(str(error).split())[:length] or type(error).__name__


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises ExportError when there are none."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ExportError(f"cannot read {path}", seen=exc.strerror, remedy="Check the path and the file's rights") from exc
    if not data:
        raise ExportError(f"{path} is empty", seen="0 bytes", remedy="Copy it again from its source")
    return data


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    return hashlib.sha256(read_bytes(path)).hexdigest()
