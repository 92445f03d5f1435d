"""A store of tiny bundles, its policy, and a stand-in for the process that runs golden inputs (the real one has its own test)."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from tiny import KEY, PUBLIC, TinyBundle

from edge.bundle import Bundle, file_entries, sign_bundle, verify_bundle
from edge.bundles.policy import Policy
from edge.bundles.state import Proof, State, encode_state
from edge.bundles.store import FILE, VERSIONS, Store
from edge.config import BundlesConfig, CameraConfig, InspectorConfig

TRUSTED = (PUBLIC,)


@functools.cache
def made(version: int = 1, *, name: str = "tiny", note: str = "") -> bytes:
    """A genuine bundle."""
    tiny = TinyBundle(version=version)
    manifest = msgspec.structs.replace(tiny.manifest(), name=name, provenance={"note": note})
    return sign_bundle(msgspec.structs.replace(manifest, files=file_entries(tiny.files)), tiny.files, KEY)


@functools.cache
def opened(version: int = 1) -> Bundle:
    return verify_bundle(made(version), TRUSTED)


def forged(change: Callable[[dict[str, Any]], object], more: bytes = b"") -> bytes:
    """A bundle whose manifest nobody checked before it was signed with a trusted key."""
    bundle = opened(1)
    manifest = msgspec.json.decode(msgspec.json.encode(bundle.manifest))
    change(manifest)
    return signed_anyhow(msgspec.json.encode(manifest), b"".join(bundle.files.values()) + more)


def signed_anyhow(manifest: bytes, body: bytes = b"") -> bytes:
    length = len(manifest).to_bytes(4, "little")
    head = b"CORDON\x00\x01" + bytes.fromhex(PUBLIC)
    return head + KEY.sign(head + length + manifest) + length + manifest + body


def policy(folder: Path, trusted: tuple[str, ...] = TRUSTED, **changes: Any) -> Policy:
    return Policy(trusted_keys=trusted, store=BundlesConfig(folder=folder, **changes))


def store_in(folder: Path, **changes: Any) -> Store:
    return Store(policy=policy(folder, **changes))


def inspector_config(store: Store, **changes: Any) -> InspectorConfig:
    camera = (CameraConfig(name="cam", endpoint="ipc:///nowhere"),)
    settings = {"bundles": store.policy.store, "trusted_keys": store.policy.trusted_keys, "camera": camera, "threads": 1}
    return InspectorConfig(**{**settings, **changes})


def agree(store: Store) -> Callable[[str], Proof]:
    """Says of every bundle that its golden inputs agreed."""
    return lambda name: Proof(version=store.open(name, loading=False).manifest.version, answers=6, backend="stand-in")


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def install(store: Store, data: bytes, **more: Any) -> str:
    """Put `data` into the store and return its hash."""
    return store.install(write(store.folder.with_suffix(".source"), data), **more)[0].hash


def activate(store: Store, data: bytes, **more: Any) -> str:
    name = install(store, data, **more)
    store.activate(name, agree(store), **more)
    return name


def bundle_path(store: Store, name: str) -> Path:
    return store.folder / VERSIONS / name / FILE


def change_state(store: Store, **changes: Any) -> None:
    """What somebody does who can write the state and compute its checksum."""
    state: State = msgspec.structs.replace(store.state(), **changes)
    (store.folder / "state.json").write_bytes(encode_state(state))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
