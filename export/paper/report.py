"""The certificate as a table for the terminal."""

from __future__ import annotations

from export.paper.certificate import RouterResult, TypologyCertificate
from export.paper.measured import Measured
from export.proof.measure import Latency
from export.proof.verify import Operating

HEAD = ("", "good", "bad", "precision", "threshold", "escapes", "overkills", "cross-fitted", "AUROC fp32", "shipped", "ms", "escape rate")
WIDTHS = (8, 5, 5, 9, 9, 10, 10, 12, 10, 7, 6, 0)
FOOT = (
    "Escapes and overkills of what is shipped, on held-out scans; in brackets what it adds to FP32 and removes. The threshold was\n"
    "chosen on the same scans; cross-fitted: escapes/overkills when other scans choose it, FP32's in brackets. ms: median per image here."
)


def table(found: Measured) -> str:
    """One line per typology, one for the router."""
    lines = ["", _line(HEAD)]
    for typology in found.certificate.typologies:
        lines += [_line(_typology(typology, found.latency[typology.name])), *_floats(typology)]
    if found.certificate.router is not None:
        lines.append(_router(found.certificate.router.result))
    return "\n".join([*lines, FOOT])


def _typology(typology: TypologyCertificate, latency: tuple[Latency, ...]) -> tuple[str, ...]:
    found, at, flips = typology.result, typology.result.shipped.shipped, typology.result.flips
    return (
        typology.name,
        str(found.good),
        str(found.bad),
        "+".join(sorted({network.precision for network in typology.networks})),
        f"{found.threshold:.4f}",
        f"{at.escapes} (+{flips.escapes_added} -{flips.escapes_removed})",
        f"{at.overkills} (+{flips.overkills_added} -{flips.overkills_removed})",
        f"{_counts(found.shipped.crossfit)} ({_counts(found.fp32.crossfit)})",
        f"{found.fp32.auroc:.4f}",
        f"{found.shipped.auroc:.4f}",
        f"{sum(t.shipped_ms for t in latency):.2f}",
        f"below {at.escape_rate_bound:.1%} with {found.confidence:.0%} confidence",
    )


def _floats(typology: TypologyCertificate) -> list[str]:
    layers = [layer for network in typology.networks for layer in network.float_layers]
    return [f"{'':8} in float: {', '.join(layers)}"] if layers else []


def _counts(found: Operating | None) -> str:
    return "-" if found is None else f"{found.escapes}/{found.overkills}"


def _router(found: RouterResult) -> str:
    named = f"{found.named_int8} named rightly (FP32 {found.named_fp32}), {found.wrong_int8} wrongly (FP32 {found.wrong_fp32})"
    return f"router   {found.scans} scans: {named}, {found.unsure_int8} unsure"


def _line(cells: tuple[str, ...]) -> str:
    first, *rest = zip(cells, WIDTHS, strict=True)
    return " ".join([f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in rest)])
