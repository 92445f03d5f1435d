"""The store: versions in folders named by their hash, and one state whose replacement switches; a power cut leaves the old or the new."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge.bundle import MAX_BUNDLE_BYTES, Bundle
from edge.bundles import folder as files
from edge.bundles.policy import Policy, admit, require_typologies
from edge.bundles.state import MAX_STATE_BYTES, STATE, Proof, State, decode_state, encode_state
from edge.errors import BundleContentError, BundlePolicyError, StoreError

VERSIONS, FILE = "versions", "bundle.cordon"
SPARE_BYTES = 64 * 1024 * 1024
"""Left free on the disk beside the new bundle: records may lie on the same one."""
_NAME = re.compile(r"[0-9a-f]{64}\Z")
Prove = Callable[[str], Proof]
"""Runs the golden inputs of an installed bundle. Raises CordonError when they do not agree."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """One folder of bundles under one policy."""

    policy: Policy

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.policy.store.folder

    # -- reading

    def state(self) -> State:
        """What is remembered. Raises StoreError."""
        with files.opened(self.folder) as handle:
            return _state(handle)

    def installed(self) -> tuple[str, ...]:
        """The hashes of all versions. Raises StoreError."""
        with files.opened(self.folder) as handle:
            return _installed(handle)

    def find(self, text: str) -> str:
        """The one installed hash that begins with `text`, at least 6 digits. Raises BundlePolicyError."""
        found = [name for name in self.installed() if len(text) >= 6 and name.startswith(text.lower())]
        if len(found) != 1:
            remedy = "Give the first digits of one hash, at least 6, that `cordon bundle list` shows"
            raise BundlePolicyError(
                "no such bundle is installed" if not found else "several bundles begin so", seen=text[:80], remedy=remedy
            )
        return found[0]

    def open(self, name: str, *, loading: bool = True) -> Bundle:
        """An installed bundle, verified anew; `loading`: the floor counts too. Raises BundleError."""
        with files.opened(self.folder) as handle:
            state = _state(handle)
            bundle = self._read(handle, name, state)
        if loading and not state.allows(name, bundle.manifest.version):
            seen = f"version {bundle.manifest.version}, floor {state.floor}"
            raise BundlePolicyError("the bundle is older than the floor", seen=seen, remedy="Install a newer one")
        return bundle

    def _read(self, handle: int, name: str, state: State) -> Bundle:
        if _NAME.match(name) is None:
            raise StoreError("no bundle has such a name", seen=name[:80], remedy="Give the hash that `cordon bundle list` shows")
        with files.opened(VERSIONS, handle) as versions, files.opened(name, versions) as version:
            try:
                data = files.read(version, FILE, MAX_BUNDLE_BYTES)
            except FileNotFoundError as exc:
                raise BundleContentError("the bundle's file is missing", seen=name, remedy="Install it again") from exc
        bundle = admit(data, self.policy, line=state.line, source=f"bundle {name[:12]}")
        if bundle.hash != name:
            raise BundleContentError(
                "another bundle lies in its place", seen=f"{bundle.hash[:12]} for {name[:12]}", remedy="Install both again"
            )
        return bundle

    def _prove(self, handle: int, prove: Prove, bundle: Bundle, state: State) -> Proof:
        """Raises whatever `prove` does, and BundleError when the bundle is not the same afterwards."""
        proof = prove(bundle.hash)
        if proof.version != bundle.manifest.version or proof.answers < 1:
            seen = f"version {proof.version}, {proof.answers} answers"
            raise BundleContentError("something else was proved than the bundle", seen=seen, remedy="Look who changes the store meanwhile")
        self._read(handle, bundle.hash, state)
        return proof

    # -- changing

    def install(self, source: Path, *, downgrade: str = "") -> tuple[Bundle, bool]:
        """Verify and keep the bundle in `source`; `downgrade`: why an older one is allowed. Also returns whether it is new.

        Raises BundleError.
        """
        data = files.read_source(source, MAX_BUNDLE_BYTES)
        files.make(self.folder)
        with self._changing() as (handle, state):
            bundle = admit(data, self.policy, line=state.line, source=str(source))
            allowed = _require_newer(state, bundle, downgrade)
            with files.opened(VERSIONS, handle) as versions:
                new = _keep(versions, bundle.hash, data)
            if new or downgrade:
                _write(handle, allowed.with_event("install", bundle.hash, bundle.manifest.version, downgrade))
        return bundle, new

    def activate(self, name: str, prove: Prove, *, needed: frozenset[str] = frozenset(), downgrade: str = "") -> Bundle:
        """Prove an installed bundle and switch to it. Raises BundleError, or whatever `prove` refuses it with."""
        with self._changing() as (handle, state):
            bundle = self._read(handle, name, state)
            version = bundle.manifest.version
            allowed = _require_newer(state, bundle, downgrade)
            require_typologies(bundle, needed)
            proof = self._prove(handle, prove, bundle, state)
            replaced = state.proved[state.active].version if state.active and state.active != name else 0
            new = msgspec.structs.replace(
                allowed,
                line=bundle.manifest.name,
                active=name,
                previous=state.active if state.active != name else state.previous,
                floor=max(state.floor, replaced),
                highest=max(state.highest, version),
                proved={**state.proved, name: proof},
            )
            # Replacing an older one that was allowed must not lift the floor above the one that replaces it.
            if not new.allows(name, version):
                raise BundlePolicyError(
                    "the bundle is older than the one it replaces", seen=f"version {version}", remedy="Use --allow-downgrade"
                )
            if new.previous and not new.allows(new.previous, new.proved[new.previous].version):
                new = msgspec.structs.replace(new, previous="")
            _write(handle, new.with_event("activate", name, version, downgrade))
        return bundle

    def rollback(self, prove: Prove, *, reason: str, needed: frozenset[str] = frozenset()) -> Bundle:
        """Prove the bundle before the active one and switch to it; the one it replaces is no way back. Raises as `activate`."""
        with self._changing() as (handle, state):
            if not state.previous:
                raise BundlePolicyError("there is no bundle to go back to", remedy="Install and activate another one")
            bundle = self._read(handle, state.previous, state)
            require_typologies(bundle, needed)
            proof = self._prove(handle, prove, bundle, state)
            proved = {**state.proved, bundle.hash: proof}
            new = msgspec.structs.replace(state, active=bundle.hash, previous="", proved=proved)
            _write(handle, new.with_event("rollback", bundle.hash, bundle.manifest.version, reason))
        return bundle

    def remove(self, name: str) -> None:
        """Delete a version that is neither active nor the way back; the floor stays. Raises BundleError."""
        with self._changing() as (handle, state):
            if name in {state.active, state.previous}:
                raise BundlePolicyError("the bundle is active or the way back", seen=name[:12], remedy="Activate another one first")
            with files.opened(VERSIONS, handle) as versions:
                os.rename(name, files.PART + name, src_dir_fd=versions, dst_dir_fd=versions)
                files.remove_parts(versions)
            _write(handle, state.with_event("remove", name, 0))

    @contextlib.contextmanager
    def _changing(self) -> Iterator[tuple[int, State]]:
        """The store alone and clean of what was never finished, with its state. Raises StoreError."""
        with files.opened(self.folder) as handle, files.locked(handle):
            try:
                files.make_within(handle, VERSIONS)
                files.remove_parts(handle)
                with files.opened(VERSIONS, handle) as versions:
                    files.remove_parts(versions)
                if STATE not in files.names(handle) and not _installed(handle):
                    _write(handle, State())
                yield handle, _state(handle)
            except OSError as exc:
                remedy = "Check the folder's rights, the disk and its free space; the active bundle is as it was"
                raise StoreError(f"cannot change the bundle store {self.folder}", seen=exc.strerror or exc, remedy=remedy) from exc


def _state(handle: int) -> State:
    try:
        return decode_state(files.read(handle, STATE, MAX_STATE_BYTES))
    except FileNotFoundError as exc:
        remedy = "Restore it from a backup, or look who removed it and begin with an empty store; `cordon bundle install` makes one"
        raise StoreError(f"{STATE} of the bundle store is missing", remedy=remedy) from exc


def _installed(handle: int) -> tuple[str, ...]:
    if VERSIONS not in files.names(handle):
        return ()
    with files.opened(VERSIONS, handle) as versions:
        return tuple(sorted(name for name in files.names(versions) if _NAME.match(name)))


def _write(handle: int, state: State) -> None:
    data = encode_state(state)
    decode_state(data)
    files.write_whole(handle, STATE, data)


def _require_newer(state: State, bundle: Bundle, downgrade: str) -> State:
    """The state with the exemption that an older bundle needs. Raises BundlePolicyError."""
    version, name = bundle.manifest.version, bundle.hash
    twin = next((known for known, proof in state.proved.items() if proof.version == version and known != name), None)
    if (version >= state.highest and twin is None) or name in state.exempt or name == state.active:
        return state
    if downgrade:
        return msgspec.structs.replace(state, exempt={**state.exempt, name: downgrade})
    if twin is not None:
        what, seen = "another bundle of this version was active here", f"version {version}, {twin[:12]}"
    else:
        what, seen = "the bundle is older than what was active here", f"version {version}, highest {state.highest}"
    raise BundlePolicyError(what, seen=seen, remedy="Export it with a higher version; --allow-downgrade REASON takes it all the same")


def _keep(versions: int, name: str, data: bytes) -> bool:
    """Put the file in place, whole; False when it is there already."""
    if name in files.names(versions):
        with files.opened(name, versions) as version:
            with contextlib.suppress(FileNotFoundError):
                if files.read(version, FILE, MAX_BUNDLE_BYTES) == data:
                    return False
            # The same manifest signed by another key, or damaged on the disk.
            _require_room(versions, len(data))
            files.write_whole(version, FILE, data)
            return True
    _require_room(versions, len(data))
    part = files.PART + name
    try:
        files.make_readable(part, versions)
        with files.opened(part, versions) as version:
            files.write_new(version, FILE, data)
            os.fsync(version)
        os.rename(part, name, src_dir_fd=versions, dst_dir_fd=versions)
        os.fsync(versions)
    except OSError:
        with contextlib.suppress(OSError):
            files.remove_parts(versions)
        raise
    return True


def _require_room(handle: int, size: int) -> None:
    free = files.free_bytes(handle)
    if free < size + SPARE_BYTES:
        seen = f"{free} bytes free, {size} and {SPARE_BYTES} to spare are needed"
        raise StoreError("the disk has no room for the bundle", seen=seen, remedy="`cordon bundle remove` old ones, or make room")
