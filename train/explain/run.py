"""A checkpoint's maps of prepared heightmaps, and the small things their files need."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from edge.errors import ExportError
from nets.architectures import kind_of
from nets.checkpoint import Checkpoint
from train.explain.activations import Maps, Method, activation_maps
from train.scoring import normalised

BATCH = 16


def explained(checkpoint: Checkpoint, grays: Sequence[NDArray[np.uint8]], label: str, method: Method) -> tuple[Maps, Maps]:
    """Probabilities f32 [N, classes] and maps f32 [N, h, w] of heightmaps u8 [H, W] for class `label`. Raises ExportError."""
    kind = kind_of(checkpoint.architecture)
    if kind != "classifier":
        raise ExportError("only classifiers are explained", seen=f"{checkpoint.architecture}, {kind}", remedy="Give a classifier")
    images, spec, scores, maps = np.stack(grays)[:, None], checkpoint.heightmap, [], []
    for start in tqdm(range(0, len(images), BATCH), desc=method, unit="batch", leave=False, disable=None):
        batch = normalised(torch.from_numpy(images[start : start + BATCH]), spec.mean, spec.std)
        found = activation_maps(checkpoint.model, batch, checkpoint.classes.index(label), method)
        scores.append(found[0])
        maps.append(found[1])
    return np.concatenate(scores), np.concatenate(maps)


def file_name(name: str) -> str:
    """A scan's name as one file's: folders and suffix become part of it."""
    return name.rsplit(".", 1)[0].replace("/", "_")


def csv_line(*cells: object) -> str:
    """One line of CSV without its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def npy_bytes(cells: Maps) -> bytes:
    """The map as NPY."""
    file = io.BytesIO()
    np.save(file, cells)
    return file.getvalue()
