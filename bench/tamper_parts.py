"""Genuine bundles and keys to tamper with, all from one seed, and a bundle taken apart and put together again."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.bundle import MAGIC, file_entries, sign_bundle, verify_bundle
from edge.manifest import Manifest
from faults.line.bundles import TinyBundle

LINE, ACTIVE = "tiny", 4
"""Versions ACTIVE - 1 and ACTIVE were activated one after the other: the first is the floor."""
Change = Callable[[dict[str, Any]], object]


def key_from(seed: int, name: str) -> Ed25519PrivateKey:
    """The same key for the same seed and name."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest())


def public(key: Ed25519PrivateKey) -> bytes:
    """Its 32 bytes."""
    return key.public_key().public_bytes_raw()


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A bundle's bytes, cut where the format cuts them."""

    magic: bytes
    key: bytes
    signature: bytes
    length: bytes
    manifest: bytes
    body: bytes

    @classmethod
    def of(cls, data: bytes) -> Parts:
        """Of a genuine bundle."""
        end = 108 + int.from_bytes(data[104:108], "little")
        return cls(magic=data[:8], key=data[8:40], signature=data[40:104], length=data[104:108], manifest=data[108:end], body=data[end:])

    @property
    def data(self) -> bytes:
        """Put together."""
        return self.magic + self.key + self.signature + self.length + self.manifest + self.body

    def files(self) -> dict[str, bytes]:
        """By name, as the manifest lists them."""
        entries = msgspec.json.decode(self.manifest)["files"]
        return {entry["name"]: self.body[entry["offset"] : entry["offset"] + entry["size"]] for entry in entries}

    @property
    def version(self) -> int:
        """As the manifest says."""
        return int(msgspec.json.decode(self.manifest)["version"])

    def with_manifest(self, manifest: bytes) -> Parts:
        """Another manifest with its length; the signature stays."""
        return replace(self, manifest=manifest, length=len(manifest).to_bytes(4, "little"))

    def changed(self, change: Change) -> Parts:
        """The manifest's JSON edited; the signature stays."""
        return self.with_manifest(edited(self.manifest, change))

    def with_files(self, files: dict[str, bytes]) -> Parts:
        """Other files, with their sizes and hashes in the manifest; the signature stays."""
        entries = msgspec.to_builtins(file_entries(files))
        return replace(self.changed(lambda manifest: manifest.update(files=entries)), body=b"".join(files.values()))

    def signed(self, key: Ed25519PrivateKey) -> Parts:
        """Signed by `key`, whose public half stands in the header; nothing is checked."""
        own = public(key)
        return replace(self, key=own, signature=key.sign(MAGIC + own + self.length + self.manifest))


def edited(manifest: bytes, change: Change) -> bytes:
    """The JSON after `change`."""
    value = msgspec.json.decode(manifest)
    change(value)
    return msgspec.json.encode(value)


@functools.cache
def _tiny(members: int) -> tuple[Manifest, dict[str, bytes]]:
    tiny = TinyBundle(members=members)
    manifest = tiny.manifest()
    return msgspec.structs.replace(manifest, files=file_entries(tiny.files)), tiny.files


class Genuine:
    """Bundles of one line, signed by keys that a box trusts."""

    def __init__(self, seed: int, real: tuple[bytes, bytes] | None = None) -> None:
        """`real`: an exported bundle and the public key that signed it, to be tampered with as well."""
        self.seed = seed
        self.key, self.second, self.revoked = (key_from(seed, name) for name in ("first", "second", "revoked"))
        self.stranger = key_from(seed, "stranger")
        self.before, self.active = self.make(ACTIVE - 1), self.make(ACTIVE)
        self.others = (self.make(ACTIVE + 1), self.make(ACTIVE + 2, members=2), self.make(ACTIVE, key=self.second))
        self.withdrawn = self.make(ACTIVE + 3, note="revoked by its hash")
        self.real = () if real is None else (Parts.of(real[0]),)
        self.trusted = tuple(public(key).hex() for key in (self.key, self.second, self.revoked)) + (
            () if real is None else (real[1].hex(),)
        )
        self.every = frozenset(parts.data for parts in (self.before, self.active, *self.others, self.withdrawn, *self.real))

    def make(self, version: int, *, key: Ed25519PrivateKey | None = None, members: int = 1, name: str = LINE, note: str = "") -> Parts:
        """A genuine bundle; every `note` makes another one."""
        plain, files = _tiny(members)
        manifest = msgspec.structs.replace(plain, version=version, name=name, provenance={"note": note})
        return Parts.of(sign_bundle(manifest, files, key or self.key))

    def any(self, rng: random.Random) -> Parts:
        """One of those that a box would take; rarely the real one, which is large."""
        if self.real and rng.random() < 0.02:
            return self.real[0]
        return rng.choice((self.active, self.before, *self.others))

    def hash_of(self, parts: Parts) -> str:
        """Its identity."""
        return verify_bundle(parts.data, self.trusted).hash
