"""The certificate as one self-contained page: no script, nothing loaded from elsewhere, readable in ten years."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from export.paper.certificate import TypologyCertificate
from export.paper.measured import Measured
from export.paper.plots import plots
from export.proof.verify import Operating


def page(found: Measured) -> str:
    """HTML text."""
    environment = Environment(
        loader=PackageLoader("export.paper", "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.2f} %"
    template = environment.get_template("certificate.html")
    text: str = template.render(
        found=found, certificate=found.certificate, plots=plots, columns=columns, flipped=flipped, short=lambda digest: digest[:16]
    )
    return text


def columns(typology: TypologyCertificate) -> list[tuple[str, int, int, int, int]]:
    """Confusion counts (name, bad rejected, bad accepted, good accepted, good rejected) of FP32 and of what is shipped."""
    found = typology.result
    sides: list[tuple[str, Operating | None]] = [("FP32", found.fp32.shipped), ("shipped", found.shipped.shipped)]
    if found.fp32.own.threshold is not None:
        sides.append((f"FP32 at its own {found.fp32.own.threshold:.4f}", found.fp32.own))
    sides += [("FP32, cross-fitted", found.fp32.crossfit), ("shipped, cross-fitted", found.shipped.crossfit)]
    return [(name, found.bad - at.escapes, at.escapes, found.good - at.overkills, at.overkills) for name, at in sides if at is not None]


def flipped(typology: TypologyCertificate) -> list[tuple[str, bool, float, float]]:
    """Held-out scans (file, bad, FP32 score, shipped score) that the two call differently at the bundle's threshold."""
    scores, limit = typology.scores, typology.result.threshold
    rows = zip(scores.files, scores.bad, scores.fp32, scores.shipped, strict=True)
    return [row for row in rows if (row[2] > limit) != (row[3] > limit)]
