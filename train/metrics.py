"""Figures of merit from badness scores: what slips through, what is thrown away, and where to draw the line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from edge.errors import DatasetError

CONFIDENCE = 0.95

Scores = NDArray[np.float64]
Truth = NDArray[np.bool_]
"""True where the weld is bad."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one threshold does to a set of welds: badness up to it is accepted."""

    threshold: float
    escapes: int
    overkills: int


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Figures over welds that took no part in the training."""

    good: int
    bad: int
    auroc: float
    error_rate: float
    """At 0.5."""
    at_half: Judgement
    at_target: Judgement
    """At the threshold that keeps the escape rate asked for; chosen on these same welds, so it flatters: export chooses again."""
    escape_rate: float

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A rate seen in a sample, with the exact two-sided interval and the one-sided bound of the true one."""

    events: int
    trials: int
    low: float
    high: float
    below: float
    """With the given confidence the true rate is below this."""
    confidence: float = CONFIDENCE

    @property
    def seen(self) -> float:
        """Events / trials."""
        return self.events / self.trials

    def __str__(self) -> str:
        interval = f"{self.low:.2%} to {self.high:.2%}, below {self.below:.2%}"
        return f"{self.events} of {self.trials} = {self.seen:.2%} ({interval}, each with {self.confidence:.0%} confidence)"


def rate(events: int, trials: int, *, confidence: float = CONFIDENCE) -> Rate:
    """Clopper and Pearson's (1934) interval and one-sided upper bound of `events` among `trials`, by scipy's binomtest.

    The bound of 0 among n is 1 - (1 - confidence)^(1/n), at 95 % nearly 3 / n, the rule of three: 0 escapes of 120 bad welds mean a
    rate below 2.5 %. The trials must be independent; scans of one group are not quite. Raises DatasetError for impossible counts.
    """
    if not 0 <= events <= trials or trials < 1 or not 0.0 < confidence < 1.0:
        raise DatasetError("no rate can be told from these counts", seen=(events, trials, confidence), remedy="Judge at least one weld")
    both = binomtest(events, trials).proportion_ci(confidence, method="exact")
    above = binomtest(events, trials, alternative="less").proportion_ci(confidence, method="exact")
    return Rate(events=events, trials=trials, low=float(both.low), high=float(both.high), below=float(above.high), confidence=confidence)


def trials_to_show(limit: float, *, confidence: float = CONFIDENCE) -> int:
    """How many trials without any event show that the true rate is below `limit`; at 95 % about 3 / limit. Raises DatasetError."""
    if not 0.0 < limit < 1.0 or not 0.0 < confidence < 1.0:
        raise DatasetError("a rate to be shown lies between 0 and 1", seen=(limit, confidence), remedy="0.005 is usual for escapes")
    return math.ceil(math.log(1.0 - confidence) / math.log1p(-limit) - 1e-9)


def judge(bad: Truth, badness: Scores, threshold: float) -> Judgement:
    """Count escapes (bad, accepted) and overkills (good, rejected)."""
    accepted = badness <= threshold
    return Judgement(threshold=threshold, escapes=int((bad & accepted).sum()), overkills=int((~bad & ~accepted).sum()))


def threshold_for(bad: Truth, badness: Scores, escape_rate: float) -> float:
    """The highest threshold at which at most the fraction `escape_rate` of the bad welds is accepted, inside (0, 1).

    It lies half-way between the first bad weld that must be rejected and the next lower score of any weld.
    """
    scores = np.sort(badness[bad])
    first = float(scores[int(escape_rate * len(scores))])
    below = badness[badness < first]
    lower = float(below.max()) if len(below) else 0.0
    return float(np.clip((first + lower) / 2, 1e-6, 1 - 1e-6))


def measure(bad: Truth, badness: Scores, escape_rate: float) -> Metrics:
    """All figures from truth and scores, bool and f64 [n]; both labels must occur."""
    half = judge(bad, badness, 0.5)
    return Metrics(
        good=int((~bad).sum()),
        bad=int(bad.sum()),
        auroc=float(roc_auc_score(bad, badness)),
        error_rate=(half.escapes + half.overkills) / len(bad),
        at_half=half,
        at_target=judge(bad, badness, threshold_for(bad, badness, escape_rate)),
        escape_rate=escape_rate,
    )


def table(rows: Sequence[tuple[str, Metrics]]) -> str:
    """The figures as a text table, one line per name."""
    head = f"{'':24s} {'good':>5s} {'bad':>5s} {'AUROC':>7s} {'error':>7s}  {'at 0.5: escapes':>15s} {'overkills':>9s}"
    lines = [head + f"  {'at target: threshold':>20s} {'escapes':>7s} {'overkills':>9s}"]
    for name, m in rows:
        half, target = m.at_half, m.at_target
        line = f"{name:24s} {m.good:5d} {m.bad:5d} {m.auroc:7.4f} {m.error_rate:7.2%}  {half.escapes:15d} {half.overkills:9d}"
        lines.append(line + f"  {target.threshold:20.4f} {target.escapes:7d} {target.overkills:9d}")
    return "\n".join(lines)
