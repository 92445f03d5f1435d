"""The bundle that the configuration means: a file, the store's active one or, when that fails, the one before it."""

from __future__ import annotations

import logging

from edge.bundle import Bundle, open_bundle
from edge.bundles.policy import Policy
from edge.bundles.store import Store
from edge.config import InspectorConfig
from edge.errors import BundleError, BundlePolicyError, CordonError, EngineTrustError, GpuError, StoreError

NO_WAY_BACK = (StoreError, EngineTrustError, GpuError)
"""Where nobody can say what may be used, or the bundle is not to blame."""

log = logging.getLogger("cordon.inspector")


def open_configured(config: InspectorConfig) -> Bundle:
    """The file's bundle, or the store's active one. Raises BundleError."""
    if config.bundle is not None:
        return open_bundle(config.bundle, config.trusted_keys)
    store = Store(policy=Policy.of(config))
    active = store.state().active
    if not active:
        remedy = "Run `cordon bundle install FILE` and `cordon bundle activate`"
        raise BundlePolicyError("no bundle is active", seen=store.folder, remedy=remedy)
    return store.open(active)


def open_spare(config: InspectorConfig, cause: CordonError) -> tuple[Bundle, BundlePolicyError] | None:
    """The bundle that was active before, and what to tell about it, after the active one failed for `cause`; None where there is none.

    It was proved here once, is genuine, not revoked and not below the floor.
    """
    if config.bundles is None or not config.bundles.fallback or isinstance(cause, NO_WAY_BACK):
        return None
    store = Store(policy=Policy.of(config))
    try:
        state = store.state()
        if not state.previous:
            return None
        bundle = store.open(state.previous)
    except BundleError as exc:
        log.error("the bundle before the active one cannot be used either: %s", exc)  # noqa: TRY400 - the reason is in the words
        return None
    told = (
        f"the active bundle {state.active[:12]} cannot be used; version {bundle.manifest.version}, {bundle.hash[:12]}, judges in its place"
    )
    remedy = "Run `cordon bundle rollback --reason TEXT` to keep it so, or activate one that works"
    return bundle, BundlePolicyError(told, seen=f"{type(cause).__name__}: {cause}", remedy=remedy)
