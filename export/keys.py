"""The private key that signs bundles: one line of 64 hex digits in a file only its owner may read."""

from __future__ import annotations

import re
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.errors import ExportError


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Read the key `cordon keys new` wrote. Raises ExportError for a missing file, open rights or wrong content."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ExportError(f"cannot read the signing key {path}", seen=exc, remedy="Make one with `cordon keys new FILE`") from exc
    if mode & 0o077:
        raise ExportError(f"others may read the signing key {path}", seen=f"mode {mode:04o}", remedy=f"Run: chmod 600 {path}")
    if re.fullmatch(r"[0-9a-fA-F]{64}", text) is None:
        raise ExportError(
            f"{path} is not a signing key", seen=f"{len(text)} characters", remedy="A key is 64 hex digits, as `cordon keys new` writes"
        )
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
