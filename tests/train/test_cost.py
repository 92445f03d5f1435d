from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from edge.errors import DatasetError
from train.cost import Costs, bayes_threshold, cheapest, judged, to_prior, within_escape_rate
from train.metrics import rate, trials_to_show

BAD = np.array([True] * 5 + [False] * 5)
BADNESS = np.array([0.9, 0.8, 0.7, 0.6, 0.3, 0.4, 0.35, 0.2, 0.1, 0.05])


def test_no_escape_among_120_bad_welds_shows_a_rate_below_two_and_a_half_percent() -> None:
    found = rate(0, 120)
    assert found.below == pytest.approx(1 - 0.05 ** (1 / 120))
    assert found.below < 0.025 < 3 / 119
    assert (found.low, found.seen) == (0, 0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 120))
    assert str(found).startswith("0 of 120 = 0.00% (0.00% to 3.03%, below 2.47%")


def test_the_interval_is_that_of_the_tables() -> None:
    assert (rate(4, 20).low, rate(4, 20).high) == pytest.approx((0.0573, 0.4366), abs=5e-5)
    assert rate(20, 20).below == 1


def test_so_many_welds_without_an_escape_are_needed() -> None:
    assert trials_to_show(0.025) == 119
    assert rate(0, trials_to_show(0.005)).below <= 0.005 < rate(0, trials_to_show(0.005) - 1).below


@pytest.mark.parametrize("counts", [(1, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(DatasetError, match="no rate"):
        rate(*counts)


def test_the_dearer_an_escape_the_lower_the_threshold() -> None:
    cheap, dear = (cheapest(BAD, BADNESS, Costs(escape=escape, bad_share=0.5)) for escape in (0.1, 10.0))
    assert (cheap.judgement.escapes, cheap.judgement.overkills) == (1, 0)
    assert (dear.judgement.escapes, dear.judgement.overkills) == (0, 2)
    assert dear.threshold < cheap.threshold


def test_the_cheapest_threshold_is_cheaper_than_every_other() -> None:
    rng = np.random.default_rng(0)
    bad = rng.random(200) < 0.5
    badness = 1 / (1 + np.exp(-rng.normal(np.where(bad, 1.0, -1.0))))
    costs = Costs(escape=5.0, bad_share=0.1)
    best = cheapest(bad, badness, costs)
    assert all(best.cost <= judged(bad, badness, threshold, costs).cost for threshold in np.linspace(0.001, 0.999, 400))
    assert best.cost < best.cost_below


def test_the_line_s_prior_counts_not_that_of_the_scans() -> None:
    more_bad = np.concatenate((BAD, BAD[:5])), np.concatenate((BADNESS, BADNESS[:5]))
    costs = Costs(escape=3.0, bad_share=0.2)
    assert judged(*more_bad, 0.5, costs).cost == judged(BAD, BADNESS, 0.5, costs).cost == pytest.approx(0.2 * 3 * 1 / 5)


def test_the_bound_of_the_cost_shares_the_doubt_between_both_rates() -> None:
    costs = Costs(escape=3.0, bad_share=0.2)
    found = judged(BAD, BADNESS, 0.5, costs)
    assert found.cost_below == pytest.approx(costs.per_weld(rate(1, 5, confidence=0.975).below, rate(0, 5, confidence=0.975).below))


def test_an_escape_rate_is_shown_and_not_merely_seen() -> None:
    bad = np.array([True] * 200 + [False] * 200)
    badness = np.linspace(0.99, 0.01, 400)
    found = within_escape_rate(bad, badness, 0.05, Costs())
    assert found.judgement.escapes == 4
    assert found.escapes.below <= 0.05 < rate(5, 200).below


def test_too_few_bad_welds_for_a_claim_are_refused_with_the_number_needed() -> None:
    with pytest.raises(DatasetError, match="at least 59"):
        within_escape_rate(BAD, BADNESS, 0.05, Costs())


@pytest.mark.parametrize("bad", [np.zeros(3, bool), np.ones(3, bool)])
def test_a_threshold_needs_both_labels(bad: np.ndarray) -> None:
    with pytest.raises(DatasetError, match="good and bad"):
        cheapest(bad, np.array([0.1, 0.2, 0.3]), Costs())


@pytest.mark.parametrize("change", [{"escape": 0.0}, {"bad_share": 0.0}, {"bad_share": 1.0}, {"escape": float("nan")}])
def test_costs_that_cannot_be_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(DatasetError):
        Costs(**change)


def test_after_correction_for_the_prior_weights_make_no_difference() -> None:
    rng = np.random.default_rng(0)
    bad = rng.random(20_000) < 0.9  # as in the sources: ten times as many bad as good
    x = rng.normal(np.where(bad, 1.0, -1.0))[:, None]
    plain = LogisticRegression().fit(x, bad).predict_proba(x)[:, 1]
    even = LogisticRegression(class_weight="balanced").fit(x, bad).predict_proba(x)[:, 1]
    assert abs(plain - even).mean() > 0.05
    corrected = to_prior(plain, trained=float(bad.mean()), line=0.01), to_prior(even, trained=0.5, line=0.01)
    assert abs(corrected[0] - corrected[1]).max() < 0.03
    assert corrected[0][bad].mean() < plain[bad].mean()


def test_the_threshold_of_probabilities_agrees_with_the_one_counted() -> None:
    rng = np.random.default_rng(1)
    bad = rng.random(40_000) < 0.5
    badness = 1 / (1 + np.exp(-2 * rng.normal(np.where(bad, 1.0, -1.0))))  # the true posterior at even odds
    costs = Costs(escape=20.0, bad_share=0.02)
    threshold = bayes_threshold(costs, trained=0.5)
    assert judged(bad, badness, threshold, costs).cost == pytest.approx(cheapest(bad, badness, costs).cost, rel=0.05)
    assert costs.escape * costs.bad_share / (1 - costs.bad_share) == pytest.approx((1 - threshold) / threshold)
