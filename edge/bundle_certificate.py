"""What a bundle's certificate says, in words; read as plain JSON, so that one of another release still shows what it can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from edge.bundle import Bundle

NAME = "certificate.json"
MAX_FIGURE = 1e15
"""Whatever is larger is no figure of an export."""


def read_certificate(bundle: Bundle) -> dict[str, Any]:
    """The certificate, or an empty one when the bundle has none that is JSON."""
    try:
        found = msgspec.json.decode(bundle.files.get(NAME, b"{}"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def named(certificate: dict[str, Any], typology: str) -> dict[str, Any]:
    """The part about `typology`, or nothing."""
    parts = certificate.get("typologies")
    found = (part for part in parts if isinstance(part, dict)) if isinstance(parts, list) else ()
    return next((part for part in found if part.get("name") == typology), {})


def networks(part: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The records of a part's networks by the members' names."""
    records = part.get("networks")
    several = records if isinstance(records, list) else [part.get("network")]
    return {str(record.get("name")): record for record in several if isinstance(record, dict)}


def held_out_words(part: dict[str, Any]) -> Iterator[str]:
    """What the held-out scans said about FP32 and the shipped networks."""
    result = part.get("result", {})
    good, bad = _number(result, "good"), _number(result, "bad")
    if good is None or bad is None:
        return
    refused = (_number(result, "refused_good") or 0) + (_number(result, "refused_bad") or 0)
    yield f"{good:g} good and {bad:g} bad scans" + (f"; {refused:g} more were refused before any network" if refused else "")
    for what, total in (("escapes", bad), ("overkills", good)):
        yield from _counted(result, what, total)
    confidence = _number(result, "confidence")
    if confidence is not None:
        yield f"(rates with {confidence:.0%} confidence, at best: the same scans chose the threshold)"
    added = {what: _number(result, "flips", what) for what in ("escapes_added", "overkills_added", "escapes_removed", "overkills_removed")}
    if None not in added.values():
        yield (
            f"called otherwise than by FP32: {added['escapes_added']:g} escapes and {added['overkills_added']:g} overkills more, "
            f"{added['escapes_removed']:g} and {added['overkills_removed']:g} fewer"
        )
    difference = _number(result, "difference_max")
    if difference is not None:
        yield f"scores differ from FP32 by at most {difference:.2g}"


def _counted(result: Any, what: str, total: float) -> Iterator[str]:
    shipped, full = _number(result, "shipped", "shipped", what), _number(result, "fp32", "shipped", what)
    if shipped is None:
        return
    text = f"{what} {shipped:g} of {total:g}" + ("" if full is None else f", FP32 {full:g}")
    bound = _number(result, "shipped", "shipped", f"{what[:-1]}_rate_bound")
    text += "" if bound is None else f"; true rate below {bound:.2%}"
    folds = _number(result, "shipped", "crossfit", what)
    yield text + ("" if folds is None else f"; {folds:g} with every threshold chosen on other scans")


def calibration_words(part: dict[str, Any]) -> Iterator[str]:
    """Which images calibrated."""
    found = part.get("calibration")
    images, candidates = _number(found, "images"), _number(found, "candidates")
    if images is None:
        return
    labels = _at(found, "labels")
    by_label = ", ".join(f"{count} {label}" for label, count in labels.items()) if isinstance(labels, dict) else ""
    text = f"{images:g} images" + ("" if candidates is None else f" of {candidates:g}") + (f" ({by_label})" if by_label else "")
    digest = _at(found, "sha256")
    yield text + (f", set {digest[:12]}" if isinstance(digest, str) else "")


def source_words(part: dict[str, Any]) -> Iterator[str]:
    """What every network was made from."""
    for name, record in networks(part).items():
        digest, provenance = record.get("source_sha256"), record.get("source_provenance")
        if isinstance(digest, str):
            known = ", ".join(f"{key} {value}" for key, value in sorted(provenance.items())) if isinstance(provenance, dict) else ""
            yield f"{name} sha256 {digest}" + (f" ({known})" if known else "")


def router_words(part: dict[str, Any]) -> Iterator[str]:
    """What the held-out scans of every typology said about the router."""
    result = part.get("result", {})
    counts = [_number(result, key) for key in ("scans", "named_int8", "wrong_int8", "unsure_int8", "named_fp32", "wrong_fp32")]
    if None not in counts:
        scans, right, wrong, unsure, right32, wrong32 = counts
        yield f"{scans:g} scans: {right:g} named rightly, {wrong:g} wrongly, {unsure:g} not at all (FP32 {right32:g} and {wrong32:g})"


def _at(node: Any, *path: str) -> Any:
    for key in path:
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _number(node: Any, *path: str) -> float | None:
    found = _at(node, *path)
    proper = isinstance(found, int | float) and not isinstance(found, bool) and abs(found) < MAX_FIGURE
    return float(found) if proper else None
