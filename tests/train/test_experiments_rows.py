"""A row of the table: what chooses its threshold, and whom it counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from scans.folder import Label, Scan
from train.experiments.outcome import Outcome
from train.experiments.rows import row_of
from train.experiments.schema import Experiment


def _scans(count: int, label: Label, defect: str) -> tuple[Scan, ...]:
    return tuple(Scan(Path(f"{label}/{defect}{number}.png"), label, f"{defect}{number}", defect) for number in range(count))


JUDGED = (*_scans(2, "bad", "ball"), *_scans(1, "bad", "cut"), *_scans(3, "good", ""))
OUTCOME = Outcome(
    held_out=JUDGED,
    badness=np.array([0.9, 0.6, 0.3, 0.65, 0.2, 0.1]),
    validation=(*_scans(2, "bad", "ball"), *_scans(2, "good", "")),
    validation_badness=np.array([0.95, 0.9, 0.5, 0.1]),
)


def test_validation_scans_choose_the_threshold_and_held_out_ones_are_only_counted() -> None:
    row = row_of(Experiment(name="one", data="T"), OUTCOME, seconds=1.0)
    assert row["threshold"] == np.mean([0.5, 0.9])
    assert (row["escapes"], row["overkills"]) == (2, 0)
    assert (row["escapes_half"], row["overkills_half"]) == (1, 1)
    assert row["validation_error"] == 0
    assert row["error"] == round(2 / 6, 6)


def test_each_defect_is_counted_at_half_and_at_the_threshold() -> None:
    row = row_of(Experiment(name="one", data="T"), OUTCOME, seconds=1.0)
    assert json.loads(str(row["defects"])) == {"ball": [2, 0, 1], "cut": [1, 1, 1], "good": [3, 1, 0]}
