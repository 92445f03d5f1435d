"""How far each random change of a training scan may go; without torch, so that a command's --help need not wait for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far each random change may go; every value is a largest amount, and 0 switches its change off."""

    flip_rows: bool = True
    """Top to bottom."""
    flip_columns: bool = True
    """Left to right."""
    shift: float = 0.06
    """Of height and width."""
    rotation_deg: float = 3.0
    stretch: float = 0.06
    """Each side's length times 1 - stretch to 1 + stretch."""
    gain: float = 0.2
    """Heights times 1 - gain to 1 + gain about their middle."""
    offset: float = 0.1
    """Added to every height; 1 is the whole gray range."""
    tilt: float = 0.1
    """A slope over the whole image, as if the part lay askew."""
    noise: float = 0.01
    """Standard deviation of noise on every height."""
    dropout: float = 0.02
    """Fraction of measured pixels that lose their data."""


STRONG = Augmentation()
GENTLE = Augmentation(gain=0.1, offset=0.05, tilt=0.05, noise=0.005, dropout=0.01)
SLIGHT = Augmentation(shift=0.03, stretch=0.03, rotation_deg=2.0, gain=0.05, offset=0.02, tilt=0.02, noise=0.0, dropout=0.005)
STILL = Augmentation(flip_rows=False, flip_columns=False, shift=0, rotation_deg=0, stretch=0, gain=0, offset=0, tilt=0, noise=0, dropout=0)
AUGMENTATIONS = {"none": STILL, "slight": SLIGHT, "gentle": GENTLE, "strong": STRONG}
"""From none at all to the default, by the word that an experiment's file says."""
