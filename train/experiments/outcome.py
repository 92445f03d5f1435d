"""What a run of any kind ends in: badness of the same held-out and validation scans, so that one table compares them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from nets.checkpoint import Checkpoint
from scans.folder import Scan
from train.experiments.schema import Experiment
from train.learner import Fitted, Task
from train.metrics import Scores
from train.typology import CLASSES


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished run. Badness is f64 [scans] in 0..1."""

    held_out: tuple[Scan, ...]
    badness: Scores
    validation: tuple[Scan, ...]
    validation_badness: Scores
    threshold: float | None = None
    """Where the rule that made the badness brings its own; None: the row chooses it on the validation scans."""
    checkpoint: Checkpoint | None = None
    """None for a committee, which has no network of its own."""
    epochs: int = 0
    training: int = 0
    """Scans that were learnt from."""
    refused: int = 0
    notes: tuple[str, ...] = ()
    """What a reader of the row must know, as short sentences without a full stop."""


RunKind: TypeAlias = Callable[[Experiment, Task, Path], Outcome]
"""How a kind is run: the experiment, the prepared task and the run's own folder (OUT/<name>; its siblings are other runs)."""


def outcome_of(fitted: Fitted, *, epochs: int, training: int, notes: tuple[str, ...] = ()) -> Outcome:
    """The outcome of anything that ends in a `Fitted` of the classes bad and good."""
    bad = CLASSES.index("bad")
    return Outcome(
        held_out=fitted.held_out,
        badness=fitted.probabilities[:, bad],
        validation=fitted.validation,
        validation_badness=fitted.validation_probabilities[:, bad],
        checkpoint=fitted.checkpoint,
        epochs=epochs,
        training=training,
        refused=fitted.refused,
        notes=(*fitted.notes, *notes),
    )
