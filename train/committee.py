"""The committee study: every combination of finished networks, by every rule the box has, chosen on validation and told on held-out.

Rules are the box's own (`edge.inspector.scoring`): mean of the badness, majority vote with each member's own threshold and ties broken
by the mean, mean by weights. Weights, thresholds and the choice of the committee come from the validation scans; the held-out scans
only judge. So a committee may do worse than its best member there, and the study says whether it did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, zip_longest
from typing import TypeAlias, get_args

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from edge.errors import DatasetError
from edge.manifest import VOTE_THRESHOLD, Combine
from train.combining import LEAST_PROBABILITY, combine, fit_weights
from train.cost import Costs, cheapest
from train.metrics import Judgement, Scores, Truth, judge

Choose: TypeAlias = Callable[[Truth, Scores], float]
"""A threshold from validation scans, bool and f64 [n]."""
RULES: tuple[Combine, ...] = get_args(Combine)
MOST = 10
"""Members: their combinations are 1013."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Scans of one side of the split and one network's badness of them, in one order."""

    files: tuple[str, ...]
    bad: Truth
    badness: Scores


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A finished network that may become a member."""

    name: str
    validation: Judged
    held_out: Judged


@dataclass(frozen=True, kw_only=True)
class Row:
    """One committee, or one member alone (`rule` is then empty). Figures are of the held-out scans but where they say otherwise."""

    members: tuple[str, ...]
    rule: Combine | str
    weights: tuple[float, ...]
    thresholds: tuple[float, ...]
    """Of each member, where they vote; else empty."""
    validation: Judgement
    held_out: Judgement
    log_loss: float
    """On the validation scans."""
    auroc: float
    scans: int
    badness: Scores
    """f64 [held out]."""
    validation_badness: Scores

    @property
    def name(self) -> str:
        """Like mean(a+b)."""
        joined = "+".join(self.members)
        return f"{self.rule}({joined})" if self.rule else joined

    @property
    def error_rate(self) -> float:
        """At the threshold chosen on validation."""
        return (self.held_out.escapes + self.held_out.overkills) / self.scans


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that was tried."""

    members: tuple[Row, ...]
    committees: tuple[Row, ...]
    best_member: Row
    """Chosen on validation."""
    best_member_in_hindsight: Row
    """The fewest errors on the held-out scans; nobody could have known."""
    chosen: Row
    """The committee chosen on validation."""

    @property
    def not_worse(self) -> bool:
        """Whether the chosen committee makes no more held-out errors than the member chosen on validation."""
        return self.chosen.error_rate <= self.best_member.error_rate

    @property
    def not_worse_in_hindsight(self) -> bool:
        """Whether it makes no more than the member that happened to be best."""
        return self.chosen.error_rate <= self.best_member_in_hindsight.error_rate

    def table(self) -> str:
        """Members, then committees, fewest errors on validation first."""
        width = max(len(row.name) for row in (*self.members, *self.committees))
        head = f"{'':{width}s} {'threshold':>9s} {'error':>7s} {'escapes':>7s} {'overkills':>9s} {'AUROC':>7s}"
        head += "  on validation: escapes overkills"
        marks = {id(self.chosen): "  <- chosen", id(self.best_member): "  <- best member"}
        return "\n".join([head, *(_line(row, width) + marks.get(id(row), "") for row in (*self.members, *self.committees))])

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "members": [_facts(row) for row in self.members],
            "committees": [_facts(row) for row in self.committees],
            "chosen": self.chosen.name,
            "best_member": self.best_member.name,
            "best_member_in_hindsight": self.best_member_in_hindsight.name,
            "not_worse_than_best_member": self.not_worse,
            "not_worse_in_hindsight": self.not_worse_in_hindsight,
        }


def study(candidates: Sequence[Candidate], *, choose: Choose | None = None, rules: Sequence[Combine] = RULES) -> Study:
    """All combinations of 2 to n of `candidates` by each of `rules`.

    `choose` finds thresholds, by default `least_errors`. The committee with the fewest errors on validation is chosen; among
    equals the one with the lowest log loss there. Raises DatasetError for fewer than two
    candidates or too many, names that repeat, members of different splits (with the first file that differs), or a side without
    both labels.
    """
    choose = choose or least_errors
    _require_one_split(candidates)
    members = [_alone(candidate, choose) for candidate in candidates]
    committees = [_together(chosen, rule, choose) for chosen in _subsets(candidates) for rule in rules]
    committees.sort(key=_merit)
    return Study(
        members=tuple(members),
        committees=tuple(committees),
        best_member=min(members, key=_merit),
        best_member_in_hindsight=min(members, key=lambda row: (row.error_rate, row.held_out.escapes, -row.auroc)),
        chosen=committees[0],
    )


