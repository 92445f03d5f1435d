import numpy as np
import pytest

from edge.errors import ExportError
from export.router import judge, require_routing

FP32 = np.array([[0.95, 0.05], [0.95, 0.05], [0.05, 0.95], [0.05, 0.95]], np.float32)
LABELS = ["T3", "T3", "T9", "T9"]


def test_named_wrong_and_unsure_are_counted_apart() -> None:
    int8 = np.array([[0.95, 0.05], [0.7, 0.3], [0.05, 0.95], [0.92, 0.08]], np.float32)
    found = judge(FP32, int8, LABELS, ("T3", "T9"), 0.9)
    assert (found.named_fp32, found.wrong_fp32) == (4, 0)
    assert (found.scans, found.named_int8, found.wrong_int8, found.unsure_int8) == (4, 2, 1, 1)
    assert found.difference_max == pytest.approx(0.87)


def test_int8_that_names_more_wrongly_is_refused() -> None:
    int8 = FP32.copy()
    int8[0] = (0.05, 0.95)
    with pytest.raises(ExportError, match=r"INT8 names more scans wrongly than FP32 \(seen: 1 scans, FP32 0"):
        require_routing(judge(FP32, int8, LABELS, ("T3", "T9"), 0.9), accuracy_floor=0.5)


def test_a_router_that_is_mostly_unsure_is_refused() -> None:
    unsure = np.full((4, 2), 0.5, np.float32)
    with pytest.raises(ExportError, match=r"too few scans rightly \(seen: 0 of 4"):
        require_routing(judge(FP32, unsure, LABELS, ("T3", "T9"), 0.9), accuracy_floor=0.9)
    require_routing(judge(FP32, FP32, LABELS, ("T3", "T9"), 0.9), accuracy_floor=1.0)
