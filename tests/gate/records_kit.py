"""What a test of the records needs to see the order of durable steps: syncs, renames and removals, and the statements SQLite was given."""

import os
import sqlite3
from pathlib import Path
from types import ModuleType

import pytest


def durable_steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """From now on: `sync NAME SIZE` (a folder without size), `rename OLD NEW`, `remove NAME`; all of it still happens."""
    steps: list[str] = []
    sync, rename, replace, unlink = os.fsync, Path.rename, Path.replace, Path.unlink

    def seen_sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append(f"sync {path.name}" + ("" if path.is_dir() else f" {path.stat().st_size}"))
        sync(descriptor)

    def seen_rename(old: Path, new: Path) -> Path:
        steps.append(f"rename {old.name} {new.name}")
        return rename(old, new)

    def seen_replace(old: Path, new: Path) -> Path:
        steps.append(f"rename {old.name} {new.name}")
        return replace(old, new)

    def seen_unlink(path: Path, missing_ok: bool = False) -> None:
        if path.exists():
            steps.append(f"remove {path.name}")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "fsync", seen_sync)
    monkeypatch.setattr(Path, "rename", seen_rename)
    monkeypatch.setattr(Path, "replace", seen_replace)
    monkeypatch.setattr(Path, "unlink", seen_unlink)
    return steps


def statements(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> list[str]:
    """From now on: every statement given to a connection that this module opens."""
    found: list[str] = []
    connect = module.connect

    def traced(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(path, immutable=immutable)
        connection.set_trace_callback(found.append)
        return connection

    monkeypatch.setattr(module, "connect", traced)
    return found


def descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
