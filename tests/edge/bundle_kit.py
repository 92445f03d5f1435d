"""Signed tiny bundles with a certificate as export writes it, and the commands run on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from tiny import KEY, PUBLIC, TinyBundle

from edge.bundle import Bundle, Manifest, file_entries, sign_bundle, verify_bundle


def certificate() -> dict[str, Any]:
    """One typology's figures, with the keys that export writes."""
    shipped = {"threshold": 0.5, "escapes": 0, "overkills": 3, "escape_rate_bound": 0.0487, "overkill_rate_bound": 0.0752}
    full = shipped | {"overkills": 2}
    network = {
        "name": "T2-0",
        "kind": "classifier",
        "architecture": "tiny",
        "precision": "mixed",
        "float_layers": ["/head/Gemm", "/stem/Conv"],
        "method": "entropy",
        "source_sha256": "ab" * 32,
        "source_provenance": {"seed": "42", "data": "welds"},
    }
    return {
        "format": 2,
        "typologies": [
            {
                "name": "T2",
                "networks": [network],
                "calibration": {"images": 64, "labels": {"bad": 30, "good": 34}, "candidates": 210, "sha256": "cd" * 32},
                "result": {
                    "good": 100,
                    "bad": 60,
                    "refused_good": 1,
                    "refused_bad": 4,
                    "confidence": 0.95,
                    "fp32": {"shipped": full, "own": dict(full), "crossfit": None},
                    "shipped": {"shipped": shipped, "own": dict(shipped), "crossfit": shipped | {"overkills": 7}},
                    "flips": {"escapes_added": 0, "escapes_removed": 0, "overkills_added": 2, "overkills_removed": 1},
                    "difference_max": 0.0321,
                },
                "scores": {"files": ["a", "b"], "fp32": [0.1] * 40, "shipped": [0.2] * 40},
            }
        ],
        "router": {
            "network": {"name": "router", "precision": "int8", "method": "max"},
            "result": {"scans": 50, "named_int8": 48, "wrong_int8": 0, "unsure_int8": 2, "named_fp32": 49, "wrong_fp32": 1},
        },
        "code_sha256": "ef" * 32,
    }


def signed(
    bundle: TinyBundle | None = None, *, paper: object = None, change: Callable[[Manifest], Manifest] = lambda manifest: manifest
) -> Bundle:
    """The verified bundle of `signed_bytes`."""
    return verify_bundle(signed_bytes(bundle, paper=paper, change=change), (PUBLIC,))


def signed_bytes(
    bundle: TinyBundle | None = None, *, paper: object = None, change: Callable[[Manifest], Manifest] = lambda manifest: manifest
) -> bytes:
    """A tiny bundle with `paper` (bytes as they are, else as JSON) for its certificate and its manifest changed."""
    bundle = bundle or TinyBundle()
    manifest = bundle.manifest()
    if paper is not None:
        bundle.files["certificate.json"] = paper if isinstance(paper, bytes) else msgspec.json.encode(paper)
    manifest = change(msgspec.structs.replace(manifest, files=file_entries(bundle.files), provenance={"cordon": "0.1.0", "torch": "2.9"}))
    return sign_bundle(manifest, bundle.files, KEY)
