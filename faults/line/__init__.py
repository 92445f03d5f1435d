"""Faults of camera network, inference, bundles and operations on a real line: real gate, real inspector, real sockets and files."""

from faults.line import (
    conditions,
    engines,
    engines_foreign,
    forged,
    frames,
    gpu,
    images,
    interrupted,
    network,
    networks,
    operations,
    peers,
    reports,
    swap,
    versions,
)

__all__ = [
    "conditions", "engines", "engines_foreign", "forged", "frames", "gpu", "images", "interrupted",
    "network", "networks", "operations", "peers", "reports", "swap", "versions",
]  # fmt: skip
