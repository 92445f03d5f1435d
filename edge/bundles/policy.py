"""Which genuine bundles this box takes: whose key, which line, which versions, which typologies, and what was revoked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge.bundle import MAGIC, Bundle, verify_bundle
from edge.config import BundlesConfig, InspectorConfig
from edge.errors import BundleFormatError, BundlePolicyError, ConfigError

MAX_FILES = 4_096
_LINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}\Z")


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the configuration says about bundles."""

    trusted_keys: tuple[str, ...]
    store: BundlesConfig

    @classmethod
    def of(cls, config: InspectorConfig) -> Policy:
        """Raises ConfigError where no store is configured."""
        if config.bundles is None:
            remedy = "Put the table [inspector.bundles] in the place of inspector.bundle; docs/bundle.md has an example"
            raise ConfigError("inspector.bundles is missing", seen=config.bundle, remedy=remedy)
        return cls(trusted_keys=config.trusted_keys, store=config.bundles)


def admit(data: bytes, policy: Policy, *, line: str, source: str) -> Bundle:
    """The bundle in `data`, verified and allowed here; `line` is the name the store knows, or "". Raises BundleError."""
    key = data[len(MAGIC) : len(MAGIC) + 32].hex()
    # Before anything that the key's owner wrote is parsed.
    if data.startswith(MAGIC) and key in policy.store.revoked_keys:
        raise _refused(f"{source} is signed by a revoked key", key, "Have it signed anew by a key that counts")
    bundle = verify_bundle(data, policy.trusted_keys, source=source)
    if bundle.hash in policy.store.revoked_bundles:
        raise _refused(f"{source} is revoked", bundle.hash, "Install the bundle that replaced it")
    _check_limits(bundle, source)
    _check_line(bundle.manifest.name, policy.store.line or line, source)
    if bundle.manifest.version < policy.store.min_version:
        seen = f"version {bundle.manifest.version}, at least {policy.store.min_version}"
        raise _refused(f"{source} is older than inspector.bundles.min_version", seen, "Install a newer one")
    missing = sorted(set(policy.store.typologies) - {typology.name for typology in bundle.manifest.typologies})
    if missing:
        raise _refused(f"{source} cannot judge what this line needs", ", ".join(missing), "Export it with these typologies")
    return bundle


def require_typologies(bundle: Bundle, needed: frozenset[str]) -> None:
    """Raises BundlePolicyError naming the typologies that recipes name and the bundle lacks."""
    missing = sorted(needed - {typology.name for typology in bundle.manifest.typologies})
    if missing:
        raise _refused("the bundle cannot judge what the recipes name", ", ".join(missing), "Export it with these typologies")


def _check_limits(bundle: Bundle, source: str) -> None:
    names = [entry.name.casefold() for entry in bundle.manifest.files]
    if len(names) > MAX_FILES:
        raise BundleFormatError(f"{source} has too many files", seen=len(names), remedy=f"At most {MAX_FILES}")
    if len(set(names)) != len(names):
        raise BundleFormatError(f"{source} has names that differ in case only", remedy="Export it again")
    folders = {name[:end] for name in names for end, letter in enumerate(name) if letter == "/"}
    if folders & set(names):
        raise BundleFormatError(f"{source} uses a name as file and as folder", seen=min(folders & set(names)), remedy="Export it again")


def _check_line(name: str, line: str, source: str) -> None:
    if _LINE.match(name) is None:
        remedy = "A line's name is 1 to 64 of A-Z a-z 0-9 . _ - and space"
        raise BundleFormatError(f"{source} has a name that may deceive", seen=ascii(name[:80]), remedy=remedy)
    if line and name != line:
        raise _refused(
            f"{source} is for another line", f"{name!r}, this is {line!r}", "Take this line's bundle, or set inspector.bundles.line"
        )


def _refused(what: str, seen: object, remedy: str) -> BundlePolicyError:
    return BundlePolicyError(what, seen=seen, remedy=remedy)
