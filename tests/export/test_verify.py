import numpy as np
import pytest

from edge.errors import ExportError
from export.threshold import Threshold
from export.verify import Comparison, compare, require_shippable

THRESHOLD = Threshold(value=0.5, margin=0.1, escapes=0, overkills=0)


def comparison(fp32: list[float], int8: list[float], is_bad: list[bool]) -> Comparison:
    return compare(np.array(fp32), np.array(int8), np.array(is_bad), THRESHOLD, {"bad": 2})


def test_flips_are_counted_by_side() -> None:
    # bad: escape kept, added, added, removed, caught; good: overkill kept, added, removed, removed, removed, accepted
    fp32 = [0.1, 0.9, 0.9, 0.2, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.1]
    int8 = [0.1, 0.4, 0.4, 0.8, 0.9, 0.9, 0.6, 0.2, 0.2, 0.2, 0.1]
    found = comparison(fp32, int8, [True] * 5 + [False] * 6)
    assert (found.escapes_fp32, found.escapes_int8, found.escapes_added, found.escapes_removed) == (2, 3, 2, 1)
    assert (found.overkills_fp32, found.overkills_int8, found.overkills_added, found.overkills_removed) == (4, 2, 1, 3)
    assert (found.good, found.bad, found.refused_good, found.refused_bad) == (6, 5, 0, 2)
    assert found.difference_max == pytest.approx(0.7)
    assert found.difference_mean == pytest.approx((0.5 + 0.5 + 0.6 + 0.5 + 0.7 * 3) / 11)
    assert found.auroc_int8 == pytest.approx((0.5 + 4 + 4 + 5 + 5.5) / 30)


def test_a_score_on_the_threshold_is_good() -> None:
    found = comparison([0.5, 0.5], [0.5, 0.5], [True, False])
    assert (found.escapes_int8, found.overkills_int8) == (found.escapes_fp32, found.overkills_fp32) == (1, 0)


def test_int8_that_adds_escapes_is_refused() -> None:
    found = comparison([0.1, 0.1, 0.9, 0.9], [0.1, 0.1, 0.3, 0.9], [False, False, True, True])
    with pytest.raises(ExportError, match=r"INT8 adds escapes over FP32 \(seen: 1 escapes, FP32 0"):
        require_shippable(found, allowed_escapes=1, added_escapes=0, auroc_floor=0.5)
    require_shippable(found, allowed_escapes=1, added_escapes=1, auroc_floor=0.5)


def test_more_escapes_than_allowed_are_refused() -> None:
    found = comparison([0.1, 0.4, 0.9], [0.1, 0.4, 0.9], [False, True, True])
    with pytest.raises(ExportError, match=r"too many bad welds escape \(seen: 1 of 2"):
        require_shippable(found, allowed_escapes=0, added_escapes=0, auroc_floor=0.5)


def test_a_network_that_separates_too_little_is_refused() -> None:
    found = comparison([0.1, 0.9, 0.9, 0.95], [0.1, 0.9, 0.6, 0.95], [False, False, True, True])
    with pytest.raises(ExportError, match=r"AUROC 0.7500 \(FP32 0.8750\), wanted 0.8"):
        require_shippable(found, allowed_escapes=0, added_escapes=0, auroc_floor=0.8)
