from __future__ import annotations

import numpy as np
import pytest

from train.metrics import judge, measure, table, threshold_for

BAD = np.array([True, True, True, True, False, False, False, False])
BADNESS = np.array([0.9, 0.8, 0.7, 0.3, 0.4, 0.2, 0.1, 0.6])


def test_escapes_are_bad_welds_accepted_and_overkills_good_welds_rejected() -> None:
    judgement = judge(BAD, BADNESS, 0.5)
    assert (judgement.escapes, judgement.overkills) == (1, 1)


def test_a_weld_exactly_at_the_threshold_is_accepted() -> None:
    assert judge(np.array([True]), np.array([0.5]), 0.5).escapes == 1


def test_the_threshold_for_no_escape_lies_below_the_mildest_bad_weld() -> None:
    threshold = threshold_for(BAD, BADNESS, 0.0)
    assert threshold == pytest.approx(0.25)
    assert judge(BAD, BADNESS, threshold).escapes == 0


def test_an_allowed_escape_rate_is_used_but_not_exceeded() -> None:
    assert threshold_for(BAD, BADNESS, 0.25) == pytest.approx(0.65)
    assert judge(BAD, BADNESS, threshold_for(BAD, BADNESS, 0.49)).escapes == 1


def test_thresholds_stay_inside_the_bundle_s_range() -> None:
    scores = np.array([0.0, 0.0])
    assert 0 < threshold_for(np.array([True, False]), scores, 0.0) < 1


def test_the_figures_add_up() -> None:
    metrics = measure(BAD, BADNESS, 0.0)
    assert (metrics.good, metrics.bad) == (4, 4)
    assert metrics.auroc == pytest.approx(14 / 16)
    assert metrics.error_rate == pytest.approx(0.25)
    assert (metrics.at_target.escapes, metrics.at_target.overkills) == (0, 2)


def test_the_table_has_a_line_per_name() -> None:
    assert [line.split()[0] for line in table([("T2", measure(BAD, BADNESS, 0.0))]).splitlines()[1:]] == ["T2"]
