"""The values around an engine: how it is built, what it depends on, and the record that lies beside it."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

import msgspec

from edge.dla import DLA_REFUSED, GPU
from edge.errors import EngineError

MAX_BATCH = 64
MAX_WORKSPACE_MIB = 64 * 1024
ROUTER = "router"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def _in_range(what: str, seen: int, low: int, high: int, unit: str = "") -> None:
    if not low <= seen <= high:
        raise EngineError(f"{what} is out of range", seen=seen, remedy=f"Choose {low} to {high} {unit}".rstrip())


def require_gpu(device: str) -> None:
    """Raises EngineError for `dla` and every other device than the GPU, with the reason."""
    if device != GPU:
        raise EngineError("engines are built for the GPU only", seen=f"device {device}", remedy=DLA_REFUSED)


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How engines are built. Raises EngineError when a value is out of range."""

    workspace_mib: int = 1024
    """Scratch memory the builder may use; TensorRT's own default is all of it, which on a Jetson is the whole system's."""
    optimization_level: int = 3
    """0 builds fastest, 5 searches longest."""
    targets: tuple[str, ...] = ()
    """TensorRT-RTX only: GPU generations to build for, such as SM89; none means its own default, Ampere and newer."""
    device: str = GPU

    def __post_init__(self) -> None:
        require_gpu(self.device)
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
    """None on a Jetson, whose driver is part of `l4t`."""
    l4t: str | None = None
    """Jetson's release, the first line of /etc/nv_tegra_release."""
    power_mode: str | None = None
    """Jetson's power mode as nvpmodel names it: tactics are timed in it."""


class EngineRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """NAME.json: what the engine is, all that it was built from and for, and who vouches for it. Raises EngineError for no names."""

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
    shape: tuple[int, int] = (0, 0)
    """(height, width) of the heightmap in pixels."""
    targets: tuple[str, ...] = ()
    """TensorRT-RTX: every GPU generation that the engine holds code for; empty where it is for the GPU of `box` alone."""
    signed_by: str = ""
    """Public key of the box that built it, 64 hex digits; empty where it is unsigned."""
    signature: str = ""
    """Ed25519, 128 hex digits, over all of the record with this field empty; see `edge.engines.signing`."""

    def __post_init__(self) -> None:
        if not (_NAME.match(self.name) and _SHA256.match(self.engine_sha256)):
            raise EngineError("an engine's record has no usable name or digest", seen=self.name[:80], remedy="Build the engine again")

    @property
    def file(self) -> str:
        """Name of the file with the engine's bytes; another engine of the same name lies beside it, not over it."""
        return f"{self.name}.{self.engine_sha256[:12]}.engine"

    @property
    def key(self) -> str:
        """SHA-256 over everything that the engine's bytes are made from; equal keys need no new build."""
        return cache_key(self.onnx_sha256, self.member, self.batch, self.box, self.options)


def engine_name(typology: str | None, member: str, batch: int) -> str:
    """`typology.member.bN`, or `router.member.bN` for no typology."""
    return f"{ROUTER if typology is None else typology}.{member}.b{batch}"


def cache_key(onnx_sha256: str, member: str, batch: int, box: BoxFacts, options: BuildOptions) -> str:
    """64 hex digits; the bundle is no part of it, so a bundle with a new threshold and the same networks builds nothing."""
    return hashlib.sha256(msgspec.json.encode((onnx_sha256, member, batch, box, options), order="deterministic")).hexdigest()
