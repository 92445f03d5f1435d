"""Where good ends: the threshold rule, and the figures that say how sure one may be of it.

Rule: of all thresholds that accept at most the allowed number of bad welds, those that reject the fewest good ones, and of those the
middle of the gap between the worst good weld that is accepted and the next bad one. So it never lies on a score, an escape is
tolerated only where it saves a good weld, and where good and bad are separable it lies halfway between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from edge.errors import ExportError

CONFIDENCE = 0.95
"""Of the one-sided upper bounds."""


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A weld is good when its score is at most `value`; `margin` is the distance to the nearest score it was chosen from."""

    value: float
    margin: float
    escapes: int
    overkills: int


def choose_threshold(scores: NDArray[np.float64], is_bad: NDArray[np.bool_], *, allowed_escapes: int = 0) -> Threshold:
    """Apply the rule above to badness scores [N]. Raises ExportError when every threshold breaks the limit or accepts nothing good."""
    good, bad = np.sort(scores[~is_bad]), np.sort(scores[is_bad])
    _require(len(good) > 0 and len(bad) > 0, "a threshold needs good and bad scores", f"{len(good)} good, {len(bad)} bad")
    _require(np.isfinite(scores).all(), "a score is not finite", scores[~np.isfinite(scores)][:3])
    few = f"{allowed_escapes} of {len(bad)}"
    _require(0 <= allowed_escapes < len(bad), "so many escapes would allow every bad weld", few)
    ceiling = bad[allowed_escapes]
    accepted = good[good < ceiling]
    _require(len(accepted) > 0, "no threshold keeps the escapes low and accepts a good weld", f"{few} escapes, lowest bad {ceiling:.4f}")
    low = float(accepted[-1])
    high = float(bad[bad > low][0])
    value = (low + high) / 2
    _require(low < value < high, "good and bad scores lie too close for a threshold between them", f"{low:.9f} and {high:.9f}")
    return Threshold(
        value=value, margin=min(value - low, high - value), escapes=int((bad <= value).sum()), overkills=int((good > value).sum())
    )


def upper_bound(events: int, trials: int, *, confidence: float = CONFIDENCE) -> float:
    """Clopper-Pearson: the true rate is below this with the given confidence when `events` of `trials` were seen."""
    if events >= trials:
        return 1.0
    return float(betaincinv(events + 1, trials - events, confidence))


def auroc(scores: NDArray[np.float64], is_bad: NDArray[np.bool_]) -> float:
    """Probability that a bad weld scores above a good one, ties counted half."""
    good, bad = np.sort(scores[~is_bad]), scores[is_bad]
    below, upto = np.searchsorted(good, bad, side="left"), np.searchsorted(good, bad, side="right")
    return float((below + upto).sum() / (2 * len(good) * len(bad)))


def _require(condition: object, what: str, seen: object) -> None:
    if not condition:
        raise ExportError(what, seen=seen, remedy="Train the network further, correct the labels, or allow more escapes")
