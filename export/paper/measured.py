"""What lies beside a bundle: its certificate with what holds for one run on one machine only, and the figures in one flat object."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import msgspec

from export.paper.certificate import Certificate, TypologyCertificate
from export.pipeline import Exported
from export.proof.measure import Latency, Machine, this_machine


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """`NAME.certificate.json`. Only `certificate` is also inside the bundle, and signed with it."""

    bundle: str
    """The bundle's hash: to which file this belongs."""
    signed_by: str
    created: str
    """UTC, ISO 8601."""
    seconds: float
    """The export took."""
    machine: Machine
    latency: dict[str, tuple[Latency, ...]]
    """By typology (and router), one per member."""
    certificate: Certificate


def measured(exported: Exported, *, seconds: float) -> Measured:
    """Put together what is written beside the bundle."""
    return Measured(
        bundle=exported.bundle.hash,
        signed_by=exported.bundle.signed_by,
        created=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        seconds=round(seconds, 1),
        machine=this_machine(),
        latency=exported.latency,
        certificate=exported.certificate,
    )


def figures(found: Measured) -> dict[str, Any]:
    """One object for a script: sums over the typologies, and each of them.

    `int8` is what is shipped; `precision` says when that is not INT8 throughout.
    """
    each = [_typology(typology, found.latency[typology.name]) for typology in found.certificate.typologies]
    total = {key: sum(one[key] for one in each) for key in ("good", "bad", *_COUNTS)}
    alone = {key: each[0][key] for key in _SINGLE} if len(each) == 1 else {}
    router = found.certificate.router
    return {
        "name": found.certificate.name,
        "version": found.certificate.version,
        "bundle": found.bundle,
        **total,
        **alone,
        "typologies": each,
        "router": None if router is None else msgspec.to_builtins(router.result),
        "seconds": found.seconds,
    }


_SINGLE = ("precision", "method", "threshold", "own_threshold", "crossfit", "bounds", "auroc", "difference_max", "latency_ms")
"""Figures that have no sum; of a single typology they stand at the top too."""
_COUNTS = ("escapes_fp32", "escapes_int8", "overkills_fp32", "overkills_int8", "flips", "escapes_added", "overkills_added")


def _typology(typology: TypologyCertificate, latency: tuple[Latency, ...]) -> dict[str, Any]:
    found, at = typology.result, typology.result.shipped.shipped
    crossfit = found.shipped.crossfit
    sides = (("fp32", found.fp32), ("int8", found.shipped))
    return {
        "name": typology.name,
        "precision": [network.precision for network in typology.networks],
        "method": [network.method for network in typology.networks],
        "good": found.good,
        "bad": found.bad,
        "threshold": found.threshold,
        "margin": found.margin,
        "escapes_fp32": found.fp32.shipped.escapes,
        "escapes_int8": at.escapes,
        "overkills_fp32": found.fp32.shipped.overkills,
        "overkills_int8": at.overkills,
        "flips": found.flips.total,
        "escapes_added": found.flips.escapes_added,
        "escapes_removed": found.flips.escapes_removed,
        "overkills_added": found.flips.overkills_added,
        "overkills_removed": found.flips.overkills_removed,
        "own_threshold": {
            name: {"threshold": side.own.threshold, "escapes": side.own.escapes, "overkills": side.own.overkills} for name, side in sides
        },
        "crossfit": {
            name: None if side.crossfit is None else {"escapes": side.crossfit.escapes, "overkills": side.crossfit.overkills}
            for name, side in sides
        },
        "bounds": {
            "confidence": found.confidence,
            "escape_rate": at.escape_rate_bound,
            "overkill_rate": at.overkill_rate_bound,
            "escape_rate_crossfit": None if crossfit is None else crossfit.escape_rate_bound,
        },
        "auroc": {"fp32": found.fp32.auroc, "int8": found.shipped.auroc},
        "difference_max": found.difference_max,
        "difference_mean": found.difference_mean,
        "latency_ms": {
            "int8": round(sum(t.shipped_ms for t in latency), 3),
            "int8_p99": round(sum(t.shipped_p99_ms for t in latency), 3),
            "fp32": round(sum(t.fp32_ms for t in latency), 3),
            "source_fp32": round(sum(t.source_ms for t in latency), 3),
            "threads": latency[0].threads,
        },
    }
