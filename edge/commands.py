"""The box's own commands: `cordon run`, `cordon bundle`, `cordon keys`, `cordon records`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from edge.errors import ConfigError


def run(argv: Sequence[str]) -> int:
    """`cordon run gate|inspector --config FILE`: one daemon in the foreground until SIGTERM."""
    parser = argparse.ArgumentParser(prog="cordon run", description=run.__doc__)
    parser.add_argument("daemon", choices=["gate", "inspector"])
    parser.add_argument("--config", type=Path, default=Path("/etc/cordon/cordon.toml"))
    arguments = parser.parse_args(argv)
    # Each daemon is imported alone: the gate must not load numpy, the inspector not the serial port.
    if arguments.daemon == "gate":
        from edge.gate.daemon import run_gate  # noqa: PLC0415

        return run_gate(arguments.config)
    from edge.inspector.daemon import run_inspector  # noqa: PLC0415

    return run_inspector(arguments.config)


def bundle(argv: Sequence[str]) -> int:
    """`cordon bundle verify|show|diff|similar ...`: signed bundles, explained and compared."""
    from edge.bundle_cli import bundle_main  # noqa: PLC0415

    return bundle_main(argv)


def keys(argv: Sequence[str]) -> int:
    """`cordon keys new FILE`: a new Ed25519 signing key; prints the public half for inspector.trusted_keys."""
    parser = argparse.ArgumentParser(prog="cordon keys", description=keys.__doc__)
    parser.add_argument("action", choices=["new"])
    parser.add_argument("file", type=Path)
    print(new_key(parser.parse_args(argv).file))
    return 0


def new_key(path: Path) -> str:
    """Write a private key (64 hex digits, mode 0600) and return the public one. Raises ConfigError rather than overwrite."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    key = Ed25519PrivateKey.generate()
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        remedy = "Choose a new file name in a folder that exists; keys are never overwritten"
        raise ConfigError(f"cannot write the key {path}", seen=exc.strerror, remedy=remedy) from exc
    with os.fdopen(handle, "w") as file:
        file.write(key.private_bytes_raw().hex() + "\n")
    return key.public_key().public_bytes_raw().hex()


def records(argv: Sequence[str]) -> int:
    """`cordon records verify|show ...`: the durable record of every trigger."""
    from edge.gate.records_cli import records_main  # noqa: PLC0415

    return records_main(argv)
