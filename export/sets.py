"""Which scans calibrate a network and which prove it: the split the network was trained with, in whole groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.errors import DatasetError
from edge.inspector.heightmap.spec import HeightmapSpec
from export.order import DEFAULT_HELD_OUT, DEFAULT_SEED, TypologyOrder
from scans.folder import SPEC_FILE, Scan, ScanFolder, find_scans, read_spec
from scans.split import split_by_group

UNRECORDED = -1.0


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """How the scans were divided, for the certificate."""

    held_out: float
    seed: int
    training_scans: int
    held_out_scans: int
    kept_aside: int
    as_trained: bool
    """Every member itself says that it was trained with this split; otherwise that rests on whoever ordered the export."""


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Training scans (calibration may choose among them), and held-out scans that neither training nor calibration saw."""

    folder: ScanFolder
    training: tuple[Scan, ...]
    held_out: tuple[Scan, ...]
    split: Split


def find_sets(order: TypologyOrder, *provenances: dict[str, str]) -> Sets:
    """Split as ordered, else as the checkpoints say they were trained.

    Raises DatasetError, also when two members say different splits and the order says none: what proves one would have trained the other.
    """
    recorded = [(_number(p, "held_out", UNRECORDED), _number(p, "seed", UNRECORDED)) for p in provenances]
    said = {split for split in recorded if UNRECORDED not in split}
    if len(said) > 1 and (order.held_out is None or order.seed is None):
        raise DatasetError(
            f"the members of {order.name} were trained with different splits",
            seen=", ".join(f"held_out {held_out:g} seed {seed:g}" for held_out, seed in sorted(said)),
            remedy="Train them with one split, or give held_out and seed for scans that none of them was trained on",
        )
    provenance = next((p for p, split in zip(provenances, recorded, strict=True) if UNRECORDED not in split), {})
    folder = find_scans(order.scans, table=order.table)
    scans = folder.without(order.keep_aside).scans
    held_out = order.held_out if order.held_out is not None else _number(provenance, "held_out", DEFAULT_HELD_OUT)
    seed = order.seed if order.seed is not None else int(_number(provenance, "seed", DEFAULT_SEED))
    training, proof = split_by_group(scans, held_out=held_out, seed=seed)
    split = Split(
        held_out=held_out,
        seed=seed,
        training_scans=len(training),
        held_out_scans=len(proof),
        kept_aside=len(folder.scans) - len(scans),
        as_trained=bool(recorded) and all(split == (held_out, seed) for split in recorded),
    )
    return Sets(folder=folder, training=training, held_out=proof, split=split)


def heightmap_of(path: Path | None, scans: Path) -> HeightmapSpec | None:
    """The spec of `path`, else of the folder's heightmap.json, else none. Raises ConfigError naming the file."""
    if path is not None:
        return read_spec(path)
    file = scans / SPEC_FILE
    return read_spec(file) if file.is_file() else None


def _number(provenance: dict[str, str], key: str, default: float) -> float:
    try:
        return float(provenance[key])
    except (KeyError, ValueError):
        return default
