"""`[inspector.curve]`: the box's own CURVE key, with which cameras know it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.config.checks import between


class CurveConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[inspector.curve]`: needed as soon as one camera has `keys` (`docs/camera-security.md`)."""

    key: Path
    """The box's private key, as `cordon keys box` wrote it; readable by the inspector alone."""
    handshake_ms: float = 3_000.0
    """A connection that has not proved who it is by then is closed."""

    def __post_init__(self) -> None:
        between("inspector.curve.handshake_ms", self.handshake_ms, 100, 60_000)
