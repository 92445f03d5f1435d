"""From the networks' probabilities to one badness, or to the name of a typology; pure, and strict about every value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.contract import Reason
from edge.errors import FrameError

SUM_TOLERANCE = 1e-3
"""How far probabilities may be from adding up to one."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """Badness 0..1 of one weld: the mean over its members' probabilities of the bad label."""

    value: float
    members: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Route:
    """What the router says: the likeliest typology and its probability."""

    typology: str
    confidence: float


def classifier_score(outputs: Sequence[Sequence[float]], classes: Sequence[tuple[str, ...]], bad_label: str) -> Score:
    """Mean of P(bad) over all members. Raises FrameError SCORE_INVALID: a member is missing or its probabilities are none."""
    if not outputs or len(outputs) != len(classes):
        raise _invalid("a member's answer is missing", f"{len(outputs)} of {len(classes)} answers")
    members = []
    for probabilities, labels in zip(outputs, classes, strict=True):
        _require_probabilities(probabilities, labels)
        members.append(float(probabilities[labels.index(bad_label)]))
    return Score(value=sum(members) / len(members), members=tuple(members))


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
