"""A fastai Learner from a pickle, which is only opened when its origin is vouched for."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from edge.errors import ExportError
from edge.inspector.heightmap.spec import HeightmapSpec
from export.sources.base import Output, Source, file_sha256, read_bytes
from export.sources.module import source_from_module


def from_learner(path: Path, heightmap: HeightmapSpec | None, output: Output, *, trusted: bool) -> Source:
    """The Learner's network, its classes, and the spec read out of its transforms. Raises ExportError unless `trusted`."""
    if not trusted:
        raise ExportError(
            f"{path} is a pickle: loading it executes whatever code it contains",
            seen="no --trust-pickle",
            remedy="Give --trust-pickle if you made the file yourself, or export a .safetensors checkpoint",
        )
    from export.sources.pixels import spec_of  # noqa: PLC0415 - fastai takes seconds that other sources need not pay

    learner = _unpickled(path)
    return source_from_module(
        learner.model,
        classes=_vocabulary(learner, path),
        heightmap=spec_of(learner, heightmap),
        output=output,
        sha256=file_sha256(path),
        learner=learner,
    )


def _unpickled(path: Path) -> Any:
    read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fastai warns about pickles, which the user has just agreed to
            from fastai.learner import load_learner  # noqa: PLC0415 - takes seconds, and warns of its own imports

            return load_learner(path, cpu=True)
    except Exception as exc:  # a pickle may raise anything
        raise ExportError(
            f"{path} cannot be loaded as a Learner", seen=repr(exc), remedy="Import the modules it was trained with, or save it again"
        ) from exc


def _vocabulary(learner: Any, path: Path) -> list[str]:
    try:
        return [str(name) for name in learner.dls.vocab]
    except (AttributeError, TypeError) as exc:
        raise ExportError(f"{path} has no class names", seen=exc, remedy="Export a Learner whose targets are categories") from exc
