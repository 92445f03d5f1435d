"""Splits that keep every group whole, so that a network is never tested on the twin of a scan it was trained on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from edge.errors import DatasetError
from scans.folder import Scan

Split = tuple[tuple[Scan, ...], tuple[Scan, ...]]


def split_by_group(scans: Sequence[Scan], *, held_out: float, seed: int) -> Split:
    """(training, held out): about the fraction `held_out` of each label in whole groups. Raises DatasetError when a side lacks a label."""
    if not 0.0 < held_out < 1.0:
        raise DatasetError("the held-out fraction must lie between 0 and 1", seen=held_out, remedy="0.2 is usual")
    if held_out > 0.5:
        rest, kept = folds_by_group(scans, folds=max(2, round(1 / (1 - held_out))), seed=seed)[0]
        return kept, rest
    return folds_by_group(scans, folds=max(2, round(1 / held_out)), seed=seed)[0]


def folds_by_group(scans: Sequence[Scan], *, folds: int, seed: int) -> list[Split]:
    """(training, test) per fold; every scan is tested exactly once, no group lies on both sides, labels are spread evenly.

    Groups are dealt largest first, each to the fold that so far has the fewest scans of the group's majority label; `seed` breaks
    ties among equals. Raises DatasetError when a fold would lack a label on either side.
    """
    members: dict[str, list[Scan]] = defaultdict(list)
    for scan in scans:
        members[scan.group].append(scan)
    order = list(members)
    np.random.default_rng(seed).shuffle(order)
    order.sort(key=lambda group: -len(members[group]))
    dealt: list[list[Scan]] = [[] for _ in range(folds)]
    for group in order:
        bad = sum(scan.label == "bad" for scan in members[group])
        major = "bad" if 2 * bad >= len(members[group]) else "good"
        emptiest = min(dealt, key=lambda fold: (sum(scan.label == major for scan in fold), len(fold)))
        emptiest.extend(members[group])
    return [_checked(scans, set(fold), folds, len(members)) for fold in dealt]


def _checked(scans: Sequence[Scan], test: set[Scan], folds: int, groups: int) -> Split:
    split = tuple(s for s in scans if s not in test), tuple(s for s in scans if s in test)
    for side in split:
        if {scan.label for scan in side} != {"good", "bad"}:
            raise DatasetError(
                f"{folds} folds of whole groups cannot hold both labels each",
                seen=f"{groups} groups, {len(scans)} scans",
                remedy="Take fewer folds, a smaller held-out part or more groups",
            )
    return split
