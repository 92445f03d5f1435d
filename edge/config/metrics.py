"""`[metrics]`: where the exporter gives the box's numbers to Prometheus; gate and inspector have no part in it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from edge.config.checks import between, require


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[metrics]`: for `cordon run metrics`, which gives the box's numbers to Prometheus and only reads (`docs/health.md`)."""

    listen: str = "127.0.0.1"
    """IP address; anything but this machine's own (127.0.0.1, ::1) shows the numbers to whoever reaches it."""
    port: int = 9464
    """0: listen nowhere, write `textfile` only."""
    textfile: Path | None = None
    """Also write them there, for node_exporter's textfile collector (a name that ends in .prom)."""
    every_s: float = 15.0
    """How often."""

    def __post_init__(self) -> None:
        address = re.fullmatch(r"[0-9A-Fa-f:.]{2,45}", self.listen) is not None
        require(address, "metrics.listen", self.listen, "Give an IP address: 127.0.0.1 for this machine alone")
        between("metrics.port", self.port, 0, 65_535)
        between("metrics.every_s", self.every_s, 1, 3_600)
        prom = self.textfile is None or self.textfile.suffix == ".prom"
        require(prom, "metrics.textfile", self.textfile, "node_exporter reads files whose name ends in .prom")
        somewhere = bool(self.port) or self.textfile is not None
        require(somewhere, "metrics.port", self.port, "Give a port, or a textfile")
