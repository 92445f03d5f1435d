"""Files of an import that is not finished: they lie in a training folder already, and count only once their ledger is whole."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edge.errors import DatasetError

PROVENANCE = "provenance"
"""Folder of the ledgers inside a training folder."""
PENDING = ".pending.json"


class _File(msgspec.Struct, frozen=True, kw_only=True):
    file: str


class _Pending(msgspec.Struct, frozen=True, kw_only=True):
    scans: tuple[_File, ...]


def unfinished(root: Path) -> frozenset[str]:
    """Paths relative to `root`, with slashes. Raises DatasetError for a ledger that cannot be read."""
    names: set[str] = set()
    for path in sorted((root / PROVENANCE).glob(f"*{PENDING}")):
        try:
            names.update(scan.file for scan in msgspec.json.decode(path.read_bytes(), type=_Pending).scans)
        except (OSError, msgspec.MsgspecError) as exc:
            remedy = "Restore it, or remove it with the files of its import"
            raise DatasetError(f"the ledger of an unfinished import cannot be read: {path}", seen=exc, remedy=remedy) from exc
    return frozenset(names)
