"""A box with a GPU: tiny bundles, their engines built and signed here, and the inspector's settings for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tiny import PUBLIC, TinyBundle

from edge.bundle import Bundle, open_bundle
from edge.config import GpuConfig
from edge.engines.plan import build_bundle
from edge.engines.record import EngineRecord
from edge.engines.store import EngineStore

BOX_KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
BOX_PUBLIC = BOX_KEY.public_key().public_bytes_raw().hex()


class Quiet:
    """Hears of builds and says nothing."""

    def begin(self, name: str, index: int, count: int) -> None: ...
    def end(self, name: str, outcome: str, record: EngineRecord) -> None: ...
    def start(self, phase: str, parent: str | None, steps: int) -> None: ...
    def finish(self, phase: str) -> None: ...
    def step(self, phase: str, step: int) -> bool:  # noqa: ARG002
        return True


def open_tiny(tiny: TinyBundle, folder: Path) -> Bundle:
    """The bundle, signed, saved and opened again as the box does."""
    return open_bundle(tiny.save(folder / "tiny.bundle"), (PUBLIC,))


def build_engines(bundle: Bundle, folder: Path, **changes: Any) -> tuple[EngineRecord, ...]:
    """Every engine of `bundle` in `folder`, signed by the box."""
    return build_bundle(bundle, EngineStore(folder), **({"reporter": Quiet(), "backend": "tensorrt", "key": BOX_KEY} | changes))


def gpu_settings(folder: Path, **changes: Any) -> GpuConfig:
    """`[inspector.gpu]` for the engines in `folder`."""
    return GpuConfig(**({"engines": folder, "box_keys": (BOX_PUBLIC,)} | changes))
