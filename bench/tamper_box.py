"""A box's three doors for bundles (verify, install, load), each of which says refused, accepted or broken; and its store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.tamper_make import DOORS, INSTALL, VERIFY
from bench.tamper_parts import LINE, Genuine, Parts
from edge.bundle import Bundle, verify_bundle
from edge.bundles.opening import open_configured
from edge.bundles.policy import Policy
from edge.bundles.state import Proof
from edge.bundles.store import FILE, VERSIONS, Store
from edge.config import BundlesConfig, CameraConfig, InspectorConfig
from edge.errors import BundleError, CordonError

REFUSED, ACCEPTED, BROKEN = "refused", "accepted", "broken"


@dataclass
class Seen:
    """What became of tampered bundles, by door."""

    refused: dict[str, int] = field(default_factory=dict)
    """By kind of error."""
    accepted: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Errors that are no refusal: what was tampered with must not make the box stumble either."""

    def trial(self, act: Callable[[], object], what: str) -> str:
        """Do it and note what came of it."""
        try:
            act()
        except BundleError as exc:
            kind = type(exc).__name__
            self.refused[kind] = self.refused.get(kind, 0) + 1
            return REFUSED
        except Exception as exc:  # noqa: BLE001 - an accident is no refusal, and its name belongs in the report
            self.broken.append(f"{what}: {type(exc).__name__}: {str(exc)[:100]}")
            return BROKEN
        self.accepted.append(what)
        return ACCEPTED


class Box:
    """A store with two bundles in use, under a policy with a line, needed typologies, a revoked key and a revoked bundle."""

    def __init__(self, folder: Path, genuine: Genuine) -> None:
        self.genuine = genuine
        store = BundlesConfig(
            folder=folder / "bundles",
            line=LINE,
            typologies=("T2", "T5"),
            revoked_keys=(genuine.trusted[2],),
            revoked_bundles=(genuine.hash_of(genuine.withdrawn),),
        )
        camera = (CameraConfig(name="cam", endpoint="ipc:///nowhere"),)
        self.config = InspectorConfig(bundles=store, trusted_keys=genuine.trusted, camera=camera)
        self.store = Store(policy=Policy.of(self.config))
        self._source = folder / "new.cordon"
        for parts in (genuine.before, genuine.active):
            self.activate(parts)
        self.name = self.store.state().active
        self.file = self.store.folder / VERSIONS / self.name / FILE
        self.installed = self.store.installed()

    def activate(self, parts: Parts) -> None:
        """Install and switch; the golden inputs are another test's."""
        bundle = self._installed(parts.data)
        self.store.activate(bundle.hash, lambda _: Proof(version=bundle.manifest.version, answers=6, backend="none"))

    def _installed(self, data: bytes) -> Bundle:
        self._source.write_bytes(data)
        return self.store.install(self._source)[0]

    def through(self, door: str, data: bytes) -> Bundle:
        """Through one of DOORS. Raises BundleError."""
        if door == VERIFY:
            return verify_bundle(data, self.config.trusted_keys)
        if door == INSTALL:
            return self._installed(data)
        self.file.write_bytes(data)
        return open_configured(self.config)

    def control(self, number: int, *, clean: bool = True) -> None:
        """What was not tampered with passes every door, and (`clean`) nothing was left behind. Raises CordonError otherwise."""
        active = self.genuine.active.data
        for door in DOORS:
            try:
                same = self.through(door, active).hash == self.name
            except BundleError as exc:
                raise _useless(f"the genuine bundle at {door}", exc) from exc
            if not same:
                raise _useless(f"the genuine bundle at {door}", "another one was taken")
        new = self.genuine.make(self.genuine.others[0].version + 1, note=f"control {number}")
        if clean and self.store.installed() != self.installed:
            raise _useless("the store", self.store.installed())
        self.store.remove(self._installed(new.data).hash)

    def load(self) -> Bundle:
        """What the inspector would load."""
        return open_configured(self.config)


def _useless(what: str, seen: object) -> CordonError:
    return CordonError(f"the check cannot be trusted: {what} is not as it was", seen=seen, remedy="Look what the trials before did to it")
