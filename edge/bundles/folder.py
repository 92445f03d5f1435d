"""The store's files: taken from an open folder by plain names, no link followed, nothing read that another account can write."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from edge.errors import BundleFormatError, StoreError

FOLDER_MODE, FILE_MODE = 0o755, 0o644
"""Whatever the umask: the inspector's account reads what root wrote."""
PART = ".part-"
"""Begins the names of what is not finished; every command that changes the store removes what an earlier one left."""
LOCK = "lock"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def opened(folder: Path | str, within: int | None = None) -> Iterator[int]:
    """A handle of `folder`, itself no link, that only root and this account can write. Raises StoreError."""
    try:
        handle = os.open(folder, _FOLDER, dir_fd=within)
    except OSError as exc:
        remedy = "It must be a folder, no link, that this account may read; `cordon bundle install` makes it"
        raise StoreError(f"cannot open the bundle folder {folder}", seen=exc.strerror, remedy=remedy) from exc
    try:
        _require_guarded(os.fstat(handle), str(folder))
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(handle: int) -> Iterator[None]:
    """Alone among the commands that change the store. Raises StoreError when another one is at work."""
    try:
        lock = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, FILE_MODE, dir_fd=handle)
    except OSError as exc:
        remedy = "Run the command as the account that owns the store, mostly root"
        raise StoreError("cannot lock the bundle store", seen=exc.strerror, remedy=remedy) from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as exc:
        raise StoreError("another command is changing the bundle store", remedy="Wait for it to end, then try again") from exc
    finally:
        os.close(lock)


def make(folder: Path) -> None:
    """Make `folder` where there is none, in a folder that exists. Raises StoreError."""
    try:
        if not os.path.lexists(folder):
            make_readable(str(folder))
            _sync_path(folder.parent)
    except OSError as exc:
        raise StoreError(f"cannot make the bundle folder {folder}", seen=exc.strerror, remedy="Make its parent, or run as root") from exc


def make_within(handle: int, name: str) -> None:
    """Make the folder `name` where there is none."""
    with contextlib.suppress(FileExistsError):
        make_readable(name, handle)
        os.fsync(handle)


def make_readable(name: str, within: int | None = None) -> None:
    """A new folder that the inspector's account can read, whatever its parent's access control list hands down. Raises OSError."""
    mask = os.umask(0o022)
    try:
        os.mkdir(name, FOLDER_MODE, dir_fd=within)
    finally:
        os.umask(mask)
    handle = os.open(name, _FOLDER, dir_fd=within)
    try:
        if stat.S_IMODE(os.fstat(handle).st_mode) != FOLDER_MODE:
            os.fchmod(handle, FOLDER_MODE)
    finally:
        os.close(handle)


def read(handle: int, name: str, limit: int) -> bytes:
    """All bytes of a regular file with one name only. Raises FileNotFoundError or StoreError."""
    try:
        file = os.open(name, _READ, dir_fd=handle)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise _odd(name, exc.strerror or "cannot be opened") from exc
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise _odd(name, stat.filemode(status.st_mode))
        if status.st_nlink != 1:
            raise _odd(name, f"{status.st_nlink} hard links")
        _require_guarded(status, name)
        if status.st_size > limit:
            raise _odd(name, f"{status.st_size} bytes, at most {limit}")
        return _all_of(file, status.st_size)
    finally:
        os.close(file)


def read_source(path: Path, limit: int) -> bytes:
    """The bytes of a file to install, read once from one descriptor. Raises BundleFormatError."""
    try:
        file = os.open(path, _READ)
    except (OSError, ValueError) as exc:
        remedy = "Give the path of the file itself, not of a link"
        raise BundleFormatError(f"cannot read the bundle {path}", seen=exc, remedy=remedy) from exc
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            remedy = "Give the path of the bundle's file itself"
            raise BundleFormatError(f"{path} is no regular file", seen=stat.filemode(status.st_mode), remedy=remedy)
        if status.st_size > limit:
            raise BundleFormatError(f"{path} is too large for a bundle", seen=status.st_size, remedy=f"At most {limit} bytes are read")
        return _all_of(file, status.st_size)
    finally:
        os.close(file)


def _all_of(file: int, size: int) -> bytes:
    with os.fdopen(os.dup(file), "rb") as taken:
        return taken.read(size)


def write_whole(handle: int, name: str, data: bytes) -> None:
    """Write beside, flush to the disk, rename, flush the folder: a reader sees the old file or the new one. Raises OSError."""
    part = PART + name
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part, dir_fd=handle)
    write_new(handle, part, data)
    os.rename(part, name, src_dir_fd=handle, dst_dir_fd=handle)
    os.fsync(handle)


def write_new(handle: int, name: str, data: bytes) -> None:
    """A new file, flushed to the disk. Raises OSError."""
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=handle)
    with os.fdopen(file, "wb") as opened_file:
        os.fchmod(file, FILE_MODE)
        opened_file.write(data)
        opened_file.flush()
        os.fsync(file)


def remove(handle: int, name: str) -> None:
    """A file, or a folder of files; links are removed and never followed. Raises OSError."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=handle)
        return
    inner = os.open(name, _FOLDER, dir_fd=handle)
    try:
        for file in names(inner):
            remove(inner, file)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=handle)


def remove_parts(handle: int) -> int:
    """Remove what unfinished commands left; returns how much that was. Raises OSError."""
    parts = [name for name in names(handle) if name.startswith(PART)]
    for name in parts:
        remove(handle, name)
    if parts:
        os.fsync(handle)
    return len(parts)


def names(handle: int) -> list[str]:
    """What lies in the folder of `handle`."""
    return os.listdir(handle)


def free_bytes(handle: int) -> int:
    """What this account may still write on the disk of `handle`."""
    status = os.fstatvfs(handle)
    return status.f_bavail * status.f_frsize


def _sync_path(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _odd(name: str, seen: str) -> StoreError:
    return StoreError(
        f"{name} in the bundle store is no file of the store", seen=seen, remedy="Somebody put it there: look, then install again"
    )


def _require_guarded(status: os.stat_result, name: str) -> None:
    if status.st_uid not in {0, os.geteuid()}:
        remedy = "Only root or the account that reads it may own it"
        raise StoreError(f"{name} belongs to another account", seen=f"user {status.st_uid}", remedy=remedy)
    if status.st_mode & _OTHERS_WRITE:
        remedy = f"Run `chmod go-w {name}` once you know who wrote there, then install again"
        raise StoreError(f"{name} can be written by others than its owner", seen=f"mode {stat.S_IMODE(status.st_mode):04o}", remedy=remedy)
