"""What a cleaning step does to a folder, written down before the first file moves: FOLDER/cleaning/0001.json and its neighbours."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from edge.errors import DatasetError
from edge.gate.latch import replace_durably, sync_folder

FOLDER = "cleaning"
FORMAT = "cordon-cleaning-1"
State = Literal["applying", "applied", "undoing", "undone"]
"""`applying` and `undoing` are found on disk only when the command was interrupted."""


class Move(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file that changes its place; names relative to the folder, `sha256` of its content."""

    file: str
    to: str
    sha256: str


class Note(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody decided about one file, and the label and group it had."""

    file: str
    decision: str
    label: str
    group: str


class TableChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table of groups before and after, as SHA-256; the contents lie beside the journal. `before` is None for a new table."""

    path: str
    before: str | None
    after: str


class Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One application of a review."""

    number: int
    state: State
    by: str
    when: str
    review: str
    review_sha256: str
    notes: tuple[Note, ...]
    moves: tuple[Move, ...]
    folders: tuple[str, ...] = ()
    """Folders the step had to make, outer ones first."""
    table: TableChange | None = None
    undone_by: str = ""
    undone_when: str = ""
    format: str = FORMAT


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes. Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def journal_path(root: Path, number: int) -> Path:
    """FOLDER/cleaning/0001.json."""
    return root / FOLDER / f"{number:04d}.json"


def table_copy(root: Path, number: int, which: Literal["before", "after"]) -> Path:
    """FOLDER/cleaning/0001.before.csv, the whole table."""
    return root / FOLDER / f"{number:04d}.{which}.csv"


def read_steps(root: Path) -> list[Step]:
    """Every step of the folder, the first one first. Raises DatasetError for a journal that cannot be read."""
    return [_read(path) for path in sorted((root / FOLDER).glob("[0-9][0-9][0-9][0-9]*.json"))]


def interrupted(steps: list[Step]) -> Step | None:
    """The step that a crash left half done; there is at most one, because every command settles it first."""
    return next((step for step in steps if step.state in ("applying", "undoing")), None)


def require_settled(root: Path) -> None:
    """Raises DatasetError when a step was interrupted and the folder is therefore half changed."""
    step = interrupted(read_steps(root))
    if step is not None:
        raise DatasetError(
            f"cleaning step {step.number} of {root} was interrupted",
            seen=step.state,
            remedy="Finish it with `cordon train clean apply FOLDER`, or put everything back with `cordon train clean undo FOLDER`",
        )


def make_folder(root: Path) -> None:
    """FOLDER/cleaning, durably. Raises OSError."""
    if not (root / FOLDER).is_dir():
        (root / FOLDER).mkdir()
        sync_folder(root)


def write_step(root: Path, step: Step) -> None:
    """Make the journal say this, durably. Raises OSError."""
    make_folder(root)
    replace_durably(journal_path(root, step.number), msgspec.json.format(msgspec.json.encode(step), indent=2) + b"\n")


@contextmanager
def only_me(root: Path) -> Iterator[None]:
    """Keep every other cleaning command out of the folder. Raises DatasetError."""
    try:
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as exc:
        raise DatasetError(f"there is no folder {root}", seen=exc.strerror, remedy="Give the folder that has good/ and bad/ in it") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise DatasetError(f"another command is cleaning {root}", seen=exc.strerror, remedy="Wait until it has finished") from exc
    finally:
        os.close(descriptor)


def _read(path: Path) -> Step:
    try:
        step = msgspec.json.decode(path.read_bytes(), type=Step)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise DatasetError(
            f"cannot read the journal {path}", seen=exc, remedy="Restore the file; without it nothing can be undone"
        ) from exc
    if step.format != FORMAT:
        raise DatasetError(f"{path} is another release's journal", seen=step.format, remedy="Use the release that wrote it")
    return step
