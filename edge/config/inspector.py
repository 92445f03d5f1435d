"""`[inspector]`: the bundle, how it is run, and the tables below it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from edge.config.camera import CameraConfig, check_cameras
from edge.config.checks import between, hex_digits, keys, plain_name, require
from edge.config.curve import CurveConfig
from edge.dla import DLA_REFUSED, GPU


class GpuConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inspector.gpu]`: the engines that `cordon engine build` made here; only for a backend on the GPU (`docs/gpu.md`)."""

    engines: Path
    """Folder of the engines."""
    box_keys: tuple[str, ...]
    """Ed25519 public keys that sign engines, 64 hex digits each: the public half of `cordon engine build --box-key`."""
    cache: Path | None = None
    """Folder of TensorRT-RTX's compiled kernels, kept from one start to the next; writable by the inspector alone."""
    device: str = GPU
    """`dla` is refused: it takes no explicit quantisation."""
    streams: int = 4
    """Engines that may run side by side; members of one committee and, with `engines = "all"`, all typologies share them."""
    timeout_ms: float = 1000.0
    """A GPU that has not finished a frame by then counts as hung, and the inspector ends."""
    zero_copy: Literal["auto", "on", "off"] = "auto"
    """Let the GPU read and write the host's memory: `auto` on integrated GPUs only."""
    graphs: bool = True
    """Replay each engine as a CUDA graph where it can be captured."""
    fallback: Literal["none", "openvino"] = "none"
    """`openvino`: judge on the CPU when the GPU cannot be used at start, if certificate and latency allow it."""
    fallback_within_ms: float = 0.0
    """The longest that the CPU may then take from frame to scores; at most budget_ms - margin_ms."""

    def __post_init__(self) -> None:
        require(self.device == GPU, "inspector.gpu.device", self.device, DLA_REFUSED)
        keys("inspector.gpu.box_keys", self.box_keys, "Run `cordon keys new`, build with --box-key and paste the public key")
        between("inspector.gpu.streams", self.streams, 1, 32)
        between("inspector.gpu.timeout_ms", self.timeout_ms, 1, 60_000)
        if self.fallback == "openvino":
            between("inspector.gpu.fallback_within_ms", self.fallback_within_ms, 0.001, 60_000)


class ArchiveConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inspector.archive]`: rejected frames and some accepted ones as 16-bit PNG (`docs/archive.md`); without it no image is kept."""

    folder: Path
    """One folder a day is made in it; best on another disk than the records."""
    max_mb: float = 10_000.0
    """The oldest images make room for new ones."""
    accepts_every: int = 50
    """Every so many accepted welds, one image is kept; 0: none. Rejected ones are all kept."""
    payloads: bool = False
    """Beside the picture of a float frame or a cloud also keep its very numbers, so that it can be trained on."""

    def __post_init__(self) -> None:
        between("inspector.archive.max_mb", self.max_mb, 1, 100_000_000)
        between("inspector.archive.accepts_every", self.accepts_every, 0, 1_000_000)


class BundlesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inspector.bundles]`: the store that `cordon bundle install` fills, in place of one file in `bundle` (`docs/bundle.md`)."""

    folder: Path = Path("/var/lib/cordon/bundles")
    """Written by root, read by the inspector."""
    line: str = ""
    """The name that bundles carry; empty: that of the first one activated."""
    min_version: int = 1
    """Nothing older is used, whatever the store remembers."""
    typologies: tuple[str, ...] = ()
    """What a bundle must be able to judge, besides what the recipes name."""
    revoked_keys: tuple[str, ...] = ()
    """Public keys, 64 hex digits each, that count no more, trusted or not."""
    revoked_bundles: tuple[str, ...] = ()
    """Hashes, 64 hex digits each, of bundles that are used no more."""
    fallback: bool = True
    """The inspector starts with the bundle before the active one when that cannot be loaded or proved."""
    proof_s: float = 300.0
    """The longest that the golden inputs may take at activation."""

    def __post_init__(self) -> None:
        between("inspector.bundles.min_version", self.min_version, 1, 2**53)
        between("inspector.bundles.proof_s", self.proof_s, 0.1, 3_600)
        hex_digits("inspector.bundles.revoked_keys", self.revoked_keys)
        hex_digits("inspector.bundles.revoked_bundles", self.revoked_bundles)
        for name in self.typologies:
            plain_name("inspector.bundles.typologies", name)


Explain = Literal["none", "rejects", "all"]
"""Of which judged frames the record says where the networks saw what they call bad."""


class InspectorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inspector]`: cameras, the bundle and how it is run."""

    trusted_keys: tuple[str, ...]
    """Ed25519 public keys, 64 hex digits each, as `cordon keys new` prints them."""
    camera: tuple[CameraConfig, ...]
    bundle: Path | None = None
    """The bundle's file; left out where [inspector.bundles] is given."""
    bundles: BundlesConfig | None = None
    backend: Literal["openvino", "tensorrt", "tensorrt_rtx"] = "openvino"
    """The CPU, or a GPU with TensorRT or TensorRT-RTX, which needs [inspector.gpu]."""
    gpu: GpuConfig | None = None
    archive: ArchiveConfig | None = None
    curve: CurveConfig | None = None
    engines: Literal["named", "all"] = "named"
    """`all` runs every typology's engines on every frame as a cross-check."""
    explain: Explain = "none"
    """`rejects`: records of rejected welds say where the networks saw what is bad (`docs/explaining.md`); `all`: of every judged one."""
    threads: int = 2
    """Of one engine call; at most the number of cores."""
    prewarm: bool = True
    """Run the expected engine once when a trigger opens, while the camera exposes."""
    capture_ms: float = 0.0
    """The longest from a trigger to its frame's arrival, exposure and transfer; 0: not known, and then not counted at start."""
    max_frame_bytes: int = 64 * 1024 * 1024
    """Larger frames are refused before memory is taken."""
    receive_queue: int = 8
    """Frames ZeroMQ may hold per camera; bounds memory together with max_frame_bytes."""

    def __post_init__(self) -> None:
        one = (self.bundle is None) != (self.bundles is None)
        require(one, "inspector.bundle", self.bundle or "missing", "Give the bundle's file, or the table [inspector.bundles]: one of them")
        keys("inspector.trusted_keys", self.trusted_keys, "Run `cordon keys new` and paste the public key")
        if self.backend != "openvino":
            remedy = "Add [inspector.gpu] with engines and box_keys; docs/gpu.md has an example"
            require(self.gpu is not None, "inspector.gpu", "missing", remedy)
        require(bool(self.camera), "inspector.camera", self.camera, "Add one [[inspector.camera]] table per camera")
        check_cameras(self.camera, curve=self.curve is not None)
        between("inspector.threads", self.threads, 1, 256)
        between("inspector.capture_ms", self.capture_ms, 0, 60_000)
        between("inspector.max_frame_bytes", self.max_frame_bytes, 1_024, 2**31)
        between("inspector.receive_queue", self.receive_queue, 1, 10_000)
