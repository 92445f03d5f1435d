"""The signed bundle: one file with networks, specs, thresholds and golden inputs, checked before any parser sees it.

Layout (little-endian): magic 8 bytes · public key 32 · Ed25519 signature 64 · manifest length u32 · manifest JSON · files.
The signature covers magic, key, manifest length and manifest; the manifest holds offset, size and SHA-256 of every file, and the
file ends where the last of them ends, so every byte is covered. Files are never unpacked to disk: names are only keys.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
from collections.abc import Mapping
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edge.errors import BundleContentError, BundleFormatError, BundleSignatureError, ConfigError
from edge.manifest import Combine, FileEntry, Golden, Kind, Manifest, MapOutput, Member, RouterSpec, TypologySpec

__all__ = [
    "Bundle",
    "Combine",
    "FileEntry",
    "Golden",
    "Kind",
    "Manifest",
    "MapOutput",
    "Member",
    "RouterSpec",
    "TypologySpec",
    "file_entries",
    "open_bundle",
    "save_bundle",
    "sign_bundle",
    "verify_bundle",
]

MAGIC = b"CORDON\x00\x01"
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
MAX_BUNDLE_BYTES = 2 * 1024**3
_KEY, _SIGNATURE, _LENGTH = 32, 64, struct.Struct("<I")
_HEADER = len(MAGIC) + _KEY + _SIGNATURE + _LENGTH.size


class Bundle(msgspec.Struct, frozen=True):
    """A bundle whose signature and hashes were verified, with the very bytes that were verified."""

    manifest: Manifest
    hash: str
    """SHA-256 of the manifest, 64 hex digits: the bundle's identity in records and heartbeats."""
    signed_by: str
    files: dict[str, memoryview]

    def __repr__(self) -> str:
        return f"Bundle({self.manifest.name!r}, version={self.manifest.version}, hash={self.hash[:12]}, files={len(self.files)})"


def open_bundle(path: Path, trusted_keys: tuple[str, ...]) -> Bundle:
    """Read a bundle once and verify it. Raises BundleFormatError, BundleSignatureError or BundleContentError."""
    return verify_bundle(_read(path), trusted_keys, source=str(path))


def _at_once(path: str, flags: int) -> int:
    # A pipe in the file's place must not hang the reader, and a device not fill its memory.
    return os.open(path, flags | os.O_NONBLOCK)


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                remedy = "Give the path of the bundle's file itself"
                raise BundleFormatError(f"{path} is no regular file", seen=stat.filemode(status.st_mode), remedy=remedy)
            size = status.st_size
            if size > MAX_BUNDLE_BYTES:
                raise BundleFormatError(f"{path} is too large for a bundle", seen=size, remedy=f"At most {MAX_BUNDLE_BYTES} bytes are read")
            return file.read(size)
    except OSError as exc:
        raise BundleFormatError(f"cannot read the bundle {path}", seen=exc.strerror, remedy="Check the path and the file's rights") from exc


def verify_bundle(data: bytes, trusted_keys: tuple[str, ...], *, source: str = "bundle") -> Bundle:
    """Signature first, then the manifest, then every file's SHA-256. Raises as `open_bundle`."""
    if len(data) < _HEADER or data[: len(MAGIC)] != MAGIC:
        raise BundleFormatError(
            f"{source} is not a bundle of this format", seen=data[:8].hex(), remedy="Export it again with `cordon export`"
        )
    key = data[len(MAGIC) : len(MAGIC) + _KEY]
    signature = data[len(MAGIC) + _KEY : len(MAGIC) + _KEY + _SIGNATURE]
    (length,) = _LENGTH.unpack_from(data, _HEADER - _LENGTH.size)
    if length > MAX_MANIFEST_BYTES or len(data) < _HEADER + length:
        raise BundleFormatError(f"{source} is truncated or its manifest too large", seen=length, remedy="Copy or export it again")
    if key.hex() not in trusted_keys:
        raise BundleSignatureError(
            f"{source} is signed by a key this box does not trust",
            seen=key.hex(),
            remedy="Add the key to inspector.trusted_keys only if it is yours; otherwise refuse the file",
        )
    manifest_bytes = data[_HEADER : _HEADER + length]
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _signed_part(key, manifest_bytes))
    except InvalidSignature as exc:
        raise BundleSignatureError(
            f"{source} was altered after signing, or never signed",
            seen=f"key {key.hex()[:16]}",
            remedy="Copy it again from its source; do not use it",
        ) from exc
    manifest = _manifest(manifest_bytes, source)
    files = _files(manifest, memoryview(data)[_HEADER + length :], source)
    return Bundle(manifest, hashlib.sha256(manifest_bytes).hexdigest(), key.hex(), files)


def _signed_part(key: bytes, manifest: bytes) -> bytes:
    return MAGIC + key + _LENGTH.pack(len(manifest)) + manifest


def _manifest(data: bytes, source: str) -> Manifest:
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
        # msgspec takes the last of two values under one key, a person may have read the first. The schema has bounded the depth by now.
        json.loads(data, object_pairs_hook=_no_key_twice)
    except (msgspec.MsgspecError, UnicodeDecodeError, ConfigError, _KeyTwice) as exc:
        raise BundleFormatError(
            f"the manifest of {source} does not fit the schema", seen=exc, remedy="Export it again with this release"
        ) from exc
    return manifest


class _KeyTwice(ValueError):  # noqa: N818 - it never leaves this module
    """A name stands for two values."""


def _no_key_twice(pairs: list[tuple[str, object]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise _KeyTwice(f"the key {next(name for name in names if names.count(name) > 1)!r} stands there twice")


def _files(manifest: Manifest, body: memoryview, source: str) -> dict[str, memoryview]:
    files: dict[str, memoryview] = {}
    end = 0
    for entry in manifest.files:
        if entry.offset != end or entry.size < 0 or entry.offset + entry.size > len(body) or entry.name in files:
            raise BundleContentError(
                f"{source}: file {entry.name} does not lie where it should", seen=entry, remedy="Copy or export it again"
            )
        end = entry.offset + entry.size
        view = body[entry.offset : end]
        if hashlib.sha256(view).hexdigest() != entry.sha256:
            raise BundleContentError(
                f"{source}: file {entry.name} was altered", seen=f"{entry.size} bytes", remedy="Copy it again from its source"
            )
        files[entry.name] = view
    if end != len(body):
        raise BundleContentError(
            f"{source} has bytes that no manifest entry covers", seen=len(body) - end, remedy="Copy or export it again"
        )
    return files


def file_entries(files: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
    """The manifest's list for `files`, laid out one after the other in the mapping's order."""
    entries = []
    offset = 0
    for name, data in files.items():
        entries.append(FileEntry(name, offset, len(data), hashlib.sha256(data).hexdigest()))
        offset += len(data)
    return tuple(entries)


def sign_bundle(manifest: Manifest, files: Mapping[str, bytes], key: Ed25519PrivateKey) -> bytes:
    """The bundle's bytes. `manifest.files` must be `file_entries(files)`; what is returned verifies, or BundleError is raised."""
    public = key.public_key().public_bytes_raw()
    text = msgspec.json.encode(manifest)
    head = MAGIC + public + key.sign(_signed_part(public, text)) + _LENGTH.pack(len(text)) + text
    data = head + b"".join(files.values())
    verify_bundle(data, (public.hex(),), source="the bundle just signed")
    return data


def save_bundle(data: bytes, path: Path) -> None:
    """Write atomically and durably: a power cut leaves the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
