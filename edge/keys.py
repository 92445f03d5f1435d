"""Private Ed25519 keys as files: one line of 64 hex digits that only its owner may read."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.errors import ConfigError, CordonError


def new_key(path: Path) -> str:
    """Write a private key (64 hex digits, mode 0600) and return the public one. Raises ConfigError rather than overwrite."""
    key = Ed25519PrivateKey.generate()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        remedy = "Choose a new file name in a folder that exists; keys are never overwritten"
        raise ConfigError(f"cannot write the key {path}", seen=exc.strerror, remedy=remedy) from exc
    with os.fdopen(handle, "w") as file:
        file.write(key.private_bytes_raw().hex() + "\n")
    return public_half(key)


def public_half(key: Ed25519PrivateKey) -> str:
    """What others check signatures of `key` with, 64 hex digits."""
    return key.public_key().public_bytes_raw().hex()


def read_private_key(path: Path, what: str = "signing key", error: type[CordonError] = ConfigError) -> Ed25519PrivateKey:
    """Read the key `cordon keys new` wrote. Raises `error` for a missing file, open rights or wrong content."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise error(f"cannot read the {what} {path}", seen=exc, remedy="Make one with `cordon keys new FILE`") from exc
    if mode & 0o077:
        raise error(f"others may read the {what} {path}", seen=f"mode {mode:04o}", remedy=f"Run: chmod 600 {path}")
    if re.fullmatch(r"[0-9a-fA-F]{64}", text) is None:
        remedy = "A key is 64 hex digits, as `cordon keys new` writes"
        raise error(f"{path} is not a {what}", seen=f"{len(text)} characters", remedy=remedy)
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
