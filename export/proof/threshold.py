"""Where good ends: the threshold rule, and the figures that say how sure one may be of it.

Rule: of all thresholds that accept at most the allowed number of bad welds, those that reject the fewest good ones, and of those the
middle of the gap between the worst good weld that is accepted and the next bad one. So it never lies on a score, an escape is
tolerated only where it saves a good weld, and where good and bad are separable it lies halfway between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from edge.errors import ExportError

CONFIDENCE = 0.95
"""Of the one-sided upper bounds."""
Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A weld is good when its score is at most `value`; `margin` is the distance to the nearest score it was chosen from."""

    value: float
    margin: float
    escapes: int
    overkills: int


def choose_threshold(scores: Scores, is_bad: Truth, *, max_escape_rate: float = 0.0) -> Threshold:
    """Apply the rule above to badness scores [N], allowing floor(rate x bad welds) escapes.

    Raises ExportError when every threshold breaks the limit or accepts nothing good.
    """
    good, bad = np.sort(scores[~is_bad]), np.sort(scores[is_bad])
    _require(len(good) > 0 and len(bad) > 0, "a threshold needs good and bad scores", f"{len(good)} good, {len(bad)} bad")
    _require(np.isfinite(scores).all(), "a score is not finite", scores[~np.isfinite(scores)][:3])
    allowed = math.floor(max_escape_rate * len(bad) + 1e-9)
    few = f"{allowed} of {len(bad)}"
    _require(0 <= allowed < len(bad), "so many escapes would allow every bad weld", few)
    ceiling = bad[allowed]
    accepted = good[good < ceiling]
    _require(len(accepted) > 0, "no threshold keeps the escapes low and accepts a good weld", f"{few} escapes, lowest bad {ceiling:.4f}")
    low = float(accepted[-1])
    return threshold_at((low + float(bad[bad > low][0])) / 2, scores, is_bad)


def threshold_at(value: float, scores: Scores, is_bad: Truth) -> Threshold:
    """What a given threshold does. Raises ExportError when a score lies on it."""
    margin = float(np.abs(scores - value).min())
    near = f"nearest score {margin:.2g} from {value:.9f}"
    _require(margin > 0, "good and bad scores lie too close for a threshold between them", near)
    escapes, overkills = int((is_bad & (scores <= value)).sum()), int((~is_bad & (scores > value)).sum())
    return Threshold(value=value, margin=margin, escapes=escapes, overkills=overkills)


def cross_fit(scores: Scores, is_bad: Truth, folds: Sequence[NDArray[np.intp]], *, max_escape_rate: float) -> tuple[int, int]:
    """(escapes, overkills) when every fold is judged with the threshold that the other folds' scores give.

    The figure to believe: no score takes part in choosing the threshold it is judged by. A fold whose others give no threshold
    counts as all rejected.
    """
    escapes = overkills = 0
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(scores)), fold)
        try:
            value = choose_threshold(scores[rest], is_bad[rest], max_escape_rate=max_escape_rate).value
        except ExportError:
            value = -np.inf
        escapes += int((is_bad[fold] & (scores[fold] <= value)).sum())
        overkills += int((~is_bad[fold] & (scores[fold] > value)).sum())
    return escapes, overkills


def upper_bound(events: int, trials: int, *, confidence: float = CONFIDENCE) -> float:
    """Clopper-Pearson: the true rate is below this with the given confidence when `events` of `trials` were seen."""
    if events >= trials:
        return 1.0
    return float(betaincinv(events + 1, trials - events, confidence))


def auroc(scores: Scores, is_bad: Truth) -> float:
    """Probability that a bad weld scores above a good one, ties counted half."""
    good, bad = np.sort(scores[~is_bad]), scores[is_bad]
    below, upto = np.searchsorted(good, bad, side="left"), np.searchsorted(good, bad, side="right")
    return float((below + upto).sum() / (2 * len(good) * len(bad)))


def _require(condition: object, what: str, seen: object) -> None:
    if not condition:
        raise ExportError(what, seen=seen, remedy="Train the network further, correct the labels, or allow more escapes")
