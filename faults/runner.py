"""Runs injectors one after the other and keeps what each of them said, also when it raised or the operator stopped it."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from faults.registry import Effort, Injector, Result, Skipped
from faults.rows import ROWS


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One injector that was run: its result, or why it was skipped, and the seconds it took."""

    injector: Injector
    seconds: float
    result: Result | None = None
    skipped: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ran and did not pass."""
        return self.result is not None and not self.result.passed


@dataclass(frozen=True, kw_only=True)
class Totals:
    """The figures of the last line; `rows_covered` counts rows that were injected by at least one injector while none of theirs failed."""

    cycles_simulated: int
    cycles_real: int
    false_accepts: int
    lost_records: int
    rows_covered: int
    rows_total: int


def run_all(injectors: Iterable[Injector], effort: Effort, done: Callable[[Ran], None]) -> tuple[list[Ran], bool]:
    """Run each injector in a folder of its own under the effort's; returns what ran and whether the operator interrupted it."""
    ran: list[Ran] = []
    try:
        for number, injector in enumerate(injectors):
            folder = effort.folder / str(number)
            folder.mkdir()
            ran.append(run_one(injector, replace(effort, folder=folder)))
            done(ran[-1])
    except KeyboardInterrupt:
        return ran, True
    return ran, False


def run_one(injector: Injector, effort: Effort) -> Ran:
    """Run one injector; an exception inside it is a failure of the product or of the injector, never a pass."""
    begin = time.monotonic()
    result, skipped = None, ""
    try:
        result = injector.inject(effort)
    except Skipped as exc:
        skipped = str(exc)
    except Exception as exc:  # noqa: BLE001 - the suite must go on and name what raised; the trace is printed
        traceback.print_exc(file=sys.stderr)
        result = Result(injections=0, failures=(f"raised {type(exc).__name__}: {exc}",))
    return Ran(injector=injector, seconds=time.monotonic() - begin, result=result, skipped=skipped)


def of_row(ran: Sequence[Ran], row: str) -> list[Ran]:
    """What was run for that row."""
    return [each for each in ran if row in each.injector.rows]


def covered(ran: Sequence[Ran], row: str) -> bool:
    """Whether the row was injected at least once and nothing that injects it failed."""
    results = [each.result for each in of_row(ran, row) if each.result is not None]
    return any(result.times(row) > 0 for result in results) and all(result.passed for result in results)


def totals(ran: Sequence[Ran]) -> Totals:
    """The sums over everything that was run."""
    results = [each.result for each in ran if each.result is not None]
    return Totals(
        cycles_simulated=sum(result.cycles_simulated for result in results),
        cycles_real=sum(result.cycles_real for result in results),
        false_accepts=sum(result.false_accepts for result in results),
        lost_records=sum(result.lost_records for result in results),
        rows_covered=sum(covered(ran, row) for row in ROWS),
        rows_total=len(ROWS),
    )


def scratch(folder: Path | None) -> Path | None:
    """The parent of the scratch folder: paths of Unix sockets may have 107 bytes only, so a short one is needed."""
    return folder if folder is not None else Path("/tmp") if Path("/tmp").is_dir() else None  # noqa: S108 - a new private folder is made in it