def least_errors(bad: Truth, badness: Scores, *, escape: float = 1.0) -> float:
    """The threshold with the fewest misjudged scans, an escape counting as `escape` overkills; the lowest of equals."""
    return cheapest(bad, badness, Costs(escape=escape, bad_share=float(bad.mean()))).threshold


def _subsets(candidates: Sequence[Candidate]) -> Iterator[tuple[Candidate, ...]]:
    return (chosen for size in range(2, len(candidates) + 1) for chosen in combinations(candidates, size))


def _alone(candidate: Candidate, choose: Choose) -> Row:
    threshold = choose(candidate.validation.bad, candidate.validation.badness)
    return _row((candidate,), "", candidate.validation.badness, candidate.held_out.badness, threshold=threshold)


def _together(chosen: tuple[Candidate, ...], rule: Combine, choose: Choose) -> Row:
    seen, bad = [member.validation.badness for member in chosen], chosen[0].validation.bad
    weights = fit_weights(seen, bad) if rule == "weighted" else ()
    thresholds = tuple(choose(bad, column) for column in seen) if rule == "vote" else ()
    validation = combine(seen, rule, weights=weights, thresholds=thresholds)
    held_out = combine([member.held_out.badness for member in chosen], rule, weights=weights, thresholds=thresholds)
    threshold = VOTE_THRESHOLD if rule == "vote" else choose(bad, validation)
    return _row(chosen, rule, validation, held_out, threshold=threshold, weights=weights, thresholds=thresholds)


def _row(
    chosen: tuple[Candidate, ...],
    rule: Combine | str,
    validation: Scores,
    held_out: Scores,
    *,
    threshold: float,
    weights: tuple[float, ...] = (),
    thresholds: tuple[float, ...] = (),
) -> Row:
    seen, judged = chosen[0].validation.bad, chosen[0].held_out.bad
    return Row(
        members=tuple(member.name for member in chosen),
        rule=rule,
        weights=weights,
        thresholds=thresholds,
        validation=judge(seen, validation, threshold),
        held_out=judge(judged, held_out, threshold),
        log_loss=float(log_loss(seen, np.clip(validation, LEAST_PROBABILITY, 1.0 - LEAST_PROBABILITY))),
        auroc=float(roc_auc_score(judged, held_out)),
        scans=len(judged),
        badness=held_out,
        validation_badness=validation,
    )


def _merit(row: Row) -> tuple[float, float, int]:
    return row.validation.escapes + row.validation.overkills, row.log_loss, len(row.members)


def _require_one_split(candidates: Sequence[Candidate]) -> None:
    names = [candidate.name for candidate in candidates]
    if not 2 <= len(candidates) <= MOST or len(set(names)) < len(names):
        raise DatasetError("a committee study needs different members", seen=names, remedy=f"Name 2 to {MOST} finished networks")
    for side in ("validation", "held_out"):
        first: Judged = getattr(candidates[0], side)
        for candidate in candidates:
            _require_same(candidates[0].name, first, candidate.name, getattr(candidate, side), side.replace("_", "-"))
        if not first.bad.any() or first.bad.all():
            raise DatasetError(
                f"the {side.replace('_', '-')} scans are not of both labels",
                seen=f"{int(first.bad.sum())} bad of {len(first.bad)}",
                remedy="Split off good and bad scans: validation chooses, held-out judges",
            )


def _require_same(one: str, first: Judged, other: str, second: Judged, side: str) -> None:
    pairs = zip_longest(zip(first.files, first.bad, strict=True), zip(second.files, second.bad, strict=True))
    for place, (a, b) in enumerate(pairs):
        if a != b:
            raise DatasetError(
                f"{one} and {other} were judged on different {side} scans",
                seen=f"scan {place + 1}: {_told(a)} and {_told(b)}",
                remedy="Train the members with one split of one folder",
            )


def _told(scan: tuple[str, np.bool_] | None) -> str:
    return "none" if scan is None else f"{scan[0]} ({'bad' if scan[1] else 'good'})"


def _line(row: Row, width: int) -> str:
    at, seen = row.held_out, row.validation
    figures = f"{at.threshold:9.4f} {row.error_rate:7.2%} {at.escapes:7d} {at.overkills:9d} {row.auroc:7.4f}"
    return f"{row.name:{width}s} {figures}  {seen.escapes:22d} {seen.overkills:9d}"


def _facts(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "members": list(row.members),
        "rule": row.rule,
        "weights": list(row.weights),
        "member_thresholds": list(row.thresholds),
        "threshold": row.held_out.threshold,
        "error_rate": row.error_rate,
        "escapes": row.held_out.escapes,
        "overkills": row.held_out.overkills,
        "auroc": row.auroc,
        "validation_escapes": row.validation.escapes,
        "validation_overkills": row.validation.overkills,
        "validation_log_loss": row.log_loss,
    }
