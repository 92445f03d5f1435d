"""Many runs of the simulated cell in several processes, added up; every run is named by its seed, which also chooses its profile."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context

from faults.world.kinds import CLOCK, KINDS
from faults.world.world import Outcome, Profile, World

CYCLES = 500
"""Of one run: short enough that a failure's log can be read."""
PROFILES: tuple[Profile, ...] = ("handshake", "push", "handshake-parts", "handshake-degraded", "handshake-parts", "handshake")
PROFILES += ("handshake-challenge", "parts-challenge")
_SPREAD = 1_000_003
_RUNS_PER_TASK = 10
_KEPT = 5
"""Violations reported in full."""


def profile_of(seed: int) -> Profile:
    """The link profile of the run with this seed."""
    return PROFILES[seed % len(PROFILES)]


def run_seed(seed: int, *, muted: frozenset[str] = frozenset(), log: Callable[[str], None] | None = None) -> Outcome:
    """One run; equal seeds give equal runs, whatever process and machine. `muted` kinds of faults are drawn but do not happen."""
    return World(seed, profile_of(seed), muted=muted, log=log).run(CYCLES)


@dataclass(kw_only=True)
class Sum:
    """What many runs came to."""

    runs: int = 0
    cycles: int = 0
    accepted: int = 0
    bad_shown: int = 0
    rejects_died_with_gate: int = 0
    virtual_s: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*KINDS, CLOCK), 0))
    events: dict[str, int] = field(default_factory=dict)
    false_accepts: int = 0
    lost_records: int = 0
    broken_rules: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """One run more."""
        self.runs += 1
        self.cycles += outcome.cycles
        self.accepted += outcome.accepted
        self.bad_shown += outcome.bad_shown
        self.rejects_died_with_gate += outcome.rejects_died_with_gate
        self.virtual_s += outcome.virtual_ns / 1e9
        _add_up(self.counts, outcome.counts)
        _add_up(self.events, outcome.events)
        if outcome.violation is not None:
            self.false_accepts += outcome.violation.kind == "false accept"
            self.lost_records += outcome.violation.kind == "lost record"
            self.broken_rules += outcome.violation.kind == "broken rule"
            if len(self.failures) < _KEPT:
                where = f"{outcome.seed}:{outcome.cycles}"
                self.failures.append(f"{outcome.violation} (profile {outcome.profile}; cordon faults --replay {where})")

    def join(self, other: Sum) -> None:
        """Other runs more."""
        for name in ("runs", "cycles", "accepted", "bad_shown", "rejects_died_with_gate", "virtual_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("false_accepts", "lost_records", "broken_rules"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        _add_up(self.counts, other.counts)
        _add_up(self.events, other.events)
        self.failures = [*self.failures, *other.failures][:_KEPT]


def _add_up(to: dict[str, int], counts: dict[str, int]) -> None:
    for name, count in counts.items():
        to[name] = to.get(name, 0) + count


def seeds_of(seed: int, runs: int) -> range:
    """The seeds of a batch: far from those of the neighbouring batch."""
    return range(seed * _SPREAD, seed * _SPREAD + runs)


def run_seeds(seeds: Iterable[int]) -> Sum:
    """Several runs in this process."""
    found = Sum()
    for seed in seeds:
        found.add(run_seed(seed))
    return found


def run_batch(seed: int, runs: int, jobs: int, progress: Callable[[Sum, float], None] = lambda _sum, _seconds: None) -> Sum:
    """`runs` runs in `jobs` processes; `progress` is called with what is done and the seconds it took."""
    found, begin_s = Sum(), time.monotonic()
    for part in _parts(_tasks(seeds_of(seed, runs)), jobs):
        found.join(part)
        progress(found, time.monotonic() - begin_s)
    return found


def _tasks(seeds: range) -> list[range]:
    return [seeds[start : start + _RUNS_PER_TASK] for start in range(0, len(seeds), _RUNS_PER_TASK)]


def _parts(tasks: Sequence[range], jobs: int) -> Iterator[Sum]:
    if jobs < 2:
        yield from map(run_seeds, tasks)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_leave_interrupts_alone)
    try:
        waiting: list[Future[Sum]] = [pool.submit(run_seeds, task) for task in tasks]
        for done in as_completed(waiting):
            yield done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_interrupts_alone() -> None:
    """Ctrl-C is for the process that waits for these."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
