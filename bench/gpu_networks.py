"""The networks that run on the GPU: bundles made here or, for a box without PyTorch, on another machine and copied."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from bench.gpu_parts import MissingError
from edge.bundle import Bundle, open_bundle
from sim.welds import make_weld, to_heightmap

Precision = Literal["int8", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
IMAGES = 64


class _Note(msgspec.Struct, frozen=True):
    """What lies beside a bundle, written last: the public key of its signature."""

    key: str


@dataclass(frozen=True, kw_only=True)
class BenchNetworks:
    """One precision's bundle, opened, and heightmaps u8 [n, 128, 352] that its first typology accepts."""

    precision: str
    path: Path
    key: str
    bundle: Bundle
    accepted: NDArray[np.uint8]

    @property
    def typologies(self) -> tuple[str, ...]:
        """Their names; one network each."""
        return tuple(spec.name for spec in self.bundle.manifest.typologies)


def bench_images() -> NDArray[np.uint8]:
    """Heightmaps of simulated welds, u8 [64, 128, 352]."""
    return np.stack([to_heightmap(make_weld("T3", "none", seed)) for seed in range(IMAGES)])


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which networks, and the folder they are kept in."""

    folder: Path
    architecture: str
    typologies: int

    def bundle(self, precision: str) -> Path:
        """The file they are in."""
        return self.folder / f"{self.architecture}-{precision}-{self.typologies}.cordon"


def open_networks(wanted: Wanted, precision: str) -> BenchNetworks:
    """The bundle that `make_networks` made. Raises BundleError."""
    path = wanted.bundle(precision)
    note = msgspec.json.decode(_note(path).read_bytes(), type=_Note)
    accepted: NDArray[np.uint8] = np.load(_accepted(path))
    return BenchNetworks(precision=precision, path=path, key=note.key, bundle=open_bundle(path, (note.key,)), accepted=accepted)


def missing(wanted: Wanted) -> tuple[Precision, ...]:
    """The precisions that have still to be made."""
    return tuple(precision for precision in PRECISIONS if not _note(wanted.bundle(precision)).exists())


def make_apart(wanted: Wanted, say: Callable[[str], None]) -> None:
    """What is missing, in a process of its own: PyTorch and ModelOpt would use the GPU that is measured here. Raises MissingError."""
    if not missing(wanted):
        return
    say(f"exporting {wanted.typologies} {wanted.architecture} in {' and '.join(missing(wanted))} into {wanted.folder} (kept)")
    options = ("--networks", str(wanted.folder), "--architecture", wanted.architecture, "--typologies", str(wanted.typologies))
    command = [sys.executable, "-m", "edge", "bench", "gpu", "--only-networks", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingError(
            "the networks cannot be exported here",
            seen=done.stderr.strip()[-600:],
            remedy=f"Run `cordon bench gpu --only-networks` where cordon[export] is installed and copy {wanted.folder}",
        )


def make_networks(wanted: Wanted) -> None:
    """Export what is missing."""
    from bench.bundle import make_bundle  # noqa: PLC0415 - a box has no PyTorch

    for precision in missing(wanted):
        path = wanted.bundle(precision)
        made = make_bundle(
            wanted.folder / "making",
            bench_images(),
            typologies=wanted.typologies,
            threads=1,
            architecture=wanted.architecture,
            precision=precision,
        )
        made.path.replace(path)
        made.network.unlink()
        made.network.parent.rmdir()
        complete(path, key=made.key, accepted=made.accepted)


def complete(path: Path, *, key: str, accepted: NDArray[np.uint8]) -> None:
    """Write what belongs beside the bundle at `path`: the key of its signature, and heightmaps u8 [n, 128, 352] that it accepts."""
    np.save(_accepted(path), accepted)
    _note(path).write_bytes(msgspec.json.encode(_Note(key)))


def _note(path: Path) -> Path:
    return path.with_suffix(".json")


def _accepted(path: Path) -> Path:
    return path.with_suffix(".npy")
