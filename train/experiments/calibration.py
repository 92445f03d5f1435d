"""Probabilities that mean what they say, as an option of every experiment that ends in a classifier's network."""

from __future__ import annotations

from dataclasses import replace

from train.experiments.outcome import Outcome
from train.experiments.schema import Experiment
from train.probability import folded, platt, reliability, temperature
from train.typology import truth_of

WAYS = {"temperature": temperature, "platt": platt}


def calibrated(experiment: Experiment, outcome: Outcome) -> Outcome:
    """The outcome with its calibration inside the network, chosen on the validation scans; a note says what it did to the held-out ones.

    Raises DatasetError where the last layer cannot do it.
    """
    if experiment.calibrate == "no" or outcome.checkpoint is None:
        return outcome
    how = WAYS[experiment.calibrate](truth_of(outcome.validation), outcome.validation_badness)
    before, after = (reliability(truth_of(outcome.held_out), badness) for badness in (outcome.badness, how(outcome.badness)))
    said = f"{experiment.calibrate}: scale {how.scale:.3g}, shift {how.shift:.3g}; held-out"
    note = f"{said} calibration error {before.ece:.4f} to {after.ece:.4f}, Brier score {before.brier:.4f} to {after.brier:.4f}"
    return replace(
        outcome,
        checkpoint=folded(outcome.checkpoint, how),
        badness=how(outcome.badness),
        validation_badness=how(outcome.validation_badness),
        notes=(*outcome.notes, note),
    )
