"""How a committee comes to one badness: mean, weighted mean, and vote with its tie-break, against exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge.bundle import Combine, Member
from edge.contract import Reason
from edge.errors import FrameError
from edge.inspector.scoring import combined_badness, typology_score

LABELS = ("bad", "good")
RULES: tuple[Combine, ...] = ("mean", "weighted", "vote")
probabilities = st.floats(0.0, 1.0)
thresholds = st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)
weights = st.floats(1e-6, 1e6)
Ballots = list[tuple[float, float]]


def committee(size: int, *, weight: Sequence[float] = (), threshold: Sequence[float] = ()) -> list[Member]:
    return [
        Member(
            name=f"m{i}",
            file=f"m{i}.onnx",
            architecture="tiny",
            input="heightmap",
            output="scores",
            classes=LABELS,
            weight=weight[i] if weight else 1.0,
            threshold=threshold[i] if threshold else 0.5,
        )
        for i in range(size)
    ]


def vote(ballots: Ballots) -> float:
    badness, limits = zip(*ballots, strict=True)
    return combined_badness(badness, committee(len(ballots), threshold=limits), "vote")


def votes_bad(ballots: Ballots) -> bool:
    """The rule in exact fractions: the majority, or at a tie the mean of badness minus threshold."""
    bad = sum(badness > threshold for badness, threshold in ballots)
    if 2 * bad != len(ballots):
        return 2 * bad > len(ballots)
    return sum(Fraction(badness) - Fraction(threshold) for badness, threshold in ballots) > 0


def test_the_mean_takes_every_member_alike() -> None:
    assert combined_badness([0.2, 0.4, 0.9], committee(3, weight=(1, 5, 9)), "mean") == pytest.approx(0.5)


def test_a_weighted_mean_counts_a_member_by_its_weight() -> None:
    assert combined_badness([0.2, 0.8], committee(2, weight=(3.0, 1.0)), "weighted") == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("ballots", "score"),
    [
        ([(0.9, 0.5), (0.6, 0.5), (0.0, 0.5)], 2 / 3),
        ([(0.51, 0.5), (0.0, 0.5), (0.0, 0.5)], 1 / 3),
        ([(0.5, 0.5)], 0.0),
        ([(0.3, 0.2), (0.9, 0.95)], 0.5 + 0.025 * 0.5 / 2),
        ([(0.3, 0.2), (0.5, 0.95)], 0.5 - 0.175 * 0.5 / 2),
        ([(0.6, 0.5), (0.4, 0.5)], 0.5),
    ],
)
def test_a_vote_is_the_share_of_bad_votes_and_a_tie_goes_by_the_mean(ballots: Ballots, score: float) -> None:
    assert vote(ballots) == pytest.approx(score, abs=1e-15)


@given(st.lists(st.tuples(probabilities, thresholds), min_size=1, max_size=7))
@example([(0.5, 0.25), (0.25, 0.5)])
@example([(0.5 + 2**-53, 0.5), (0.5, 0.5)])
@example([(5e-324, 0.5), (1.0, 0.5)])
def test_above_a_half_is_exactly_what_the_vote_calls_bad(ballots: Ballots) -> None:
    score = vote(ballots)
    assert 0.0 <= score <= 1.0
    assert (score > 0.5) == votes_bad(ballots)


@given(thresholds, thresholds, st.booleans())
def test_at_a_tie_the_smallest_lean_decides(first: float, second: float, to_bad: bool) -> None:
    barely = math.nextafter(first, 1.0), first
    balance = (second if to_bad else math.nextafter(second, 0.0)), second
    assert (vote([barely, balance]) > 0.5) == votes_bad([barely, balance])


@given(st.lists(st.tuples(probabilities, thresholds), min_size=2, max_size=7))
def test_a_tie_never_scores_beyond_a_majority(ballots: Ballots) -> None:
    bad = sum(badness > threshold for badness, threshold in ballots)
    score, share = vote(ballots), bad / len(ballots)
    assert score == share or abs(score - 0.5) <= 0.5 / len(ballots)


@given(st.lists(st.tuples(probabilities, weights), min_size=1, max_size=9))
def test_a_weighted_mean_lies_between_its_members(parts: list[tuple[float, float]]) -> None:
    badness, weight = zip(*parts, strict=True)
    members = committee(len(parts), weight=weight)
    exact = sum(Fraction(b) * Fraction(w) for b, w in parts) / sum(Fraction(w) for w in weight)
    score = combined_badness(badness, members, "weighted")
    assert 0.0 <= score <= 1.0
    assert score == pytest.approx(float(exact), rel=1e-12, abs=1e-300)


@given(st.lists(probabilities, min_size=1, max_size=9), st.sampled_from(RULES), st.data())
def test_a_worse_member_never_makes_a_weld_better(badness: list[float], how: Combine, data: st.DataObject) -> None:
    members = committee(len(badness), weight=[1.0 + i for i in range(len(badness))])
    index = data.draw(st.integers(0, len(badness) - 1))
    worse = [*badness[:index], data.draw(st.floats(badness[index], 1.0)), *badness[index + 1 :]]
    assert combined_badness(worse, members, how) >= combined_badness(badness, members, how)


@pytest.mark.parametrize("how", RULES)
@pytest.mark.parametrize("badness", [[], [0.5], [0.5] * 3, [math.nan, 0.5], [0.5, math.inf], [-0.001, 0.5], [0.5, 1.001]])
def test_what_is_missing_or_no_badness_is_refused_by_every_rule(badness: list[float], how: Combine) -> None:
    with pytest.raises(FrameError, match="missing or no number") as caught:
        combined_badness(badness, committee(2), how)
    assert caught.value.reason is Reason.SCORE_INVALID


@pytest.mark.parametrize("how", RULES)
def test_one_member_without_probabilities_refuses_the_whole_committee(how: Combine) -> None:
    for answer in ([math.nan, 1.0], [0.7, 0.7], [1.0]):
        with pytest.raises(FrameError, match="not a set of probabilities"):
            typology_score([[0.1, 0.9], answer, [0.2, 0.8]], committee(3), how, "bad")


def test_a_member_without_a_threshold_cannot_vote() -> None:
    members = [msgspec.structs.replace(member, threshold=None) for member in committee(2)]
    with pytest.raises(FrameError, match="without a threshold"):
        combined_badness([0.1, 0.2], members, "vote")


@pytest.mark.parametrize("how", RULES)
def test_a_row_of_an_array_gives_what_the_box_gives(how: Combine) -> None:
    rows = np.random.default_rng(0).random((20, 4)).astype(np.float32)
    members = committee(4, weight=(1, 2, 3, 4), threshold=(0.2, 0.4, 0.6, 0.8))
    for row in rows:
        box = typology_score([[b, 1 - b] for b in row.tolist()], members, how, "bad")
        assert combined_badness(row, members, how) == combined_badness(row.astype(np.float64), members, how) == box.value
        assert box.members == tuple(row.tolist())
