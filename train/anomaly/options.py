"""What fitting to good welds may be told, as one frozen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from edge.errors import DatasetError
from nets.anomaly import ANOMALY

Origin = Literal["fixed", "pretext", "pretrained", "checkpoint", "random"]
ORIGINS: tuple[Origin, ...] = get_args(Origin)


@dataclass(frozen=True, kw_only=True)
class AnomalyOptions:
    """One fit. Every value takes part in the result."""

    architecture: str = "padim"
    """One of nets.anomaly.ANOMALY."""
    origin: Origin = "fixed"
    """Where the body's weights come from: fixed filters (padim and patchcore, and no other), taught here to tell good scans from good
    scans with a piece moved, from ImageNet, from a checkpoint of another typology or a router, or left at random."""
    checkpoint: Path | None = None
    """For the origin "checkpoint"."""
    epochs: int = 12
    """Of the pretext."""
    batch_size: int = 16
    learning_rate: float = 3e-3
    reach: int = 1
    """PaDiM: positions to either side from which a position learns too, because welds shift."""
    quantile: float = 0.99
    """Part of the good calibration scans that a badness of 0.5 accepts."""
    calibration: float = 0.25
    """Part of the good training scans, in whole groups, that the statistics do not see and the quantile is taken from."""
    held_out: float = 0.2
    seed: int = 42
    threads: int = 2

    def __post_init__(self) -> None:
        _one_of("architecture", self.architecture, tuple(ANOMALY))
        _one_of("origin", self.origin, ORIGINS)
        _between("epochs", self.epochs, 1, 10_000)
        _between("batch_size", self.batch_size, 2, 4_096)
        _between("learning_rate", self.learning_rate, 1e-7, 1.0)
        _between("reach", self.reach, 0, 8)
        _between("quantile", self.quantile, 0.5, 1.0)
        _between("calibration", self.calibration, 0.05, 0.9)
        _between("held_out", self.held_out, 0.01, 0.9)
        _between("threads", self.threads, 1, 256)
        body = ANOMALY[self.architecture][1]
        fits = {"fixed": body == "relief", "pretrained": body == "resnet18"}.get(self.origin, body != "relief")
        if not fits or (self.checkpoint is None) == (self.origin == "checkpoint"):
            raise DatasetError(
                f"{self.architecture} cannot be had like this",
                seen=f"origin {self.origin}, checkpoint {self.checkpoint}",
                remedy="padim and patchcore are fixed; ImageNet's weights are resnet18's; the origin checkpoint needs one, no other does",
            )

    def as_text(self) -> dict[str, str]:
        """Every option by name, for a checkpoint's provenance; of the checkpoint only its file name."""
        named = {**asdict(self), "checkpoint": "" if self.checkpoint is None else self.checkpoint.name}
        return {name: str(value) for name, value in named.items()}


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise DatasetError(f"the anomaly option {name} is out of range", seen=value, remedy=f"Choose a value from {low:g} to {high:g}")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise DatasetError(f"the anomaly option {name} is not known", seen=value, remedy=f"Choose one of: {', '.join(known)}")
