"""Several members' answers as one badness, by the very rule the box combines with, and the threshold that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.inspector.scoring import combined_badness
from edge.manifest import Combine, Member
from export.proof.threshold import Scores, Threshold, Truth, choose_threshold, threshold_at

VOTE_THRESHOLD = 0.5
"""Of the score that voting gives: more than half of the members, or the mean where they are even."""
QUANTILE_BADNESS = 0.5
"""An autoencoder's badness where its error is the chosen quantile of good scans' errors."""


@dataclass(frozen=True, kw_only=True)
class Committee:
    """Members with the thresholds they vote by, and the threshold of what they say together."""

    members: tuple[Member, ...]
    combine: Combine
    threshold: Threshold

    def scores(self, badness: Sequence[Scores]) -> Scores:
        """Combined badness [N] of each member's [N]."""
        return combine(badness, self.members, self.combine)

    def away(self, badness: Sequence[Scores], is_bad: Truth) -> Scores:
        """How far each scan [N] is from being judged otherwise, negative where it is judged wrongly.

        Where members vote it is the distance of the member nearest to its own threshold, so that no vote can change within it.
        """
        beyond = self.scores(badness) - self.threshold.value
        rightly = np.where((beyond > 0) == is_bad, 1.0, -1.0)
        if self.combine == "vote":
            distances = [np.abs(b - m.threshold) for b, m in zip(badness, self.members, strict=True) if m.threshold is not None]
            return np.asarray(rightly * np.min(distances, axis=0))
        return np.asarray(rightly * np.abs(beyond))


def choose_committee(
    badness: Sequence[Scores], members: Sequence[Member], how: Combine, is_bad: Truth, *, max_escape_rate: float
) -> Committee:
    """Thresholds for the members' badness [members][N]. Raises ExportError where the rule finds none."""
    if how == "vote":
        alone = [choose_threshold(values, is_bad, max_escape_rate=max_escape_rate).value for values in badness]
        members = [msgspec.structs.replace(m, threshold=value) for m, value in zip(members, alone, strict=True)]
    scores = combine(badness, members, how)
    if how == "vote":
        found = threshold_at(VOTE_THRESHOLD, scores, is_bad)
    else:
        found = choose_threshold(scores, is_bad, max_escape_rate=max_escape_rate)
    if len(members) == 1 and members[0].kind == "autoencoder" and found.value > QUANTILE_BADNESS:
        found = threshold_at(QUANTILE_BADNESS, scores, is_bad)
    return Committee(members=tuple(members), combine=how, threshold=found)


def combine(badness: Sequence[Scores], members: Sequence[Member], how: Combine) -> Scores:
    """Badness [members][N] to [N]."""
    return np.array([combined_badness(row, members, how) for row in np.stack(badness, axis=1).tolist()])


def badness_of(answers: NDArray[np.float32], classes: tuple[str, ...], bad_label: str) -> Scores:
    """The bad label's probability [N] of answers [N, classes]."""
    return answers[:, classes.index(bad_label)].astype(np.float64)
