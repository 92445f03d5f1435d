"""The ledgers of a training folder: where each scan from the line came from, one JSON file for every import."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import msgspec

from edge.errors import DatasetError
from edge.gate.latch import replace_durably, sync_folder
from scans.folder import SUFFIXES, Label
from scans.unfinished import PENDING, PROVENANCE
from train.intake.table import drop_rows

LOCK = ".lock"


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the record export: its rows, and the hash of the last one, which `cordon records verify` shows on the box too."""

    file: str
    sha256: str
    first: int
    last: int
    head: str


class LineScan(msgspec.Struct, frozen=True, kw_only=True):
    """One scan: which file, what the box said then and what the operators say now."""

    file: str
    label: Label
    group: str
    defect: str
    content: str
    """BLAKE2b-128 of the file's pixels; equal to `payload_hash` where `exact`."""
    exact: bool
    session: str
    sequence: int
    part: str
    weld: str
    typology: str
    time: str
    outcome: str
    reason: str
    score: float | None
    threshold: float | None
    bundle: str
    config: str
    payload_hash: str
    by: str
    when: str
    comment: str


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """One import."""

    format: int = 1
    cordon: str
    imported: str
    """UTC, ISO 8601."""
    group_by: str
    export: tuple[SourceFile, ...]
    labels: str
    """SHA-256 of the operators' table."""
    scans: tuple[LineScan, ...]


@contextmanager
def only_import(root: Path) -> Iterator[None]:
    """Hold the folder's ledgers for one import at a time. Raises DatasetError."""
    try:
        (root / PROVENANCE).mkdir(exist_ok=True)
        file = (root / PROVENANCE / LOCK).open("ab")
    except OSError as exc:
        raise DatasetError(f"cannot write into {root}", seen=exc.strerror, remedy="Choose a training folder that is yours") from exc
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise DatasetError(f"another import into {root} is running", remedy="Wait until it is done") from exc
        except OSError as exc:
            raise DatasetError(f"{root} cannot be locked", seen=exc.strerror, remedy="Import on a file system with locks") from exc
        yield


def ledgers(root: Path) -> list[tuple[int, Path]]:
    """The finished ledgers with their numbers, oldest first."""
    paths = (root / PROVENANCE).glob("*.json")
    return sorted((int(path.stem), path) for path in paths if path.stem.isdigit())


def read_ledger(path: Path) -> Ledger:
    """Raises DatasetError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ledger)
    except (OSError, msgspec.MsgspecError) as exc:
        raise DatasetError(f"the ledger {path} cannot be read", seen=exc, remedy="Restore it: it says where scans came from") from exc


def pending_path(root: Path, number: int) -> Path:
    """Where the ledger of an import lies that does not count, yet or any more."""
    return root / PROVENANCE / f"{number:04d}{PENDING}"


def write_pending(root: Path, ledger: Ledger) -> Path:
    """Announce an import durably, before its first file; it counts when `finish` renames this. Raises OSError."""
    number = max((number for number, _ in ledgers(root)), default=0) + 1
    path = pending_path(root, number)
    replace_durably(path, msgspec.json.format(msgspec.json.encode(ledger), indent=1) + b"\n")
    return path


def finish(pending: Path) -> Path:
    """The one step that makes an import count. Raises OSError."""
    done = pending.with_name(pending.name.removesuffix(PENDING) + ".json")
    pending.rename(done)
    sync_folder(done.parent)
    return done


def roll_back(root: Path) -> int:
    """Remove every file and row of imports that did not finish; returns how many files. Raises DatasetError."""
    try:
        return sum(_remove(root, pending) for pending in sorted((root / PROVENANCE).glob(f"*{PENDING}")))
    except OSError as exc:
        remedy = "Check rights and free space, then run the same again; what is left does not count"
        raise DatasetError(f"an unfinished import could not be removed from {root}", seen=exc.strerror, remedy=remedy) from exc


def _remove(root: Path, pending: Path) -> int:
    names = [_inside(root, scan.file) for scan in read_ledger(pending).scans]
    there = [root / name for name in names if (root / name).exists()]
    for path in (*there, *(root / f"{name}.part" for name in names)):
        path.unlink(missing_ok=True)
    drop_rows(root, names)
    for folder in {(root / name).parent for name in names}:
        if folder.is_dir():
            sync_folder(folder)
    pending.unlink()
    sync_folder(pending.parent)
    return len(there)


def _inside(root: Path, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or len(path.parts) < 2 or path.suffix not in SUFFIXES:
        raise DatasetError(f"a ledger of {root} names a file that no import writes", seen=name, remedy="Restore the ledger from a copy")
    return name


def reopen(root: Path, number: int) -> None:
    """Turn a finished import into an unfinished one, which no longer counts; `roll_back` then removes it. Raises DatasetError."""
    done = root / PROVENANCE / f"{number:04d}.json"
    try:
        done.rename(pending_path(root, number))
        sync_folder(done.parent)
    except OSError as exc:
        raise DatasetError(
            f"import {number} cannot be undone", seen=exc.strerror, remedy="Check the rights of the training folder"
        ) from exc
