"""Files that are there whole or not at all, also after a power cut, and read once, from a folder that others cannot write."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.errors import EngineError, EngineTrustError

FOLDER_MODE, FILE_MODE = 0o755, 0o644
"""Whatever the umask: Ubuntu's lets the group write, and a hardened root's keeps the inspector's account from reading."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def make_folder(folder: Path) -> None:
    """Make `folder`, writable by its owner alone, where there is none. Raises EngineError."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            folder.mkdir(mode=FOLDER_MODE, exist_ok=True)
            folder.chmod(FOLDER_MODE)
    except OSError as exc:
        raise EngineError(f"cannot use the folder {folder}", seen=exc.strerror, remedy="Choose a folder that may be written") from exc


def write_whole(path: Path, data: bytes) -> None:
    """Write beside, flush to the disk, rename: a reader sees the old file or the new one. Raises EngineError."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE), "wb") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise EngineError(f"cannot write {path}", seen=exc.strerror, remedy="Check the folder's rights and the free space") from exc


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def guarded_folder(folder: Path) -> Iterator[int]:
    """A handle of `folder`, which nobody but root and this account can write. Raises EngineError."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        remedy = "Build engines there with `cordon engine build`, and let this account read it"
        raise EngineError(f"cannot open the folder {folder}", seen=exc.strerror, remedy=remedy) from exc
    try:
        _require_guarded(os.fstat(handle), folder)
        yield handle
    finally:
        os.close(handle)


def read_guarded(handle: int, path: Path, limit: int) -> bytes:
    """All bytes of the regular file `path.name` in the folder of `handle`, read once; at most `limit` of them.

    Raises FileNotFoundError, and EngineError for a link, a device, a size over the limit, or a file that others can write.
    """
    try:
        # A pipe in the file's place must not hang the reader, and a link not lead it elsewhere.
        file = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle)
    except FileNotFoundError:
        raise
    except OSError as exc:
        remedy = "It must be a file, no link, that this account may read; build again if you did not change it"
        raise EngineError(f"cannot open {path}", seen=exc.strerror, remedy=remedy) from exc
    with os.fdopen(file, "rb") as opened:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise EngineError(f"{path} is no regular file", seen=stat.filemode(status.st_mode), remedy="Remove it and build again")
        _require_guarded(status, path)
        if status.st_size > limit:
            raise EngineError(f"{path} is too large", seen=f"{status.st_size} bytes", remedy=f"At most {limit} are read; build again")
        return opened.read(status.st_size)


def _require_guarded(status: os.stat_result, path: Path) -> None:
    if status.st_uid not in (0, os.geteuid()):
        remedy = "Only root or the account that reads it may own it; see docs/engines.md, or build again"
        raise EngineTrustError(f"{path} belongs to another account", seen=f"user {status.st_uid}", remedy=remedy)
    if status.st_mode & _OTHERS_WRITE:
        mode = f"mode {stat.S_IMODE(status.st_mode):04o}"
        remedy = f"An engine is code: run `chmod go-w {path}` and build again with --force, unless you know who wrote there"
        raise EngineTrustError(f"{path} can be written by others than its owner", seen=mode, remedy=remedy)
