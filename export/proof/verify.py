"""FP32 against what is to be shipped, on held-out scans: who is called otherwise, what escapes more, and whether it may be shipped."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.inspector.engines.openvino import Compiler
from edge.manifest import Member
from export.order import TypologyOrder
from export.proof.threshold import CONFIDENCE, Scores, Threshold, Truth, auroc, cross_fit, upper_bound


class Operating(msgspec.Struct, frozen=True, kw_only=True):
    """Counts at one threshold, with Clopper-Pearson upper bounds of the rates behind them."""

    threshold: float | None
    """None where each fold has its own."""
    escapes: int
    overkills: int
    escape_rate_bound: float
    overkill_rate_bound: float


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One network (or committee) on the held-out scans."""

    shipped: Operating
    """At the bundle's threshold. It was chosen on these very scans: read the bounds as the best case."""
    own: Operating
    """At the threshold that the same rule chooses on this network's own scores."""
    crossfit: Operating | None
    """Every fold judged with the threshold of the others; None where there are too few groups for folds."""
    auroc: float


class Flips(msgspec.Struct, frozen=True, kw_only=True):
    """Held-out scans that the shipped network calls otherwise than FP32 at the bundle's threshold; added = the shipped one errs."""

    escapes_added: int
    escapes_removed: int
    overkills_added: int
    overkills_removed: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.escapes_added + self.escapes_removed + self.overkills_added + self.overkills_removed


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the held-out scans say about FP32 and the shipped network."""

    good: int
    bad: int
    refused_good: int
    """Good scans that the box rejects before any network (no data, constant)."""
    refused_bad: int
    threshold: float
    margin: float
    fp32: Judged
    shipped: Judged
    flips: Flips
    difference_max: float
    """Of the badness score, shipped against FP32."""
    difference_mean: float
    difference_p99: float
    confidence: float = CONFIDENCE

    @property
    def added_overkill(self) -> float:
        """Part of the good scans that the shipped network rejects more than FP32, each at its own threshold."""
        return (self.shipped.own.overkills - self.fp32.own.overkills) / self.good


def run_network(compiler: Compiler, member: Member, onnx: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities [N, classes] of u8 [N, 1, H, W], by the very engine class the box uses. Raises EngineError."""
    data = np.zeros(images.shape[2:], np.uint8)
    engine = compiler.compile(member, onnx, data)
    answers = np.empty((len(images), len(member.classes)), np.float32)
    for answer, image in zip(answers, images, strict=True):
        data[:] = image[0]
        answer[:] = engine.run()
    return answers


def judged(
    scores: Scores, is_bad: Truth, *, threshold: float, own: Threshold | None, folds: Sequence[NDArray[np.intp]], max_escape_rate: float
) -> Judged:
    """All counts of scores [N]. `own` None: no threshold of its own does what is asked, and it counts as rejecting everything."""
    good, bad = int((~is_bad).sum()), int(is_bad.sum())

    def operating(value: float | None, escapes: int, overkills: int) -> Operating:
        bounds = {"escape_rate_bound": upper_bound(escapes, bad), "overkill_rate_bound": upper_bound(overkills, good)}
        return Operating(threshold=value, escapes=escapes, overkills=overkills, **bounds)

    escapes, overkills = int((is_bad & (scores <= threshold)).sum()), int((~is_bad & (scores > threshold)).sum())
    return Judged(
        shipped=operating(threshold, escapes, overkills),
        own=operating(None, 0, good) if own is None else operating(own.value, own.escapes, own.overkills),
        crossfit=operating(None, *cross_fit(scores, is_bad, folds, max_escape_rate=max_escape_rate)) if folds else None,
        auroc=auroc(scores, is_bad),
    )


def compare(
    *, fp32: Scores, shipped: Scores, is_bad: Truth, threshold: Threshold, refused: dict[str, int], judgements: tuple[Judged, Judged]
) -> Comparison:
    """Count flips at `threshold`; all arrays [N] in the same order; `judgements` of FP32 and of the shipped network."""
    escape32, escape8 = is_bad & (fp32 <= threshold.value), is_bad & (shipped <= threshold.value)
    overkill32, overkill8 = ~is_bad & (fp32 > threshold.value), ~is_bad & (shipped > threshold.value)
    difference = np.abs(shipped - fp32)
    return Comparison(
        good=int((~is_bad).sum()),
        bad=int(is_bad.sum()),
        refused_good=refused.get("good", 0),
        refused_bad=refused.get("bad", 0),
        threshold=threshold.value,
        margin=threshold.margin,
        fp32=judgements[0],
        shipped=judgements[1],
        flips=Flips(
            escapes_added=int((escape8 & ~escape32).sum()),
            escapes_removed=int((escape32 & ~escape8).sum()),
            overkills_added=int((overkill8 & ~overkill32).sum()),
            overkills_removed=int((overkill32 & ~overkill8).sum()),
        ),
        difference_max=float(difference.max()),
        difference_mean=float(difference.mean()),
        difference_p99=float(np.quantile(difference, 0.99)),
    )


def objections(found: Comparison, order: TypologyOrder) -> list[str]:
    """Why this may not be shipped, one sentence each with the value seen; empty when it may."""
    seen = []
    allowed = int(order.max_escape_rate * found.bad + 1e-9)
    at = found.shipped.shipped
    if not found.shipped.auroc >= order.auroc_floor:
        seen.append(
            f"does not separate good from bad: AUROC {found.shipped.auroc:.4f} (FP32 {found.fp32.auroc:.4f}) < {order.auroc_floor:g}"
        )
    if at.escapes > allowed:
        seen.append(f"lets {at.escapes} of {found.bad} bad welds escape, allowed {allowed}")
    if found.flips.escapes_added > order.added_escapes:
        added = f"adds {found.flips.escapes_added} escapes over FP32 at threshold {found.threshold:.4f}"
        seen.append(f"{added}, allowed {order.added_escapes}")
    if found.added_overkill > order.added_overkill + 1e-12:
        more = f"{found.shipped.own.overkills} of {found.good} good welds, FP32 {found.fp32.own.overkills}"
        seen.append(f"adds {found.added_overkill:.1%} overkill over FP32 ({more}), allowed {order.added_overkill:.1%}")
    if not found.difference_mean <= order.mean_difference:
        mean = f"mean difference {found.difference_mean:.4f}, largest {found.difference_max:.4f}"
        seen.append(f"answers otherwise than FP32: {mean}, allowed {order.mean_difference:g}")
    if at.escape_rate_bound > order.escape_bound:
        seen.append(f"proves an escape rate below {at.escape_rate_bound:.2%} only, wanted {order.escape_bound:.2%}")
    if at.overkill_rate_bound > order.overkill_bound:
        seen.append(f"proves an overkill rate below {at.overkill_rate_bound:.2%} only, wanted {order.overkill_bound:.2%}")
    return seen
