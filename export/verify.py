"""FP32 against INT8 on held-out scans: who is called otherwise, what INT8 lets escape, and whether it may be shipped."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.bundle import Member
from edge.errors import ExportError
from edge.inspector.engines.openvino import Compiler
from export.threshold import CONFIDENCE, Threshold, auroc, upper_bound


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Counts on the held-out scans at one threshold. Added = INT8 errs where FP32 does not; removed = the other way round."""

    good: int
    bad: int
    refused_good: int
    """Good scans that the box rejects before any network (no data, constant)."""
    refused_bad: int
    threshold: float
    margin: float
    escapes_fp32: int
    escapes_int8: int
    escapes_added: int
    escapes_removed: int
    overkills_fp32: int
    overkills_int8: int
    overkills_added: int
    overkills_removed: int
    auroc_fp32: float
    auroc_int8: float
    difference_max: float
    """Of the badness score, INT8 against FP32."""
    difference_mean: float
    escape_rate_bound: float
    """Clopper-Pearson upper bound of the INT8 escape rate. The threshold was chosen on these very scans: read it as the best case."""
    overkill_rate_bound: float
    confidence: float = CONFIDENCE


def run_network(compiler: Compiler, member: Member, onnx: bytes, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Probabilities [N, classes] of u8 [N, 1, H, W], by the very engine class the box uses. Raises EngineError."""
    data = np.zeros(images.shape[2:], np.uint8)
    engine = compiler.compile(member, onnx, data)
    answers = np.empty((len(images), len(member.classes)), np.float32)
    for answer, image in zip(answers, images, strict=True):
        data[:] = image[0]
        answer[:] = engine.run()
    return answers


def badness(answers: NDArray[np.float32], classes: tuple[str, ...], bad_label: str) -> NDArray[np.float64]:
    """The bad label's probability [N]."""
    return answers[:, classes.index(bad_label)].astype(np.float64)


def compare(
    fp32: NDArray[np.float64], int8: NDArray[np.float64], is_bad: NDArray[np.bool_], threshold: Threshold, refused: dict[str, int]
) -> Comparison:
    """Count at `threshold`; all arrays [N] in the same order."""
    escape32, escape8 = is_bad & (fp32 <= threshold.value), is_bad & (int8 <= threshold.value)
    overkill32, overkill8 = ~is_bad & (fp32 > threshold.value), ~is_bad & (int8 > threshold.value)
    bad, good = int(is_bad.sum()), int((~is_bad).sum())
    difference = np.abs(int8 - fp32)
    return Comparison(
        good=good,
        bad=bad,
        refused_good=refused.get("good", 0),
        refused_bad=refused.get("bad", 0),
        threshold=threshold.value,
        margin=threshold.margin,
        escapes_fp32=int(escape32.sum()),
        escapes_int8=int(escape8.sum()),
        escapes_added=int((escape8 & ~escape32).sum()),
        escapes_removed=int((escape32 & ~escape8).sum()),
        overkills_fp32=int(overkill32.sum()),
        overkills_int8=int(overkill8.sum()),
        overkills_added=int((overkill8 & ~overkill32).sum()),
        overkills_removed=int((overkill32 & ~overkill8).sum()),
        auroc_fp32=auroc(fp32, is_bad),
        auroc_int8=auroc(int8, is_bad),
        difference_max=float(difference.max()),
        difference_mean=float(difference.mean()),
        escape_rate_bound=upper_bound(int(escape8.sum()), bad),
        overkill_rate_bound=upper_bound(int(overkill8.sum()), good),
    )


def require_shippable(found: Comparison, *, allowed_escapes: int, added_escapes: int, auroc_floor: float) -> None:
    """Raises ExportError when INT8 separates too little, lets too many escape, or more than FP32 does at the same threshold."""
    if not found.auroc_int8 >= auroc_floor:
        seen = f"AUROC {found.auroc_int8:.4f} (FP32 {found.auroc_fp32:.4f}), wanted {auroc_floor:g}"
        raise ExportError("the INT8 network does not separate good from bad", seen=seen, remedy="Train it further, or calibrate it better")
    if found.escapes_int8 > allowed_escapes:
        seen = f"{found.escapes_int8} of {found.bad} bad welds at {found.threshold:.4f}"
        raise ExportError("the INT8 network lets too many bad welds escape", seen=seen, remedy="Train it further, or allow more")
    if found.escapes_int8 - found.escapes_fp32 > added_escapes:
        seen = f"{found.escapes_int8} escapes, FP32 {found.escapes_fp32}, at threshold {found.threshold:.4f}"
        raise ExportError(
            "INT8 adds escapes over FP32",
            seen=seen,
            remedy="Calibrate with more representative images or method = 'entropy', or raise added_escapes",
        )
