"""The certificate as a table for the terminal."""

from __future__ import annotations

from export.certificate import Certificate, RouterResult, TypologyCertificate

HEAD = ("", "good", "bad", "threshold", "escapes", "overkills", "AUROC fp32", "int8", "escape rate")
WIDTHS = (8, 5, 5, 9, 10, 10, 10, 7, 0)
FOOT = "escapes and overkills of INT8 on held-out scans; in brackets what INT8 adds to FP32 and removes"


def table(certificate: Certificate) -> str:
    """One line per typology, one for the router."""
    lines = ["", _line(HEAD), *(_line(_typology(t)) for t in certificate.typologies)]
    if certificate.router is not None:
        lines.append(_router(certificate.router.result))
    return "\n".join([*lines, FOOT])


def _typology(typology: TypologyCertificate) -> tuple[str, ...]:
    found = typology.result
    return (
        typology.name,
        str(found.good),
        str(found.bad),
        f"{found.threshold:.4f}",
        f"{found.escapes_int8} (+{found.escapes_added} -{found.escapes_removed})",
        f"{found.overkills_int8} (+{found.overkills_added} -{found.overkills_removed})",
        f"{found.auroc_fp32:.4f}",
        f"{found.auroc_int8:.4f}",
        f"below {found.escape_rate_bound:.1%} with {found.confidence:.0%} confidence",
    )


def _router(found: RouterResult) -> str:
    named = f"{found.named_int8} named rightly (FP32 {found.named_fp32}), {found.wrong_int8} wrongly (FP32 {found.wrong_fp32})"
    return f"router   {found.scans} scans: {named}, {found.unsure_int8} unsure"


def _line(cells: tuple[str, ...]) -> str:
    first, *rest = zip(cells, WIDTHS, strict=True)
    return " ".join([f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in rest)])
