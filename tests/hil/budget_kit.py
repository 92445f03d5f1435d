"""The table of budgets: limits from TOML, what was measured against each, and the printed table with the margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edge.toml import parse_toml

BUDGETS = Path(__file__).with_name("budgets.toml")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One budget: not more than this."""

    name: str
    most: float
    unit: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One figure against its budget."""

    limit: Limit
    value: float

    @property
    def met(self) -> bool:
        return self.value <= self.limit.most

    @staticmethod
    def table(measured: Sequence[Measured]) -> list[str]:
        """Measured, limit and margin, one line each."""
        rows = [("budget", "measured", "limit", "margin", ""), *(_row(figure) for figure in measured)]
        return [f"{name:<26} {value:>10} {limit:>10} {margin:>10}  {what}" for name, value, limit, margin, what in rows]


def _row(figure: Measured) -> tuple[str, str, str, str, str]:
    limit = figure.limit
    margin = limit.most - figure.value
    what = f"{'' if figure.met else 'EXCEEDED: '}{limit.what} [{limit.unit}]"
    return limit.name, f"{figure.value:.1f}", f"{limit.most:.1f}", f"{margin:.1f}", what


def load_budgets(*files: Path) -> dict[str, Limit]:
    """The limits of the first file, with those of the others in their place; a limit that the first does not know is a mistake."""
    limits: dict[str, Limit] = {}
    for number, path in enumerate(files):
        for name, row in parse_toml(path.read_bytes()).items():
            if number and name not in limits:
                raise pytest.UsageError(f"{path}: there is no budget {name}; there are {', '.join(limits)}")
            known = limits.get(name)
            limits[name] = Limit(
                name=name,
                most=float(row["most"]),
                unit=known.unit if known else row["unit"],
                what=known.what if known else row["what"],
            )
    return limits


@dataclass
class Budgets:
    """Compares figures with their limits and remembers them for the table."""

    limits: dict[str, Limit]
    measured: list[Measured] = field(default_factory=list)

    def hold(self, **figures: float) -> list[str]:
        """Note the figures by their budget's name; returns the budgets that are exceeded, as text."""
        new = [Measured(limit=self.limits[name], value=value) for name, value in figures.items()]
        self.measured += new
        return [
            f"{figure.limit.name}: {figure.value:.1f} of {figure.limit.most:.1f} {figure.limit.unit}" for figure in new if not figure.met
        ]


def at(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
