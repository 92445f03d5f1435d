"""The virtual clock of a simulated cell: one queue of events, one source of chance, one log, counts of what was injected."""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

US, MS = 1_000, 1_000_000
START_NS = 1_000 * MS
FAR_NS = 1 << 62
Event = tuple[int, int, Callable[[Any], None], Any]


class Violation(Exception):  # noqa: N818 - a finding, not an error of the program
    """A rule of the design was broken; `kind` is "false accept", "lost record" or "broken rule"."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Core:
    """Time in ns, events in order of time (equal times: in the order they were asked for), chance from one seed."""

    def __init__(self, seed: int, *, muted: frozenset[str] = frozenset(), log: Callable[[str], None] | None = None) -> None:
        self.now = START_NS
        self.rng = random.Random(seed)  # noqa: S311 - must be repeatable
        self.chance = self.rng.random
        self.cycle = 0
        self.counts: dict[str, int] = {}
        self.muted = muted
        self.log = log
        self._heap: list[Event] = []
        self._order = 0

    def at(self, when_ns: int, call: Callable[[Any], None], argument: Any = None) -> None:
        """Call later, never in the past."""
        self._order += 1
        heappush(self._heap, (max(self.now, when_ns), self._order, call, argument))

    def next_ns(self) -> int:
        """When the next event is due."""
        return self._heap[0][0] if self._heap else FAR_NS

    def run_next(self) -> None:
        """Advance to the next event and do it."""
        self.now, _, call, argument = heappop(self._heap)
        call(argument)

    def between(self, low: int, high: int) -> int:
        """A whole number, `low` included and `high` not."""
        return low + int(self.chance() * (high - low))

    def pick(self, choices: tuple[Any, ...]) -> Any:
        """One of them."""
        return choices[int(self.chance() * len(choices))]

    def injected(self, kind: str, detail: object = "") -> None:
        """A fault happened now."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.log is not None:
            self.say("FAULT", f"{kind} {detail}")

    def say(self, who: str, text: str) -> None:
        """One line of the log: time in ms, cycle, who, what. Call only when there is a log."""
        if self.log is not None:
            self.log(f"{(self.now - START_NS) / MS:12.3f} ms  {self.cycle:5}  {who:9} {text}")
