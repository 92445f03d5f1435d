"""A trained network in one .safetensors file: weights, and in its metadata all that is needed to use them again."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from edge.errors import ConfigError, ExportError
from edge.inspector.heightmap.spec import HeightmapSpec, spec_from_json, spec_to_json
from nets.architectures import build

FORMAT = "cordon-checkpoint-1"
CONSTANT = "constant/"
"""Before the names of `Checkpoint.constants` among the file's tensors; they keep their type."""
KEY = "cordon"
"""The one entry of the file's metadata, a JSON object."""
_REMEDY = "Train it again with `cordon train`, or copy the file again from its source"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A network with what it was trained for. `classes[i]` names output i; a typology's are ("bad", "good")."""

    architecture: str
    classes: tuple[str, ...]
    heightmap: HeightmapSpec
    model: nn.Module
    provenance: dict[str, str] = field(default_factory=dict)
    """Where it comes from: data, options, seed and figures, as short strings."""
    constants: dict[str, Tensor] = field(default_factory=dict)
    """What the kind of network needs beside its weights: a siamese's reference scans, an autoencoder's error scale and map."""


def save_checkpoint(checkpoint: Checkpoint, path: Path, *, half: bool = False) -> None:
    """Write one .safetensors file, atomically. Kernels become float16 with `half`; biases and statistics stay float32.

    Raises ExportError when the file cannot be written.
    """
    tensors = {name: _stored(value, half=half) for name, value in checkpoint.model.state_dict().items()}
    tensors |= {CONSTANT + name: _stored(value, half=False) for name, value in checkpoint.constants.items()}
    facts = {
        "format": FORMAT,
        "architecture": checkpoint.architecture,
        "classes": checkpoint.classes,
        "heightmap": spec_to_json(checkpoint.heightmap).decode(),
        "provenance": checkpoint.provenance,
    }
    # One key, because the file format shuffles several and equal checkpoints should be equal files.
    metadata = {KEY: json.dumps(facts, sort_keys=True)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(save(tensors, metadata=metadata))
        temporary.replace(path)
    except (OSError, SafetensorError) as exc:
        raise ExportError(f"cannot write the checkpoint {path}", seen=exc, remedy="Check the folder's rights and free space") from exc


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote: float32 weights, `eval()` mode, on the CPU. Raises ExportError naming the file."""
    facts, tensors = _read(path)
    try:
        classes = tuple(str(name) for name in facts["classes"])
        heightmap = spec_from_json(facts["heightmap"].encode())
        model = build(facts["architecture"], len(classes), size=(heightmap.height, heightmap.width))
        model.load_state_dict({name: value for name, value in tensors.items() if not name.startswith(CONSTANT)})
        return Checkpoint(
            architecture=facts["architecture"],
            classes=classes,
            heightmap=heightmap,
            model=model.eval(),
            provenance=dict(facts["provenance"]),
            constants={name.removeprefix(CONSTANT): value for name, value in tensors.items() if name.startswith(CONSTANT)},
        )
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, ConfigError) as exc:
        raise ExportError(f"{path} does not hold a whole checkpoint", seen=exc, remedy=_REMEDY) from exc


def _stored(value: Tensor, *, half: bool) -> Tensor:
    kept = value.detach().cpu().contiguous()
    return kept.half() if half and kept.is_floating_point() and kept.ndim > 1 else kept


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            facts = json.loads((file.metadata() or {}).get(KEY, "{}"))
    except (OSError, ValueError, SafetensorError) as exc:
        raise ExportError(f"cannot read the checkpoint {path}", seen=exc, remedy=_REMEDY) from exc
    if facts.get("format") != FORMAT:
        raise ExportError(f"{path} is not a checkpoint of this project", seen=facts.get("format", "no format"), remedy=_REMEDY)
    return facts, {name: value.float() if value.dtype == torch.float16 else value for name, value in tensors.items()}
