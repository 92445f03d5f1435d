"""Fuzzing the bundle: nothing that the key did not sign is opened, and what it signed is opened whole or refused.

An input is one byte of choices, one byte for where to alter, and either a whole bundle or (one choice) a manifest, a zero byte and the
files' bytes, which are then signed with a test key: only so the manifest's parser is reached.
"""

from __future__ import annotations

import hashlib
import struct

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import MAGIC, Bundle, verify_bundle
from edge.errors import BundleError
from fuzz.harness import explained, timed

SIGN = 1
KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"the fuzzer's key, of no use elsewhere").digest())
PUBLIC = KEY.public_key().public_bytes_raw()


def check(data: bytes) -> None:
    """Raises whatever the reader raises but BundleError, and AssertionError where it breaks its promises."""
    if len(data) < 2:
        return
    choices, where, rest = data[0], data[1], data[2:]
    if choices & SIGN:
        manifest, _, body = rest.partition(b"\0")
        rest = signed(manifest, body)
    bundle = timed(lambda: _opened(rest))
    if bundle is not None:
        _check_bundle(bundle, rest, where)


def signed(manifest: bytes, body: bytes) -> bytes:
    """A bundle with this manifest, whatever it says."""
    length = struct.pack("<I", len(manifest))
    return MAGIC + PUBLIC + KEY.sign(MAGIC + PUBLIC + length + manifest) + length + manifest + body


def _opened(data: bytes) -> Bundle | None:
    try:
        return verify_bundle(data, (PUBLIC.hex(),))
    except BundleError as exc:
        explained(exc)
        return None


def _check_bundle(bundle: Bundle, data: bytes, where: int) -> None:
    """It was signed, lies in the bytes without gap or rest, and one altered bit anywhere closes it."""
    start = len(MAGIC) + 32 + 64
    (length,) = struct.unpack_from("<I", data, start)
    manifest = data[start + 4 : start + 4 + length]
    KEY.public_key().verify(data[len(MAGIC) + 32 : start], data[: len(MAGIC) + 32] + data[start : start + 4 + length])
    assert bundle.hash == hashlib.sha256(manifest).hexdigest()
    assert b"".join(bundle.files.values()) == data[start + 4 + length :]
    assert msgspec.json.decode(msgspec.json.encode(bundle.manifest), type=type(bundle.manifest)) == bundle.manifest
    wanted = {member.file for typology in bundle.manifest.typologies for member in typology.members}
    assert wanted <= set(bundle.files)
    altered = bytearray(data)
    altered[where * len(data) // 256] ^= 1 << where % 8
    assert _opened(bytes(altered)) is None
    assert _opened(data[:-1]) is None
    assert _opened(data + b"\0") is None
