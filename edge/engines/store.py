"""Engines on the disk, each NAME.engine with its NAME.json: whole or absent, and replaced only when the whole set is ready."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import msgspec

from edge.engines.files import write_whole
from edge.engines.record import EngineRecord
from edge.errors import EngineError

STAGED = ".staged"
"""Subfolder of engines whose set is not finished; a later run takes them up."""


class EngineStore:
    """The engines in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise EngineError(f"cannot use the folder {folder}", seen=exc.strerror, remedy="Choose a folder that may be written") from exc

    @property
    def staged(self) -> EngineStore:
        """The part of this store that holds a set still being built."""
        return EngineStore(self.folder / STAGED)

    def names(self) -> tuple[str, ...]:
        """All engines or records here, by name, sorted."""
        return tuple(sorted({path.stem for kind in ("engine", "json") for path in self.folder.glob(f"[!.]*.{kind}")}))

    def engine_path(self, name: str) -> Path:
        """Where the engine's bytes lie."""
        return self.folder / f"{name}.engine"

    def record_path(self, name: str) -> Path:
        """Where the engine's record lies."""
        return self.folder / f"{name}.json"

    def record(self, name: str) -> EngineRecord | None:
        """The record, or None where it is missing or not of this release."""
        try:
            return msgspec.json.decode(self.record_path(name).read_bytes(), type=EngineRecord)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, EngineError):
            return None

    def whole(self, name: str) -> EngineRecord | None:
        """The record, where the engine's bytes are those it tells of."""
        record = self.record(name)
        try:
            with self.engine_path(name).open("rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
        except OSError:
            return None
        return record if record is not None and record.engine_sha256 == digest else None

    def put(self, record: EngineRecord, data: bytes) -> None:
        """Write engine, then record; a record never tells of bytes that are not there. Raises EngineError."""
        write_whole(self.engine_path(record.name), data)
        self.put_record(record)

    def put_record(self, record: EngineRecord) -> None:
        """Write the record alone. Raises EngineError."""
        write_whole(self.record_path(record.name), msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")

    def take(self, record: EngineRecord) -> None:
        """Move a staged engine in, with its record. Raises EngineError."""
        staged = self.staged
        try:
            staged.engine_path(record.name).replace(self.engine_path(record.name))
        except OSError as exc:
            remedy = "Check the folder's rights and the free space"
            raise EngineError(f"cannot put {record.name} in place", seen=exc.strerror, remedy=remedy) from exc
        self.put_record(record)  # the staged one stays until all are in place

    def clear_staged(self) -> None:
        """Drop what a stopped build of another set left behind."""
        for path in self.staged.folder.iterdir():
            path.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One builder at a time in this folder. Raises EngineError when another one works here."""
        with self._lock_file() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                raise EngineError(f"another `cordon engine build` works in {self.folder}", remedy="Wait for it, or stop it first") from exc
            yield

    def _lock_file(self) -> TextIO:
        path = self.folder / ".lock"
        try:
            return path.open("w")
        except OSError as exc:
            raise EngineError(f"cannot write {path}", seen=exc.strerror, remedy="Choose a folder that may be written") from exc
