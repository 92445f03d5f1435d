"""The private key that signs bundles: one line of 64 hex digits in a file only its owner may read."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge import keys
from edge.errors import ExportError


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read the key `cordon keys new` wrote. Raises ExportError for a missing file, open rights or wrong content."""
    return keys.read_private_key(path, error=ExportError)
