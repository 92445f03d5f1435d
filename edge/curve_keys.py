"""CURVE key pairs as files: the private half is one line of Z85 that only its owner may read, the public one lies beside it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

import zmq

from edge.errors import ConfigError
from edge.z85 import decode_key, encode_z85

SUFFIX, PUBLIC_SUFFIX = ".curve", ".curve.pub"
MAX_FILE_BYTES = 1_024


class CurvePair(NamedTuple):
    """Both halves in Z85, as ZeroMQ takes them; the private one appears in no text about it."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"CurvePair({self.public.decode()})"


def require_curve() -> None:
    """Raises ConfigError where ZeroMQ was built without CURVE: nothing may then run as if it were there."""
    if not zmq.has("curve"):
        remedy = "Install pyzmq from its wheel, which brings libsodium; nothing is sent or taken unencrypted instead"
        raise ConfigError("this ZeroMQ knows no CURVE", seen=f"libzmq {zmq.zmq_version()}", remedy=remedy)


def new_curve_pair(folder: Path, name: str) -> tuple[CurvePair, Path]:
    """Write NAME.curve (private, mode 0600) and NAME.curve.pub into `folder`. Raises ConfigError rather than overwrite.

    Made by root in a service's folder, the service can read them: they belong to the folder's owner, or to root and, where the folder
    is closed to all others, its group (mode 0640).
    """
    require_curve()
    public, secret = zmq.curve_keypair()
    path = folder / f"{name}{SUFFIX}"
    try:
        _write(path, secret, 0o600)
        _write_beside(path, public)
    except OSError as exc:
        remedy = "Choose a folder that exists and a name that is new in it; keys are never overwritten"
        raise ConfigError(f"cannot write the key {path}", seen=exc.strerror, remedy=remedy) from exc
    return CurvePair(public, secret), path


def read_curve_pair(path: Path) -> CurvePair:
    """The pair whose private half lies in `path`. Raises ConfigError for a missing file, open rights or wrong content."""
    require_curve()
    remedy = "Make one with `cordon keys box` (or `cordon keys camera NAME`), readable by the user who runs this"
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            mode = stat.S_IMODE(status.st_mode)
            text = file.read(MAX_FILE_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read the CURVE key {path}", seen=exc, remedy=remedy) from exc
    if mode & 0o077 and not (mode & 0o077 == stat.S_IRGRP and _of_service(status, path.parent.stat())):
        raise ConfigError(f"others may read the CURVE key {path}", seen=f"mode {mode:04o}", remedy=f"Run: chmod 600 {path}")
    try:
        secret = encode_z85(decode_key(text)).encode()
    except ValueError as exc:
        seen = "64 hex digits or 40 characters of Z85 were expected"
        raise ConfigError(f"{path} is not a CURVE key", seen=f"{len(text)} characters; {seen}", remedy=remedy) from exc
    return CurvePair(zmq.curve_public(secret), secret)


def _of_service(file: os.stat_result, folder: os.stat_result) -> bool:
    """Does root's file belong to the group of root's folder, which lets nobody else in? Then only that service can read it."""
    return file.st_uid == folder.st_uid == 0 and file.st_gid == folder.st_gid != 0 and not folder.st_mode & stat.S_IRWXO


def _write_beside(path: Path, public: bytes) -> None:
    try:
        _write(path.with_name(path.name + PUBLIC_SUFFIX.removeprefix(SUFFIX)), public, 0o644)
    except OSError:
        path.unlink()  # a private key without its public half would be found in nobody's configuration
        raise


def _write(path: Path, key: bytes, mode: int) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        owner = path.parent.stat()
        if os.geteuid() == 0 and owner.st_uid != 0:
            os.fchown(handle, owner.st_uid, owner.st_gid)
        elif os.geteuid() == 0 and owner.st_gid != 0 and not owner.st_mode & stat.S_IRWXO:
            os.fchown(handle, 0, owner.st_gid)
            os.fchmod(handle, mode | stat.S_IRGRP)
        file.write(key + b"\n")
        file.flush()
        os.fsync(handle)
