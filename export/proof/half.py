"""What float16 would do: the FP32 graphs with every weight and result rounded to float16, on some held-out scans."""

from __future__ import annotations

import msgspec
import numpy as np

from calib.half import emulate_fp16
from edge.errors import ExportError
from export.order import TypologyOrder
from export.proof.committee import badness_of
from export.proof.evaluate import BAD, Evaluation

MOST_IMAGES = 48
"""Emulation is many times slower than inference."""


class HalfResult(msgspec.Struct, frozen=True, kw_only=True):
    """Emulated FP16 against FP32 at the bundle's threshold."""

    images: int
    escapes_added: int
    overkills_added: int
    difference_max: float | None
    """Of the badness score; None when float16 overflowed."""

    def summary(self) -> str:
        """One line."""
        if self.difference_max is None:
            return f"overflows on {self.images} scans (emulated)"
        return f"differs by at most {self.difference_max:.4f} on {self.images} scans (emulated)"


def require_fp16(found: Evaluation, half: HalfResult, order: TypologyOrder) -> None:
    """Raises ExportError when FP16 is shipped and would do on a GPU what the CPU, which computes it in float32, does not show."""
    if all(network.precision != "fp16" for network in found.networks):
        return
    remedy = "Train it again with smaller weights or batch norm, or calibrate INT8 better"
    if half.difference_max is None:
        raise ExportError(f"{order.name} overflows in FP16", seen=f"{half.images} scans, emulated", remedy=remedy)
    if half.escapes_added > order.added_escapes:
        seen = f"{half.escapes_added} of {half.images} scans, emulated; allowed {order.added_escapes}"
        raise ExportError(f"{order.name}: FP16 adds escapes over FP32", seen=seen, remedy=remedy)


def try_fp16(found: Evaluation) -> HalfResult:
    """Emulate on at most 48 held-out scans, evenly taken. Raises ExportError."""
    evidence = found.evidence
    places = np.unique(np.linspace(0, len(evidence.is_bad) - 1, MOST_IMAGES).astype(int))
    images = np.ascontiguousarray(evidence.proof.images[places])
    answers = [emulate_fp16(network.full, images) for network in found.networks]
    if not all(np.isfinite(answer).all() for answer in answers):
        return HalfResult(images=len(places), escapes_added=0, overkills_added=0, difference_max=None)
    scores = found.committee.scores([badness_of(a, n.member.classes, BAD) for a, n in zip(answers, found.networks, strict=True)])
    fp32, bad, value = found.fp32[places], evidence.is_bad[places], found.committee.threshold.value
    return HalfResult(
        images=len(places),
        escapes_added=int((bad & (scores <= value) & (fp32 > value)).sum()),
        overkills_added=int((~bad & (scores > value) & (fp32 <= value)).sum()),
        difference_max=float(np.abs(scores - fp32).max()),
    )
