"""The configuration read again while the inspector runs: what decides which bundle may judge counts at once, the rest at the next start."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.config import Config, load_config


def reread(path: Path, running: Config) -> Config:
    """`running` with keys, store and recipes as the file has them now. Raises ConfigError."""
    new = load_config(path)
    gate = msgspec.structs.replace(running.gate, bundle=new.gate.bundle, recipes=new.gate.recipes, recipe=new.gate.recipe)
    inspector = msgspec.structs.replace(
        running.inspector,
        trusted_keys=new.inspector.trusted_keys,
        bundle=new.inspector.bundle,
        bundles=new.inspector.bundles,
    )
    return msgspec.structs.replace(running, gate=gate, inspector=inspector)
