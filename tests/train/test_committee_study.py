"""Committees of toy members whose results can be told by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge.errors import DatasetError
from edge.manifest import MIN_WEIGHT
from train.combining import fit_weights
from train.committee import Candidate, Judged, least_errors, study

FILES = ("good/0.png", "good/1.png", "good/2.png", "bad/0.png", "bad/1.png", "bad/2.png")
BAD = np.array([False, False, False, True, True, True])
SURE = [0.1, 0.1, 0.1, 0.9, 0.9, 0.9]


def judged(scores: list[float]) -> Judged:
    return Judged(files=FILES, bad=BAD, badness=np.array(scores))


def candidate(name: str, validation: list[float], held_out: list[float]) -> Candidate:
    return Candidate(name=name, validation=judged(validation), held_out=judged(held_out))


ONE_WRONG_EACH = [
    candidate("a", SURE, [0.8, 0.1, 0.1, 0.9, 0.9, 0.9]),
    candidate("b", SURE, [0.1, 0.8, 0.1, 0.9, 0.9, 0.9]),
    candidate("c", SURE, [0.1, 0.1, 0.1, 0.9, 0.9, 0.2]),
]
"""Each member errs on one held-out scan, each on another one."""


def test_three_members_make_twelve_committees_that_outvote_single_errors() -> None:
    found = study(ONE_WRONG_EACH)
    assert len(found.committees) == 4 * 3
    assert [(row.held_out.escapes, row.held_out.overkills) for row in found.members] == [(0, 1), (0, 1), (1, 0)]
    rows = {row.name: row for row in found.committees}
    for rule in ("mean", "vote", "weighted"):
        row = rows[f"{rule}(a+b+c)"]
        assert (row.error_rate, row.held_out.escapes, row.held_out.overkills, row.auroc) == (0.0, 0, 0, 1.0)
    assert rows["mean(a+b+c)"].badness == pytest.approx([1.0 / 3, 1.0 / 3, 0.1, 0.9, 0.9, 2.0 / 3])
    assert rows["vote(a+b+c)"].badness == pytest.approx([1 / 3, 1 / 3, 0, 1, 1, 2 / 3])
    assert rows["vote(a+b+c)"].thresholds == (0.5, 0.5, 0.5)
    assert rows["weighted(a+b+c)"].weights == pytest.approx((1 / 3,) * 3, abs=1e-3)


def test_a_tied_vote_goes_by_the_mean() -> None:
    """Two members, one says bad: mean minus threshold decides, 0.5 + m / 4."""
    row = next(row for row in study(ONE_WRONG_EACH).committees if row.name == "vote(a+b)")
    assert row.badness == pytest.approx([0.4875, 0.4875, 0, 1, 1, 1])  # m = (0.8 + 0.1) / 2 - 0.5
    assert (row.held_out.escapes, row.held_out.overkills) == (0, 0)


def test_the_committee_is_chosen_on_validation_and_may_lose_on_held_out() -> None:
    misled = [candidate("a", [0.1, 0.1, 0.6, 0.9, 0.9, 0.4], SURE), candidate("b", SURE, [0.9, 0.9, 0.9, 0.1, 0.1, 0.1])]
    found = study(misled)
    assert found.best_member.name == "b"
    assert found.best_member_in_hindsight.name == "a"
    assert found.chosen.validation.escapes + found.chosen.validation.overkills == 0
    assert not found.not_worse_in_hindsight
    assert found.not_worse
    assert "<- chosen" in found.table()
    assert "<- best member" in found.table()
    facts = found.as_dict()
    assert (facts["chosen"], facts["best_member"]) == (found.chosen.name, "b")


def test_weights_leave_a_useless_member_out_and_are_what_a_bundle_may_hold() -> None:
    useless = np.array([0.9, 0.1, 0.9, 0.1, 0.9, 0.1])
    weights = fit_weights([np.array(SURE), useless], BAD)
    assert weights == (1.0, MIN_WEIGHT)


def test_weights_are_those_of_the_least_log_loss() -> None:
    rng = np.random.default_rng(0)
    bad = rng.random(400) < 0.5
    columns = [np.clip(bad * gap + rng.normal(0.5 - gap / 2, 0.2, 400), 0.01, 0.99) for gap in (0.1, 0.4)]

    def loss(weight: float) -> float:
        mixed = weight * columns[0] + (1 - weight) * columns[1]
        return float(-np.log(np.where(bad, mixed, 1 - mixed)).mean())

    best = min(np.linspace(0.001, 0.999, 999), key=loss)
    assert fit_weights(columns, bad)[0] == pytest.approx(best, abs=2e-3)


def test_thresholds_are_chosen_on_validation_alone() -> None:
    shifted = [candidate(name, [0.1, 0.2, 0.3, 0.7, 0.8, 0.9], [0.6, 0.6, 0.6, 0.65, 0.7, 0.7]) for name in "ab"]
    row = study(shifted).members[0]
    assert row.held_out.threshold == 0.5
    assert (row.held_out.escapes, row.held_out.overkills) == (0, 3)
    together = next(row for row in study(shifted, rules=("mean",)).committees)
    assert (together.held_out.threshold, together.held_out.overkills) == (pytest.approx(0.5), 3)
    strict = study(shifted, choose=lambda bad, badness: least_errors(bad, badness) / 2)
    assert strict.members[0].held_out.threshold == 0.25


def test_members_of_different_splits_are_refused_with_the_first_differing_file() -> None:
    a, b = ONE_WRONG_EACH[:2]
    other = replace(b, held_out=replace(b.held_out, files=(*FILES[:4], "bad/7.png", FILES[5])))
    with pytest.raises(DatasetError, match=r"a and b were judged on different held-out scans.*scan 5: bad/1.png \(bad\) and bad/7.png"):
        study([a, other])
    shorter = Judged(files=FILES[:5], bad=BAD[:5], badness=np.array(SURE[:5]))
    with pytest.raises(DatasetError, match=r"different validation scans.*scan 6: bad/2.png \(bad\) and none"):
        study([a, replace(b, validation=shorter)])
    flipped = replace(b, validation=replace(b.validation, bad=np.array([True, *BAD[1:]])))
    with pytest.raises(DatasetError, match=r"scan 1: good/0.png \(good\) and good/0.png \(bad\)"):
        study([a, flipped])


def test_a_validation_of_one_label_is_refused() -> None:
    good = Judged(files=FILES[:3], bad=BAD[:3], badness=np.array(SURE[:3]))
    with pytest.raises(DatasetError, match="validation scans are not of both labels"):
        study([replace(one, validation=good) for one in ONE_WRONG_EACH])


def test_one_member_or_one_name_twice_is_no_committee() -> None:
    for candidates in (ONE_WRONG_EACH[:1], [ONE_WRONG_EACH[0]] * 2):
        with pytest.raises(DatasetError, match="different members"):
            study(candidates)
