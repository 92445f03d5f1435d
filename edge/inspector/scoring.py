"""From the networks' probabilities to one badness, or to the name of a typology; pure, and strict about every value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge.contract import Reason
from edge.errors import FrameError
from edge.manifest import VOTE_THRESHOLD, Combine, Member

SUM_TOLERANCE = 1e-3
"""How far probabilities may be from adding up to one."""
_JUST_ABOVE = math.nextafter(VOTE_THRESHOLD, 1.0)


@dataclass(frozen=True, kw_only=True)
class Score:
    """Badness 0..1 of one weld, combined over its members, and each member's own probability of the bad label."""

    value: float
    members: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Route:
    """What the router says: the likeliest typology and its probability."""

    typology: str
    confidence: float


def typology_score(outputs: Sequence[Sequence[float]], members: Sequence[Member], how: Combine, bad_label: str) -> Score:
    """Badness of a weld from every member's probabilities, in the members' order.

    Raises FrameError SCORE_INVALID: a member is missing or its probabilities are none.
    """
    if not outputs or len(outputs) != len(members):
        raise _invalid("a member's answer is missing", f"{len(outputs)} of {len(members)} answers")
    badness = []
    for probabilities, member in zip(outputs, members, strict=True):
        _require_probabilities(probabilities, member.classes)
        badness.append(float(probabilities[member.classes.index(bad_label)]))
    return Score(value=combined_badness(badness, members, how), members=tuple(badness))


def combined_badness(badness: Sequence[float], members: Sequence[Member], how: Combine) -> float:
    """One badness 0..1 from that of each of `members`, in their order; box and certificate use this very rule.

    "mean": the plain mean. "weighted": the mean by `Member.weight`. "vote": a member votes bad when its badness is above its
    own threshold; the share of the members that do, or, when exactly half of them do, 0.5 + m / (2 n) with m the mean of badness
    minus threshold over the n members. So the score is above 0.5 exactly when the majority, or at a tie that mean, says bad.
    Raises FrameError SCORE_INVALID: an answer is missing or no number 0..1, or a voting member has no threshold.
    """
    # Written so that NaN fails every comparison and is refused.
    if not (0 < len(badness) == len(members) and all(0.0 <= value <= 1.0 for value in badness)):
        raise _invalid("a member's badness is missing or no number 0..1", f"{list(badness)} of {len(members)} members")
    badness = [float(value) for value in badness]  # numpy's float32 would be combined in float32
    if how == "vote":
        return _vote(badness, members)
    if how == "weighted":
        weights = [member.weight for member in members]
        return math.fsum(weight * value for weight, value in zip(weights, badness, strict=True)) / math.fsum(weights)
    return math.fsum(badness) / len(badness)


def _vote(badness: Sequence[float], members: Sequence[Member]) -> float:
    thresholds = [member.threshold for member in members if member.threshold is not None]
    if len(thresholds) != len(members):
        raise _invalid("a member votes without a threshold", f"{len(thresholds)} of {len(members)} thresholds")
    votes = sum(value > threshold for value, threshold in zip(badness, thresholds, strict=True))
    if 2 * votes != len(members):
        return votes / len(members)
    # The exact sum: rounding may not turn a tie that leans to bad into one that does not.
    lean = math.fsum([*badness, *(-threshold for threshold in thresholds)])
    score = VOTE_THRESHOLD + lean * VOTE_THRESHOLD / len(members) ** 2
    return max(score, _JUST_ABOVE) if lean > 0.0 else score


def route(probabilities: Sequence[float], classes: tuple[str, ...]) -> Route:
    """The likeliest typology, whatever its probability. Raises FrameError SCORE_INVALID."""
    _require_probabilities(probabilities, classes)
    best = max(range(len(classes)), key=lambda index: probabilities[index])
    return Route(typology=classes[best], confidence=float(probabilities[best]))


def _require_probabilities(values: Sequence[float], classes: tuple[str, ...]) -> None:
    # Written so that NaN fails every comparison and is refused.
    proper = len(values) == len(classes) and all(0.0 <= value <= 1.0 for value in values)
    if not (proper and abs(sum(values) - 1.0) <= SUM_TOLERANCE):
        raise _invalid("a network's answer is not a set of probabilities", list(values))


def _invalid(what: str, seen: object) -> FrameError:
    return FrameError(Reason.SCORE_INVALID, what, seen=seen, remedy="Take the box out of service and export the bundle again")
