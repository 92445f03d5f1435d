"""What an injector is: a function from an effort to a result, registered for the rows of the catalogue that it injects."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from edge.errors import ConfigError
from faults.rows import ROWS

PACKAGES = ("faults.world", "faults.recorder", "faults.cell", "faults.line")
_QUICK_SHARE, _LONG_TIMES = 20, 10


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much to inject, from which seed, in which (short, own, empty) folder, with how many processes of the injector's own."""

    name: Literal["quick", "ci", "long"]
    seed: int
    folder: Path
    jobs: int = 2

    def times(self, ci: int) -> int:
        """How often to inject where the effort "ci" injects `ci` times: a twentieth, at least once, for quick; ten times for long."""
        return {"quick": max(1, ci // _QUICK_SHARE), "ci": ci, "long": _LONG_TIMES * ci}[self.name]

    def progress(self, text: str) -> None:
        """Show how far the injector is: a line rewritten in place, on a terminal only."""
        if sys.stderr.isatty():
            print(f"\r\x1b[K  {text}", end="", file=sys.stderr, flush=True)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an injector did and saw; `counter` names the product's counter or event row that showed the fault, with its value.

    `injections_by_row` says it per row where the injector knows (else `injections` counts for each of its rows); `worst_ms` is
    the longest reaction seen, in ms.
    """

    injections: int
    cycles_real: int = 0
    cycles_simulated: int = 0
    false_accepts: int = 0
    lost_records: int = 0
    failures: tuple[str, ...] = ()
    counter: str = ""
    worst_ms: float | None = None
    note: str = ""
    injections_by_row: Mapping[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether something was injected and nothing went wrong."""
        return not self.failures and not self.false_accepts and not self.lost_records and self.injections > 0

    def why_not(self) -> tuple[str, ...]:
        """Every reason for which it did not pass, in words; empty when it passed."""
        found = list(self.failures)
        found += [f"{self.false_accepts} false accepts"] * bool(self.false_accepts)
        found += [f"{self.lost_records} lost records"] * bool(self.lost_records)
        found += ["nothing was injected"] * (self.injections <= 0)
        return tuple(found)

    def times(self, row: str) -> int:
        """How often that row was injected."""
        return self.injections_by_row.get(row, 0) if self.injections_by_row else self.injections


class Skipped(Exception):  # noqa: N818 - not an error: this machine lacks something
    """What this machine lacks for an injector and how to get it; its rows then count as not covered."""


Inject = Callable[[Effort], Result]


@dataclass(frozen=True, kw_only=True)
class Injector:
    """One registered injector; `name` is its module and function, `test` the test that shows the same in small."""

    name: str
    rows: tuple[str, ...]
    inject: Inject
    test: str = ""


REGISTERED: dict[str, Injector] = {}


def injects(*rows: str, test: str = "") -> Callable[[Inject], Inject]:
    """Register the decorated function as injector of these rows. Raises ConfigError for an unknown row or a name in use."""
    unknown = [row for row in rows if row not in ROWS]
    if unknown or not rows:
        raise ConfigError("an injector names rows that the catalogue does not have", seen=unknown, remedy="Use ids of faults/rows.py")

    def register(inject: Inject) -> Inject:
        name = f"{inject.__module__}.{inject.__qualname__}".removeprefix("faults.")
        if name in REGISTERED:
            raise ConfigError("two injectors have one name", seen=name, remedy="Rename one: the second would replace the first")
        REGISTERED[name] = Injector(name=name, rows=rows, inject=inject, test=test)
        return inject

    return register


def load() -> dict[str, Injector]:
    """Import the packages of injectors that there are and return every injector by name, in the order of the rows they begin with."""
    for package in PACKAGES:
        if find_spec(package) is not None:
            import_module(package)
    return dict(sorted(REGISTERED.items(), key=lambda item: (min(item[1].rows), item[0])))


def select(injectors: Mapping[str, Injector], patterns: str) -> tuple[list[Injector], list[str]]:
    """The injectors and rows chosen by comma-separated ids and patterns ("C03,D*"). Raises ConfigError when one matches nothing."""
    chosen: set[str] = set()
    for pattern in (part.strip() for part in patterns.split(",")):
        matching = {row for row in ROWS if fnmatchcase(row, pattern)}
        if not matching:
            raise ConfigError("no row of the catalogue matches", seen=pattern, remedy="Name rows A01 to G08, or a pattern such as D*")
        chosen |= matching
    return [each for each in injectors.values() if chosen & set(each.rows)], sorted(chosen)
