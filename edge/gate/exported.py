"""The marker beside a sealed record file that says where its rows were exported to; retention relies on it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from edge.errors import StorageError
from edge.gate.latch import replace_durably
from edge.gate.segments import Segment, head_of


class ExportedFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of an export, as it was when the marker was written."""

    name: str
    sha256: str
    bytes: int


class Marker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The JSON of `<segment>.exported`: which rows, the last one's hash in hex digits, and the files they went to."""

    first: int
    last: int
    head: str
    files: tuple[ExportedFile, ...]


def marker_path(segment: Segment) -> Path:
    """Where the marker of this sealed file is."""
    return segment.path.with_name(segment.path.name + ".exported")


def mark_exported(segment: Segment, files: Sequence[Path]) -> Path:
    """Say durably that every row of this sealed file is in `files` (which must be durable already); returns the marker's path.

    Raises StorageError when the segment or a file cannot be read, or the marker not be written.
    """
    if not files:
        raise StorageError(f"{segment.path.name} was exported to no file", seen="no files", remedy="Name the files it was exported to")
    head = head_of(segment).hex()
    try:
        exported = tuple(_exported(path) for path in files)
        content = msgspec.json.encode(Marker(first=segment.first, last=segment.last, head=head, files=exported))
        replace_durably(marker_path(segment), content + b"\n")
    except OSError as exc:
        remedy = "Check the rights of the export and of the records' folder, and the disk"
        raise StorageError(f"{segment.path.name} cannot be marked as exported", seen=exc, remedy=remedy) from exc
    return marker_path(segment)


def is_exported(segment: Segment) -> bool:
    """True only when a marker names exactly these rows and the hash that the file really ends with."""
    exported = False
    with suppress(OSError, msgspec.DecodeError, StorageError):
        marker = msgspec.json.decode(marker_path(segment).read_bytes(), type=Marker)
        real = msgspec.structs.replace(marker, first=segment.first, last=segment.last, head=head_of(segment).hex())
        exported = bool(marker.files) and marker == real
    return exported


def _exported(path: Path) -> ExportedFile:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(io.DEFAULT_BUFFER_SIZE):
            digest.update(block)
            size += len(block)
    return ExportedFile(name=path.name, sha256=digest.hexdigest(), bytes=size)
