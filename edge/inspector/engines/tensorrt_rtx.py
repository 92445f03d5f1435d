"""Kernels that TensorRT-RTX compiles when a context is made, kept in files for the next start."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from edge.engines.api import RuntimeCacheApi, RuntimeConfigApi
from edge.errors import EngineError

_DIGEST = 32
_WRITABLE_BY_OTHERS = 0o022


class KernelFiles:
    """A folder of such files, one per engine, version and driver; compiled code lies in it, so nobody else may write there.

    Raises EngineError where the folder is not private. What cannot be read or written costs time only: `notes` says so.
    """

    def __init__(self, folder: Path, *, version: str) -> None:
        self._folder, self._version = folder, version
        self._attached: list[tuple[RuntimeCacheApi, Path, int]] = []
        self.notes: list[str] = []
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError as exc:
            raise EngineError("the folder for compiled kernels cannot be used", seen=exc, remedy="Give it to the service user") from exc
        if status.st_uid != os.geteuid() or status.st_mode & _WRITABLE_BY_OTHERS:
            seen = f"{folder}: owner {status.st_uid}, mode {status.st_mode & 0o777:o}"
            remedy = "Make it the service user's own, mode 700: what lies there is run"
            raise EngineError("the folder for compiled kernels is open to others", seen=seen, remedy=remedy)

    def attach(self, config: RuntimeConfigApi, *, engine_sha256: str) -> RuntimeCacheApi | None:
        """Give `config` a cache with what was kept for this engine, and return it; None when the runtime makes none."""
        cache = config.create_runtime_cache()
        if cache is None or not config.set_runtime_cache(cache):
            return None
        path = self._path(engine_sha256)
        self._attached.append((cache, path, self._fill(cache, path)))
        return cache

    def keep(self) -> None:
        """Write every attached cache that holds more than it was filled with, and let go of them all."""
        for cache, path, filled in self._attached:
            memory = cache.serialize()
            blob = b"" if memory is None else bytes(memory)
            if len(blob) > filled:
                self._write(path, hashlib.sha256(blob).digest() + blob)
        self._attached.clear()

    def _fill(self, cache: RuntimeCacheApi, path: Path) -> int:
        """The bytes that were kept and taken."""
        try:
            kept = path.read_bytes()
        except FileNotFoundError:
            return 0
        except OSError as exc:
            self.notes.append(f"compiled kernels cannot be read: {exc}")
            return 0
        blob = kept[_DIGEST:]
        if hashlib.sha256(blob).digest() != kept[:_DIGEST] or not cache.deserialize(blob):
            self.notes.append(f"compiled kernels in {path.name} are damaged or for another GPU; they are compiled again")
            return 0
        return len(blob)

    def _path(self, engine_sha256: str) -> Path:
        key = hashlib.sha256(f"{engine_sha256} {self._version}".encode()).hexdigest()
        return self._folder / f"{key[:32]}.kernels"

    def _write(self, path: Path, data: bytes) -> None:
        try:
            handle, name = tempfile.mkstemp(dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            finally:
                Path(name).unlink(missing_ok=True)
        except OSError as exc:
            self.notes.append(f"compiled kernels cannot be kept, the next start will take longer: {exc}")
