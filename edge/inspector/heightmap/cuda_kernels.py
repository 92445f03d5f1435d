"""The compiled kernels: which of the shipped binaries this GPU and this driver take, proved to be those that were built."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from edge.errors import GpuError
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.errors import translated
from edge.inspector.heightmap.cuda_layout import JOB

SHIPPED = Path(__file__).parent / "kernels"
THREADS = 256
"""Of every block; `BLOCK` in kernels/job.cuh."""
BLOCKS_PER_MULTIPROCESSOR = 4
"""That many fit on one at the same time (`__launch_bounds__`); more would only wait, for every kernel loops over its work."""
NAMES = (
    *("count_top", "count_middle", "count_bottom", "count_grays", "drop_points", "fill_rows", "fill_columns"),
    *("drop_outliers_3", "drop_outliers_5", "vote", "refine_plane", "letterbox", "resize_rows", "resize_columns"),
)
_INSTALL = "Install this release anew; who builds it runs `make cubins`"


class Binary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One shipped file: SASS for exactly one `arch` such as sm_87, or PTX for every GPU from compute_75 on."""

    file: str
    arch: str
    toolkit: tuple[int, int]
    sha256: str

    @property
    def capability(self) -> tuple[int, int]:
        """(8, 7) of sm_87."""
        digits = self.arch.partition("_")[2]
        return int(digits[:-1]), int(digits[-1])

    @property
    def portable(self) -> bool:
        """PTX, which the driver compiles."""
        return self.arch.startswith("compute_")


class Index(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is shipped, and the SHA-256 of the source that it was built from."""

    source_sha256: str
    binaries: tuple[Binary, ...]


def source_sha256(folder: Path = SHIPPED) -> str:
    """What the source of the kernels is now: heightmap.cu and every part of it, by name and content."""
    value = hashlib.sha256()
    for path in [folder.parent / "heightmap.cu", *sorted(folder.glob("*.cuh"))]:
        value.update(path.name.encode() + b"\0" + path.read_bytes())
    return value.hexdigest()


def read_index(folder: Path = SHIPPED) -> Index:
    """The index of shipped binaries. Raises GpuError."""
    try:
        return msgspec.json.decode((folder / "index.json").read_bytes(), type=Index)
    except (OSError, msgspec.MsgspecError) as exc:
        raise GpuError("the list of GPU kernels cannot be read", seen=exc, remedy=_INSTALL) from exc


def choose(index: Index, capability: tuple[int, int], driver: tuple[int, int]) -> Binary:
    """The best binary for a GPU of `capability` under a driver that speaks CUDA `driver`, such as (12, 6). Raises GpuError.

    SASS of a toolkit runs under every driver of its major version and newer (CUDA's minor version compatibility); PTX only under a
    driver that is as new as the toolkit. The newest toolkit first, SASS before PTX.
    """
    exact = [b for b in index.binaries if not b.portable and b.capability == capability and b.toolkit[0] <= driver[0]]
    portable = [b for b in index.binaries if b.portable and b.capability <= capability and b.toolkit <= driver]
    for found in (exact, portable):
        if found:
            return max(found, key=lambda binary: (binary.toolkit, binary.capability))
    shipped = ", ".join(f"{binary.arch} (CUDA {binary.toolkit[0]}.{binary.toolkit[1]})" for binary in index.binaries)
    raise GpuError(
        "no GPU kernels are shipped for this GPU and driver",
        seen=f"sm_{capability[0]}{capability[1]} under CUDA {driver[0]}.{driver[1]}, shipped: {shipped}",
        remedy="Update the NVIDIA driver, or set the inspector's backend to the CPU",
    )


def read_binary(binary: Binary, folder: Path = SHIPPED) -> bytes:
    """Its bytes, which are those of the index. Raises GpuError."""
    try:
        data = (folder / binary.file).read_bytes()
    except OSError as exc:
        raise GpuError("a file of GPU kernels is missing", seen=exc, remedy=_INSTALL) from exc
    found = hashlib.sha256(data).hexdigest()
    if found != binary.sha256:
        raise GpuError("a file of GPU kernels was altered", seen=f"{binary.file}: {found[:16]}", remedy=_INSTALL)
    return data


class Kernels:
    """The kernels on one device, ready to be launched."""

    def __init__(self, device: Device, folder: Path = SHIPPED) -> None:
        """Loads them; the context must be current. Raises GpuError."""
        self.binary = choose(read_index(folder), device.compute_capability, device.driver_version)
        self._module = device.module(read_binary(self.binary, folder))
        with translated("a kernel is missing among those loaded"):
            self._functions: dict[str, Any] = {name: self._module.get_function(name).prepare([f"{JOB.itemsize}s"]) for name in NAMES}
        self._most_blocks = BLOCKS_PER_MULTIPROCESSOR * device.multiprocessors

    def blocks(self, work: int) -> int:
        """How many blocks share `work` blocks' worth of work."""
        return max(1, min(work, self._most_blocks))

    def launch(self, name: str, blocks: int, stream: Any, job: bytes) -> None:
        """Queue kernel `name` on `stream`."""
        self._functions[name].prepared_async_call((blocks, 1), (THREADS, 1, 1), stream, job)
