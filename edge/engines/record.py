"""The values around an engine: how it is built, what it depends on, and the record that lies beside it."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from edge.errors import EngineError

MAX_BATCH = 64
MAX_WORKSPACE_MIB = 64 * 1024


def _in_range(what: str, seen: int, low: int, high: int, unit: str = "") -> None:
    if not low <= seen <= high:
        raise EngineError(f"{what} is out of range", seen=seen, remedy=f"Choose {low} to {high} {unit}".rstrip())


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How engines are built. Raises EngineError when a value is out of range."""

    workspace_mib: int = 1024
    """Scratch memory the builder may use; TensorRT's own default is all of it, which on a Jetson is the whole system's."""
    optimization_level: int = 3
    """0 builds fastest, 5 searches longest."""
    targets: tuple[str, ...] = ()
    """TensorRT-RTX only: GPU generations to build for, such as SM89; none means its own default, Ampere and newer."""
    device: str = "gpu"

    def __post_init__(self) -> None:
        if self.device != "gpu":
            remedy = "Use gpu: the DLA cores take no explicit quantisation in TensorRT 10, and no INT8 in 11"
            raise EngineError("engines are built for the GPU only", seen=f"device {self.device}", remedy=remedy)
        _in_range("workspace", self.workspace_mib, 16, MAX_WORKSPACE_MIB, "MiB")
        _in_range("optimization level", self.optimization_level, 0, 5)


DEFAULTS = BuildOptions()


class BoxFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an engine depends on beside its network: another value of any of these and it must be built again."""

    backend: str
    version: str
    gpu: str | None = None
    """None for TensorRT-RTX, whose engines do not depend on the GPU at hand."""
    compute_capability: str | None = None
    cuda: str | None = None
    """The newest CUDA version that the driver speaks, such as 12.6."""
    driver: str | None = None
    l4t: str | None = None
    """Jetson's release, the first line of /etc/nv_tegra_release."""
    power_mode: str | None = None
    """Jetson's power mode as nvpmodel names it: tactics are timed in it."""


class EngineRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """NAME.json beside NAME.engine: what the engine is, and all that it was built from and for."""

    format: Literal[1] = 1
    name: str
    bundle: str
    """SHA-256 of the bundle's manifest."""
    typology: str | None
    """None for the router."""
    member: str
    batch: int
    onnx_sha256: str
    engine_sha256: str
    engine_bytes: int
    box: BoxFacts
    options: BuildOptions
    layers: int
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """SHA-256 over everything that the engine's bytes are made from; equal keys need no new build."""
        return cache_key(self.onnx_sha256, self.member, self.batch, self.box, self.options)


def cache_key(onnx_sha256: str, member: str, batch: int, box: BoxFacts, options: BuildOptions) -> str:
    """64 hex digits; the bundle is no part of it, so a bundle with a new threshold and the same networks builds nothing."""
    return hashlib.sha256(msgspec.json.encode((onnx_sha256, member, batch, box, options), order="deterministic")).hexdigest()
