"""The figures of one finished run, as a row of the table that all kinds share."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TypeAlias

import numpy as np
from sklearn.metrics import roc_auc_score

from scans.folder import Scan
from train.cost import Costs, cheapest
from train.experiments.outcome import Outcome
from train.experiments.schema import Experiment
from train.metrics import Scores, Truth, judge, rate, threshold_for
from train.typology import truth_of

Row: TypeAlias = dict[str, str | int | float]

COLUMNS = (
    *("name", "kind", "architecture", "data", "seed", "training", "validation", "good", "bad", "refused", "epochs", "seconds"),
    *("auroc", "error_half", "error_half_low", "error_half_high", "escapes_half", "overkills_half", "escape_rate_half"),
    *("overkill_rate_half", "threshold", "error", "error_low", "error_high", "escapes", "overkills", "escape_rate"),
    *("escape_rate_low", "escape_rate_high", "overkill_rate", "overkill_rate_low", "overkill_rate_high"),
    *("validation_auroc", "validation_error", "defects", "notes"),
)
"""`_half`: at 0.5; without it: at `threshold`, which was chosen on the validation scans. `low` and `high`: 95 %, Clopper and Pearson."""


def row_of(experiment: Experiment, outcome: Outcome, *, seconds: float) -> Row:
    """All columns but the seconds depend on the scores alone. Raises DatasetError when held-out or validation scans lack a label."""
    bad, checked = truth_of(outcome.held_out), truth_of(outcome.validation)
    threshold = outcome.threshold
    if threshold is None:
        threshold = threshold_of(experiment, checked, outcome.validation_badness)
    network = outcome.checkpoint
    values: Row = {
        "name": experiment.name,
        "kind": experiment.kind,
        "architecture": " ".join(experiment.members) if network is None else network.architecture,
        "data": experiment.data,
        "seed": experiment.seed,
        "training": outcome.training,
        "validation": len(checked),
        "good": int((~bad).sum()),
        "bad": int(bad.sum()),
        "refused": outcome.refused,
        "epochs": outcome.epochs,
        "seconds": round(seconds, 1),
        "auroc": round(float(roc_auc_score(bad, outcome.badness)), 6),
        **_figures(bad, outcome.badness, 0.5, "_half"),
        "threshold": threshold,
        **_figures(bad, outcome.badness, threshold, ""),
        "validation_auroc": round(float(roc_auc_score(checked, outcome.validation_badness)), 6),
        "validation_error": _error(checked, outcome.validation_badness, threshold),
        "defects": json.dumps(per_defect(outcome.held_out, outcome.badness, threshold)),
        "notes": "; ".join(outcome.notes),
    }
    return {name: values[name] for name in COLUMNS}


def threshold_of(experiment: Experiment, bad: Truth, badness: Scores) -> float:
    """Chosen on validation scans: least cost with both labels equally many, or the highest that keeps the escape rate asked for."""
    if experiment.escape_rate is not None:
        return threshold_for(bad, badness, experiment.escape_rate)
    return cheapest(bad, badness, Costs(escape=experiment.cost_ratio, bad_share=0.5)).threshold


def per_defect(scans: tuple[Scan, ...], badness: Scores, threshold: float) -> dict[str, list[int]]:
    """Defect (its label where the table has none) → [scans, misjudged at 0.5, misjudged at the threshold]."""
    counted: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for scan, value in zip(scans, badness, strict=True):
        wrong = [(value <= limit) == (scan.label == "bad") for limit in (0.5, threshold)]
        counts = counted[scan.defect or scan.label]
        counts[:] = [counts[0] + 1, counts[1] + wrong[0], counts[2] + wrong[1]]
    return {name: [int(count) for count in counted[name]] for name in sorted(counted)}


def _figures(bad: Truth, badness: Scores, threshold: float, suffix: str) -> Row:
    found, many, few = judge(bad, badness, threshold), int(bad.sum()), int((~bad).sum())
    error, escapes, overkills = (
        rate(found.escapes + found.overkills, len(bad)),
        rate(found.escapes, many),
        rate(found.overkills, few),
    )
    return {
        f"error{suffix}": round(error.seen, 6),
        f"error{suffix}_low": round(error.low, 6),
        f"error{suffix}_high": round(error.high, 6),
        f"escapes{suffix}": found.escapes,
        f"overkills{suffix}": found.overkills,
        f"escape_rate{suffix}": round(escapes.seen, 6),
        f"escape_rate{suffix}_low": round(escapes.low, 6),
        f"escape_rate{suffix}_high": round(escapes.high, 6),
        f"overkill_rate{suffix}": round(overkills.seen, 6),
        f"overkill_rate{suffix}_low": round(overkills.low, 6),
        f"overkill_rate{suffix}_high": round(overkills.high, 6),
    }


def _error(bad: Truth, badness: Scores, threshold: float) -> float:
    return round(float(np.mean((badness <= threshold) == bad)), 6)
