"""What errors cost on a line, and the threshold that this asks for: an escape weighs more than an overkill, and bad welds are rare.

A training set holds far more bad welds than a line makes. Counts of errors do not show that, rates per label do; so costs are made of
rates, and the line's own share of bad welds enters as a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.errors import DatasetError
from train.metrics import CONFIDENCE, Judgement, Rate, Scores, Truth, judge, rate, trials_to_show

Number = TypeVar("Number", float, NDArray[np.float64])
_MARGIN = 1e-6
"""Thresholds stay this far inside 0 and 1, as the bundle wants them."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What the line pays, in units of one overkill."""

    escape: float = 100.0
    """One bad weld that is accepted, in overkills."""
    bad_share: float = 0.01
    """Part of the line's welds that is bad."""

    def __post_init__(self) -> None:
        if not 0.0 < self.escape < float("inf"):
            raise DatasetError("the cost of an escape must be positive", seen=self.escape, remedy="Give it in overkills: 100 is usual")
        if not 0.0 < self.bad_share < 1.0:
            raise DatasetError("the line's share of bad welds lies between 0 and 1", seen=self.bad_share, remedy="Count it: 0.01 is usual")

    def per_weld(self, escape_rate: Number, overkill_rate: Number) -> Number:
        """Expected cost of one weld of the line, in overkills, from the rate among the bad and the rate among the good."""
        return self.bad_share * self.escape * escape_rate + (1.0 - self.bad_share) * overkill_rate


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A threshold, what it does to the scans it was counted on, and what that says about the line."""

    judgement: Judgement
    escapes: Rate
    overkills: Rate
    cost: float
    """Expected per weld, in overkills."""
    cost_below: float
    """With at least the rates' confidence the true cost is below this: both rates at bounds that share the doubt (Bonferroni)."""

    @property
    def threshold(self) -> float:
        """Badness up to it is accepted."""
        return self.judgement.threshold

    def __str__(self) -> str:
        cost = f"cost {self.cost:.4f} overkills per weld, below {self.cost_below:.4f}"
        return f"threshold {self.threshold:.4f}: escapes {self.escapes}; overkills {self.overkills}; {cost}"


def judged(bad: Truth, badness: Scores, threshold: float, costs: Costs, *, confidence: float = CONFIDENCE) -> Choice:
    """What `threshold` does to these scans, bool and f64 [n], with uncertainty. Raises DatasetError when a label is missing."""
    _require_both(bad)
    found, many = judge(bad, badness, threshold), int(bad.sum())
    shared = 1.0 - (1.0 - confidence) / 2
    bounds = (rate(found.escapes, many, confidence=shared).below, rate(found.overkills, len(bad) - many, confidence=shared).below)
    escapes, overkills = (
        rate(found.escapes, many, confidence=confidence),
        rate(found.overkills, len(bad) - many, confidence=confidence),
    )
    return Choice(
        judgement=found,
        escapes=escapes,
        overkills=overkills,
        cost=costs.per_weld(escapes.seen, overkills.seen),
        cost_below=costs.per_weld(*bounds),
    )


def cheapest(bad: Truth, badness: Scores, costs: Costs, *, confidence: float = CONFIDENCE) -> Choice:
    """The threshold of the least expected cost on these scans; choose on validation scans, believe `judged` on held-out ones.

    Of equal costs the lowest threshold wins, which lets fewer escape. Raises DatasetError when a label is missing.
    """
    _require_both(bad)
    values = _between(badness)
    found = costs.per_weld(*_rates(bad, badness, values))
    return judged(bad, badness, float(values[int(np.argmin(found))]), costs, confidence=confidence)


def within_escape_rate(bad: Truth, badness: Scores, limit: float, costs: Costs, *, confidence: float = CONFIDENCE) -> Choice:
    """The highest threshold whose escape rate is below `limit` with `confidence`, not merely in this sample.

    Raises DatasetError when there are too few bad welds to show that even without an escape (about 3 / limit are needed).
    """
    _require_both(bad)
    many, needed = int(bad.sum()), trials_to_show(limit, confidence=confidence)
    if many < needed:
        raise DatasetError(
            f"too few bad welds to show an escape rate below {limit:g} with {confidence:.0%} confidence",
            seen=f"{many} bad welds",
            remedy=f"Give at least {needed}, or allow a higher rate",
        )
    allowed = max(count for count in range(many) if rate(count, many, confidence=confidence).below <= limit * (1 + 1e-9))
    values = _between(badness)
    fits = values[_counts(bad, badness, values)[0] <= allowed]
    return judged(bad, badness, float(fits.max()), costs, confidence=confidence)


def to_prior(badness: Scores, *, trained: float, line: float) -> Scores:
    """Probabilities of bad f64 [n] where a part `trained` of the welds is bad, as they are where a part `line` is (Saerens et al. 2002).

    Odds are multiplied by the ratio of the priors' odds, so the order and every AUROC stay. A network trained with weights that make
    both labels count alike, as `train.learner.fit` gives them, has `trained` = 0.5, whatever its scans; one that was calibrated on
    validation scans has their share. Raises DatasetError for a prior that is not between 0 and 1.
    """
    factor = _odds(line) / _odds(trained)
    corrected: Scores = badness * factor / (badness * factor + (1.0 - badness))
    return corrected


def bayes_threshold(costs: Costs, *, trained: float) -> float:
    """The threshold of the least expected cost if badness is the probability of bad where a part `trained` of the welds is bad.

    Rejecting pays when p escape > (1 - p), p at the line's prior; this is that border, carried back to the scale of the scores.
    """
    line = np.array([1.0 / (1.0 + costs.escape)])
    return float(np.clip(to_prior(line, trained=costs.bad_share, line=trained)[0], _MARGIN, 1.0 - _MARGIN))


def _odds(share: float) -> float:
    if not 0.0 < share < 1.0:
        raise DatasetError("a share of bad welds lies between 0 and 1", seen=share, remedy="Give the part of the welds that is bad")
    return share / (1.0 - share)


def _require_both(bad: Truth) -> None:
    if not bad.any() or bad.all():
        raise DatasetError("a threshold needs good and bad welds", seen=f"{int(bad.sum())} bad of {len(bad)}", remedy="Judge more scans")


def _between(badness: Scores) -> Scores:
    """Every threshold that makes a difference, ascending: below all scores, half-way between neighbours, above all."""
    scores = np.unique(np.clip(badness, 0.0, 1.0))
    middles = (scores[1:] + scores[:-1]) / 2
    ends = np.array([scores[0] / 2, (1.0 + scores[-1]) / 2])
    values: Scores = np.unique(np.clip(np.concatenate((ends[:1], middles, ends[1:])), _MARGIN, 1.0 - _MARGIN))
    return values


def _counts(bad: Truth, badness: Scores, thresholds: Scores) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Escapes and overkills at each threshold."""
    escapes = np.searchsorted(np.sort(badness[bad]), thresholds, side="right")
    accepted = np.searchsorted(np.sort(badness[~bad]), thresholds, side="right")
    return escapes.astype(np.int64), int((~bad).sum()) - accepted.astype(np.int64)


def _rates(bad: Truth, badness: Scores, thresholds: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    escapes, overkills = _counts(bad, badness, thresholds)
    return escapes / bad.sum(), overkills / (~bad).sum()
