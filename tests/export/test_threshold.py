import numpy as np
import pytest
from scipy.stats import binom

from edge.errors import ExportError
from export.proof.threshold import auroc, choose_threshold, cross_fit, threshold_at, upper_bound


def scores(good: list[float], bad: list[float]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([*good, *bad]), np.array([False] * len(good) + [True] * len(bad))


def test_between_separable_scores_it_lies_halfway() -> None:
    found = choose_threshold(*scores([0.1, 0.2], [0.8, 0.6]))
    assert (found.value, found.escapes, found.overkills) == (pytest.approx(0.4), 0, 0)
    assert found.margin == pytest.approx(0.2)


def test_without_allowed_escapes_overlapping_good_welds_are_rejected() -> None:
    found = choose_threshold(*scores([0.1, 0.2, 0.7], [0.4, 0.9]))
    assert (found.value, found.escapes, found.overkills) == (pytest.approx(0.3), 0, 1)


def test_an_allowed_escape_is_used_where_it_saves_a_good_weld() -> None:
    found = choose_threshold(*scores([0.1, 0.2, 0.7], [0.4, 0.9]), max_escape_rate=0.5)
    assert (found.value, found.escapes, found.overkills) == (pytest.approx(0.8), 1, 0)


def test_an_allowed_escape_that_saves_nothing_is_not_used() -> None:
    found = choose_threshold(*scores([0.1, 0.2], [0.4, 0.9]), max_escape_rate=0.5)
    assert (found.value, found.escapes) == (pytest.approx(0.3), 0)


def test_a_good_weld_tied_with_the_lowest_bad_one_is_rejected() -> None:
    found = choose_threshold(*scores([0.1, 0.5, 0.5], [0.5, 0.9]))
    assert (found.value, found.escapes, found.overkills) == (pytest.approx(0.3), 0, 2)


def test_tied_bad_welds_escape_together_or_not_at_all() -> None:
    with pytest.raises(ExportError, match="accepts a good weld"):
        choose_threshold(*scores([0.6], [0.5, 0.5, 0.9]), max_escape_rate=0.34)
    assert choose_threshold(*scores([0.6], [0.5, 0.5, 0.9]), max_escape_rate=0.67).escapes == 2


def test_equal_scores_everywhere_are_refused() -> None:
    with pytest.raises(ExportError, match="no threshold keeps the escapes low"):
        choose_threshold(*scores([0.5, 0.5], [0.5, 0.5]))


def test_inverted_scores_are_refused() -> None:
    with pytest.raises(ExportError, match="no threshold"):
        choose_threshold(*scores([0.9, 0.8], [0.1, 0.2]))


def test_neighbouring_floats_leave_no_room() -> None:
    with pytest.raises(ExportError, match="too close"):
        choose_threshold(*scores([0.5], [float(np.nextafter(0.5, 1))]))


@pytest.mark.parametrize("rate", [-0.5, 1.0, 5.0])
def test_allowing_every_bad_weld_is_refused(rate: float) -> None:
    with pytest.raises(ExportError, match="allow every bad weld"):
        choose_threshold(*scores([0.1], [0.5, 0.6]), max_escape_rate=rate)


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ExportError, match="not finite"):
        choose_threshold(*scores([0.1, float("nan")], [0.9]))


@pytest.mark.parametrize("side", [([], [0.9]), ([0.1], [])])
def test_a_missing_side_is_refused(side: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ExportError, match="needs good and bad"):
        choose_threshold(*scores(*side))


def test_no_other_threshold_does_better() -> None:
    rng = np.random.default_rng(0)
    for allowed in (0, 1, 3):
        values, is_bad = scores(rng.beta(2, 4, 30).round(2).tolist(), rng.beta(5, 2, 30).round(2).tolist())
        found = choose_threshold(values, is_bad, max_escape_rate=allowed / 30)
        others = [(int(((values > t) & ~is_bad).sum()), int(((values <= t) & is_bad).sum())) for t in np.linspace(0, 1, 2001)]
        assert (found.overkills, found.escapes) == min(o for o in others if o[1] <= allowed)


@pytest.mark.parametrize(("events", "trials"), [(0, 20), (1, 20), (7, 60), (19, 20)])
def test_the_upper_bound_is_where_so_few_events_become_unlikely(events: int, trials: int) -> None:
    assert binom.cdf(events, trials, upper_bound(events, trials)) == pytest.approx(0.05)


def test_the_upper_bound_of_certainty_is_one() -> None:
    assert upper_bound(5, 5) == upper_bound(0, 0) == 1.0


def test_auroc_counts_ties_half() -> None:
    assert auroc(*scores([0.1, 0.2], [0.3, 0.4])) == 1.0
    assert auroc(*scores([0.5, 0.5], [0.5, 0.5])) == 0.5
    assert auroc(*scores([0.1, 0.5], [0.5, 0.05])) == pytest.approx((0 + 1.5) / 4)


def test_a_rate_allows_whole_welds_only() -> None:
    values, is_bad = scores([0.1, 0.9], [0.2 + 0.01 * n for n in range(30)])
    assert choose_threshold(values, is_bad, max_escape_rate=0.1).escapes == 0
    values, is_bad = scores([0.1, 0.225], [0.2 + 0.01 * n for n in range(30)])
    assert choose_threshold(values, is_bad, max_escape_rate=0.1).escapes == 3
    assert choose_threshold(values, is_bad, max_escape_rate=0.0999).escapes == 0


def test_a_given_threshold_is_counted_and_may_not_lie_on_a_score() -> None:
    found = threshold_at(0.5, *scores([0.1, 0.7], [0.4, 0.9]))
    assert (found.value, found.escapes, found.overkills, found.margin) == (0.5, 1, 1, pytest.approx(0.1))
    with pytest.raises(ExportError, match="too close"):
        threshold_at(0.4, *scores([0.1, 0.7], [0.4, 0.9]))


def test_cross_fitting_shows_what_the_best_case_hides() -> None:
    """One bad weld scores low: chosen with it the threshold catches it, chosen without it, it escapes."""
    values, is_bad = scores([0.1, 0.12, 0.14, 0.16], [0.17, 0.8, 0.85, 0.9])
    assert choose_threshold(values, is_bad).escapes == 0
    folds = [np.array([0, 4]), np.array([1, 5]), np.array([2, 6]), np.array([3, 7])]
    assert cross_fit(values, is_bad, folds, max_escape_rate=0.0) == (1, 1)


def test_a_fold_whose_others_give_no_threshold_counts_as_all_rejected() -> None:
    values, is_bad = scores([0.3, 0.9], [0.2, 0.8])
    assert cross_fit(values, is_bad, [np.array([0, 3]), np.array([1, 2])], max_escape_rate=0.0) == (1, 2)
