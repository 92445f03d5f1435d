"""Injectors in shares: each cell gets a folder, a seed and a number of injections; their results become one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

from edge.errors import CordonError
from faults.cell.books import Findings
from faults.registry import Effort, Result

_SEED_STEP = 1_000_003


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one cell has to do."""

    folder: Path
    seed: int
    times: int
    name: str
    """Of the effort."""

    def random(self) -> random.Random:
        """The same every time for one seed."""
        return random.Random(self.seed)  # noqa: S311 - reproducible faults, no secrets


Work = Callable[[Share], Result]


def side_by_side(effort: Effort, ci: int, work: Work, *, jobs: int | None = None) -> Result:
    """Inject `ci` times (scaled by the effort) in as many cells at once as the effort allows; quick ones in this process."""
    times = effort.times(ci)
    jobs = 1 if effort.name == "quick" else min(jobs or effort.jobs, times)
    shares = [
        Share(
            folder=effort.folder / f"{number}",
            seed=effort.seed + number * _SEED_STEP,
            times=times // jobs + (number < times % jobs),
            name=effort.name,
        )
        for number in range(jobs)
    ]
    safely = partial(_safely, work)
    return merged([safely(shares[0])] if jobs == 1 else list(_pool(jobs).map(safely, shares)))


def _safely(work: Work, share: Share) -> Result:
    """A cell that could not go on is a failure of its injector, not the end of the suite."""
    try:
        return work(share)
    except CordonError as exc:
        return Result(injections=0, failures=(f"cell with seed {share.seed} of {share.folder}: {exc}",))


@cache
def _pool(jobs: int) -> ProcessPoolExecutor:
    # Spawned, not forked: the suite's own process may have threads.
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))


def merged(results: Sequence[Result]) -> Result:
    """Sums, and the worst."""
    worst = [result.worst_ms for result in results if result.worst_ms is not None]
    rows: Counter[str] = Counter()
    for result in results:
        rows.update(result.injections_by_row)
    return Result(
        injections=sum(result.injections for result in results),
        cycles_real=sum(result.cycles_real for result in results),
        false_accepts=sum(result.false_accepts for result in results),
        lost_records=sum(result.lost_records for result in results),
        failures=tuple(failure for result in results for failure in result.failures),
        counter=summed([result.counter for result in results]),
        worst_ms=max(worst, default=None),
        note="; ".join(dict.fromkeys(result.note for result in results if result.note)),
        injections_by_row=dict(rows),
    )


def counted(counts: Counter[str], *names: str) -> str:
    """The product's counts of these events, dispositions or reasons, for `Result.counter`."""
    return ", ".join(f"{name} {counts[name]}" for name in names)


def summed(texts: Sequence[str]) -> str:
    """Counts as `counted` gives them, added up by name."""
    total: Counter[str] = Counter()
    for item in (item for text in texts for item in text.split(", ") if item):
        name, _, value = item.rpartition(" ")
        total[name] += int(value)
    return counted(total, *total)


def everything(found: Findings) -> Counter[str]:
    """Events, dispositions and verdicts' reasons of a cell in one bag."""
    bag = Counter({f"event '{name}'": count for name, count in found.events.items()})
    bag.update({f"disposition {name}": count for name, count in found.done.items()})
    bag.update({f"verdict {name}": count for name, count in found.reasons.items()})
    return bag


def require(found: Findings, condition: bool, text: str) -> None:
    """A reaction that must have happened."""
    if not condition:
        found.failures.append(text)
