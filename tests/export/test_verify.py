import msgspec
import numpy as np
import pytest

from export.order import TypologyOrder
from export.proof.threshold import Threshold, threshold_at
from export.proof.verify import Comparison, compare, judged, objections

VALUE = 0.5
ORDER = TypologyOrder(name="T3", source="T3.safetensors", scans="T3", auroc_floor=0.5)  # type: ignore[arg-type]


def comparison(fp32: list[float], int8: list[float], is_bad: list[bool], *, own: float = VALUE, own_int8: float = VALUE) -> Comparison:
    truth, sides = np.array(is_bad), [np.array(fp32), np.array(int8)]
    at = [threshold_at(value, scores, truth) for value, scores in zip((own, own_int8), sides, strict=True)]
    both = [judged(s, truth, threshold=VALUE, own=t, folds=(), max_escape_rate=0.0) for s, t in zip(sides, at, strict=True)]
    chosen = Threshold(value=VALUE, margin=0.1, escapes=0, overkills=0)
    return compare(fp32=sides[0], shipped=sides[1], is_bad=truth, threshold=chosen, refused={"bad": 2}, judgements=(both[0], both[1]))


def allowing(**limits: float) -> TypologyOrder:
    return msgspec.structs.replace(ORDER, **limits)


def test_flips_are_counted_by_side() -> None:
    # bad: escape kept, added, added, removed, caught; good: overkill kept, added, removed, removed, removed, accepted
    fp32 = [0.1, 0.9, 0.9, 0.2, 0.9, 0.9, 0.1, 0.9, 0.9, 0.9, 0.1]
    int8 = [0.1, 0.4, 0.4, 0.8, 0.9, 0.9, 0.6, 0.2, 0.2, 0.2, 0.1]
    found = comparison(fp32, int8, [True] * 5 + [False] * 6)
    assert (found.fp32.shipped.escapes, found.shipped.shipped.escapes) == (2, 3)
    assert (found.fp32.shipped.overkills, found.shipped.shipped.overkills) == (4, 2)
    assert (found.flips.escapes_added, found.flips.escapes_removed) == (2, 1)
    assert (found.flips.overkills_added, found.flips.overkills_removed) == (1, 3)
    assert found.flips.total == 7
    assert (found.good, found.bad, found.refused_good, found.refused_bad) == (6, 5, 0, 2)
    assert found.difference_max == pytest.approx(0.7)
    assert found.difference_mean == pytest.approx((0.5 + 0.5 + 0.6 + 0.5 + 0.7 * 3) / 11)
    assert found.shipped.auroc == pytest.approx((0.5 + 4 + 4 + 5 + 5.5) / 30)


def test_added_overkill_is_counted_where_each_network_has_its_own_threshold() -> None:
    """INT8 pushes a bad weld down: at its own, lower threshold it rejects a good weld that FP32 accepts at its own."""
    found = comparison([0.1, 0.4, 0.7, 0.9], [0.1, 0.4, 0.35, 0.9], [False, False, True, True], own_int8=0.3)
    assert found.added_overkill == 0.5
    assert any("adds 50.0% overkill over FP32 (1 of 2 good welds, FP32 0)" in o for o in objections(found, allowing(max_escape_rate=0.49)))


def test_a_network_without_a_threshold_of_its_own_counts_as_rejecting_everything() -> None:
    truth = np.array([False, False, True])
    found = judged(np.array([0.1, 0.6, 0.9]), truth, threshold=0.5, own=None, folds=(), max_escape_rate=0.0)
    assert (found.own.threshold, found.own.escapes, found.own.overkills, found.crossfit) == (None, 0, 2, None)


def test_nothing_speaks_against_a_network_that_int8_did_not_change() -> None:
    assert objections(comparison([0.1, 0.2, 0.9, 0.8], [0.1, 0.2, 0.9, 0.8], [False, False, True, True]), ORDER) == []


def test_int8_that_adds_escapes_is_objected_to_even_when_it_removes_as_many() -> None:
    found = comparison([0.1, 0.1, 0.9, 0.3], [0.1, 0.1, 0.3, 0.9], [False, False, True, True])
    assert (found.shipped.shipped.escapes, found.fp32.shipped.escapes) == (1, 1)
    against = objections(found, allowing(max_escape_rate=0.49))
    assert any("adds 1 escapes over FP32 at threshold 0.5000, allowed 0" in o for o in against)
    assert not any("over FP32 at" in o for o in objections(found, allowing(max_escape_rate=0.49, added_escapes=1)))


def test_scores_that_moved_are_objected_to_even_where_they_still_separate() -> None:
    found = comparison([0.1, 0.2, 0.9, 0.8], [0.4, 0.4, 0.6, 0.6], [False, False, True, True])
    assert objections(found, ORDER) == ["answers otherwise than FP32: mean difference 0.2500, largest 0.3000, allowed 0.05"]


def test_more_escapes_than_allowed_are_objected_to() -> None:
    found = comparison([0.1, 0.4, 0.9], [0.1, 0.4, 0.9], [False, True, True])
    assert objections(found, ORDER) == ["lets 1 of 2 bad welds escape, allowed 0"]


def test_a_network_that_separates_too_little_is_objected_to() -> None:
    found = comparison([0.1, 0.9, 0.9, 0.95], [0.1, 0.9, 0.6, 0.95], [False, False, True, True])
    assert "AUROC 0.7500 (FP32 0.8750) < 0.8" in objections(found, allowing(auroc_floor=0.8))[0]


def test_a_bound_that_so_few_scans_cannot_prove_is_objected_to() -> None:
    found = comparison([0.1, 0.2, 0.9, 0.8], [0.1, 0.2, 0.9, 0.8], [False, False, True, True])
    assert found.shipped.shipped.escape_rate_bound == pytest.approx(1 - 0.05**0.5)
    assert "proves an escape rate below 77.64% only, wanted 5.00%" in objections(found, allowing(escape_bound=0.05))[0]
    assert "proves an overkill rate below 77.64% only" in objections(found, allowing(overkill_bound=0.05))[0]
