"""What a training run may be told, as one frozen value, and the recipes that proved themselves."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Literal, TypeAlias

from edge.errors import DatasetError
from train.amounts import GENTLE, SLIGHT, Augmentation

Balance: TypeAlias = Literal["none", "weights", "oversample"]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """One training run. Every value takes part in the result; the same values on the same CPU give the same weights."""

    architecture: str = "small"
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 3e-3
    """The one-cycle schedule's highest."""
    weight_decay: float = 0.05
    label_smoothing: float = 0.0
    balance: Balance = "weights"
    """Rare classes weigh more in the loss, are drawn more often, or nothing is done about them."""
    cost_ratio: float = 1.0
    """In the loss, a scan of the first class (a typology's bad ones) weighs so many times what it would."""
    held_out: float = 0.2
    """Fraction of the scans, in whole groups, that is never trained on and gives the metrics."""
    escape_rate: float = 0.0
    """Fraction of the held-out bad welds that the reported threshold may accept."""
    seed: int = 42
    threads: int = 2
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        _between("epochs", self.epochs, 1, 10_000)
        _between("batch_size", self.batch_size, 2, 4_096)
        _between("learning_rate", self.learning_rate, 1e-7, 1.0)
        _between("held_out", self.held_out, 0.01, 0.9)
        _between("escape_rate", self.escape_rate, 0.0, 0.5)
        _between("cost_ratio", self.cost_ratio, 1e-3, 1e6)
        _between("threads", self.threads, 1, 256)

    def as_text(self) -> dict[str, str]:
        """Every option by name, for a checkpoint's provenance."""
        return {name: str(value) for name, value in asdict(self).items()}


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise DatasetError(f"the training option {name} is out of range", seen=value, remedy=f"Choose a value from {low:g} to {high:g}")


RECIPES: dict[str, TrainingOptions] = {
    "default": TrainingOptions(),
    "synthetic": TrainingOptions(epochs=20, batch_size=16, threads=1, augmentation=GENTLE),
    "router": TrainingOptions(epochs=4, threads=1, augmentation=GENTLE),
    "real": TrainingOptions(epochs=24, augmentation=SLIGHT),
}
"""Named sets of options; the command line's own options go on top."""


def recipe(name: str, **changes: object) -> TrainingOptions:
    """A recipe with `changes` on top; those that are None are left out. Raises DatasetError for an unknown name or value."""
    if name not in RECIPES:
        raise DatasetError("this training recipe is not known", seen=name, remedy=f"Choose one of: {', '.join(RECIPES)}")
    wanted = {key: value for key, value in changes.items() if value is not None}
    return replace(RECIPES[name], **wanted)  # type: ignore[arg-type]
