"""Figures written beside a checkpoint, so that a file found later can say how good it was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from edge.errors import DatasetError


def metrics_path(checkpoint: Path) -> Path:
    """Where the figures of `NAME.safetensors` lie: NAME.metrics.json."""
    return checkpoint.with_suffix(".metrics.json")


def save_json(values: Mapping[str, object], path: Path) -> None:
    """Write indented JSON, atomically. Raises DatasetError when the folder cannot be written."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as exc:
        raise DatasetError(f"cannot write {path}", seen=exc.strerror, remedy="Check the folder's rights and free space") from exc
