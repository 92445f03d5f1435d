"""Faults of camera network, inference, bundles and operations on a real line: real gate, real inspector, real sockets and files."""

from faults.line import conditions, engines, forged, frames, network, reports

__all__ = ["conditions", "engines", "forged", "frames", "network", "reports"]
