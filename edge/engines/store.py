"""Engines on the disk: NAME.json is the record, and the renaming of it the one step by which an engine takes another's place.

The engine's bytes lie in NAME.<12 digits of its SHA-256>.engine, so a new one is written beside the one in use. Its record waits
in `.staged` until the whole set is ready. Wherever a power cut falls, every record in the folder has its engine.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import msgspec

from edge.engines.files import guarded_folder, make_folder, read_guarded, write_whole
from edge.engines.record import EngineRecord
from edge.errors import EngineError

STAGED = ".staged"
"""Subfolder of the records whose set is not finished; a later run takes them up."""
MAX_RECORD_BYTES = 1024 * 1024
MAX_ENGINE_BYTES = 4 * 1024**3
_ENGINE_FILE = re.compile(r"(?P<name>.+\.b\d+)(\.[0-9a-f]{12})?\.engine\Z")


class EngineStore:
    """The engines in one folder, which is made by the first that is put there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> tuple[str, ...]:
        """All engines or records here, by name, sorted; engines that wait for their set are left out."""
        lost = {match["name"] for path in self._unnamed() if (match := _ENGINE_FILE.match(path.name))}
        return tuple(sorted({path.stem for path in self.folder.glob("[!.]*.json")} | lost))

    def waiting(self) -> tuple[str, ...]:
        """Engines of a stopped build, finished and not yet in place."""
        return tuple(sorted(path.stem for path in (self.folder / STAGED).glob("[!.]*.json")))

    def engine_path(self, record: EngineRecord) -> Path:
        """Where the engine's bytes lie."""
        return self.folder / record.file

    def record_path(self, name: str) -> Path:
        """Where the record of the engine in use lies."""
        return self.folder / f"{name}.json"

    def record(self, name: str) -> EngineRecord | None:
        """The record, or None where it is missing or not of this release."""
        return _decoded(self.record_path(name).read_bytes)

    def whole(self, name: str, *, guarded: bool = False) -> EngineRecord | None:
        """The record, where the engine's bytes are those it tells of and, if `guarded`, others cannot have written either."""
        return self._whole(self.record_path(name), guarded=guarded)

    def staged(self, name: str, *, guarded: bool = False) -> EngineRecord | None:
        """As `whole`, of an engine that waits for its set."""
        return self._whole(self._staged_path(name), guarded=guarded)

    def put(self, record: EngineRecord, data: bytes) -> None:
        """Put one engine in place by itself. Raises EngineError."""
        make_folder(self.folder)
        write_whole(self.engine_path(record), data)
        self.put_record(record)

    def put_record(self, record: EngineRecord) -> None:
        """Write the record alone: from here on its engine is the one in use. Raises EngineError."""
        write_whole(self.record_path(record.name), _encoded(record))

    def stage(self, record: EngineRecord, data: bytes) -> None:
        """Keep a finished engine until its set is. Raises EngineError."""
        make_folder(self.folder / STAGED)
        write_whole(self.engine_path(record), data)
        write_whole(self._staged_path(record.name), _encoded(record))

    def publish(self, records: Sequence[EngineRecord]) -> None:
        """Put a set in place whose engines are all here, then drop what nothing names any more. Raises EngineError."""
        for record in records:
            if record != self.record(record.name):
                self.put_record(record)
        try:
            self._sweep()
        except OSError as exc:
            raise EngineError(
                f"cannot tidy {self.folder}", seen=exc.strerror, remedy="Check the folder's rights; the engines are in place"
            ) from exc

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One builder at a time in this folder. Raises EngineError when another one works here."""
        make_folder(self.folder)
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

    def _staged_path(self, name: str) -> Path:
        return self.folder / STAGED / f"{name}.json"

    def _whole(self, path: Path, *, guarded: bool) -> EngineRecord | None:
        read = _read_guarded if guarded else _read
        record = _decoded(lambda: read(path, MAX_RECORD_BYTES))
        try:
            digest = "" if record is None else hashlib.sha256(read(self.engine_path(record), MAX_ENGINE_BYTES)).hexdigest()
        except (OSError, EngineError):
            return None
        return record if record is not None and (record.name, record.engine_sha256) == (path.stem, digest) else None

    def _unnamed(self) -> list[Path]:
        """Engines that no record here or among the staged names."""
        records = [*self.folder.glob("[!.]*.json"), *(self.folder / STAGED).glob("[!.]*.json")]
        named = {record.file for path in records if (record := _decoded(path.read_bytes))}
        return [path for path in self.folder.glob("[!.]*.engine") if path.name not in named and _ENGINE_FILE.match(path.name)]

    def _sweep(self) -> None:
        staged = self.folder / STAGED
        for path in [*staged.glob("*"), *self.folder.glob(".*.part")]:
            path.unlink(missing_ok=True)
        for path in self._unnamed():
            path.unlink(missing_ok=True)


def _encoded(record: EngineRecord) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n"


def _decoded(read: Callable[[], bytes]) -> EngineRecord | None:
    try:
        return msgspec.json.decode(read(), type=EngineRecord)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, EngineError):
        return None


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        return file.read(limit)


def _read_guarded(path: Path, limit: int) -> bytes:
    with guarded_folder(path.parent) as handle:
        return read_guarded(handle, path, limit)
