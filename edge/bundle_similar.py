"""Known welds by their feature vectors: the file that export puts into a bundle, and the search for those nearest to a new one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.errors import BundleContentError, ExportError

MAX_VALUES = 1 << 28
"""Most numbers of one file: 512 MiB of float16."""
Features = NDArray[np.float32]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """MessagePack map; `embeddings` is little-endian float16, [welds, features] row by row, every row of length 1."""

    format: Literal[1]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    features: int
    embeddings: bytes


@dataclass(frozen=True, kw_only=True)
class KnownWelds:
    """What `pack_similar` packed; `directions` f32 [N, F] are the embeddings scaled to length 1, to float16's precision."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    directions: Features


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """A known weld and its cosine distance, 0 (same direction) to 2 (opposite), to the one asked about."""

    name: str
    label: str
    distance: float


def pack_similar(names: Sequence[str], labels: Sequence[str], embeddings: Features) -> bytes:
    """The file's bytes for f32 [N, F]; equal inputs give equal bytes. Raises ExportError: nothing to pack, NaN, or a zero vector."""
    counts = (len(names), len(labels), *embeddings.shape)
    if not (embeddings.ndim == 2 and len(names) == len(labels) == len(embeddings) and 0 < embeddings.size <= MAX_VALUES):
        raise ExportError(
            "known welds need a name, a label and an embedding each", seen=counts, remedy="Give N names, N labels and embeddings [N, F]"
        )
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        index = int(np.flatnonzero(~(np.isfinite(lengths) & (lengths > 0)))[0])
        raise ExportError(
            f"the embedding of {names[index]} has no direction", seen=float(lengths[index, 0]), remedy="Check the network's features"
        )
    directions = (embeddings / lengths).astype("<f2")
    file = _File(format=1, names=tuple(names), labels=tuple(labels), features=embeddings.shape[1], embeddings=directions.tobytes())
    return msgspec.msgpack.encode(file)


def unpack_similar(data: bytes | memoryview) -> KnownWelds:
    """Read what `pack_similar` gave. Raises BundleContentError."""
    try:
        file = msgspec.msgpack.decode(data, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise _unusable(exc) from exc
    count = len(file.names)
    if not (file.features > 0 and count == len(file.labels) > 0 and len(file.embeddings) == 2 * count * file.features):
        raise _unusable(f"{count} names, {len(file.labels)} labels, {len(file.embeddings)} bytes for {file.features} features")
    directions = np.frombuffer(file.embeddings, "<f2").reshape(count, file.features).astype(np.float32)
    if not np.isfinite(directions).all():
        raise _unusable("values that are no numbers")
    return KnownWelds(names=file.names, labels=file.labels, directions=directions)


def nearest(known: KnownWelds, embedding: Features, count: int) -> tuple[Neighbour, ...]:
    """The `count` known welds nearest to `embedding` f32 (F,), nearest first, by 1 - cos. Raises BundleContentError."""
    length = float(np.linalg.norm(embedding.astype(np.float64)))
    if embedding.shape != known.directions.shape[1:] or not 0 < length < np.inf:
        raise _unusable(f"embedding {embedding.shape} of length {length:g}, known welds {known.directions.shape}")
    lengths = np.maximum(np.linalg.norm(known.directions, axis=1), np.float32(1e-6))  # float16 leaves them near 1
    direction = (embedding.astype(np.float64) / length).astype(np.float32)
    distances = 1.0 - (known.directions @ direction) / lengths
    order = np.argsort(distances, kind="stable")[:count]
    return tuple(Neighbour(name=known.names[i], label=known.labels[i], distance=max(0.0, float(distances[i]))) for i in order)


def _unusable(seen: object) -> BundleContentError:
    return BundleContentError("the bundle's known welds cannot be searched", seen=seen, remedy="Export the bundle again")
