"""One run of the simulation again, with every event in words: `cordon faults --replay SEED[:CYCLE]`."""

from __future__ import annotations

import re
from typing import TextIO

from edge.errors import ConfigError
from faults.world.batch import profile_of, run_seed
from faults.world.core import Violation
from faults.world.kinds import CLOCK, KINDS


def replay(what: str, out: TextIO) -> int:
    """Print the log of the run with this seed (up to the cycle, if one is named); 1 when it breaks a rule. Raises ConfigError."""
    matched = re.fullmatch(r"(\d+)(?::(\d+))?", what)
    if matched is None:
        raise ConfigError("--replay names no run", seen=what, remedy="Give SEED or SEED:CYCLE as the failure printed it")
    seed, cycle = int(matched[1]), int(matched[2]) if matched[2] else None

    def write(line: str) -> None:
        if cycle is None or int(line[15:22]) <= cycle:
            out.write(line + "\n")

    out.write(f"run {seed}, profile {profile_of(seed)}: time, cycle, who, what\n")
    outcome = run_seed(seed, log=write)
    if outcome.violation is None:
        out.write(f"no rule broken in {outcome.cycles} cycles\n")
        return 0
    out.write(f"{outcome.violation}\n")
    out.write(f"the same rule breaks with these faults alone: {', '.join(needed(seed, outcome.violation)) or 'none'}\n")
    return 1


def needed(seed: int, violation: Violation) -> tuple[str, ...]:
    """Kinds of faults without which the run breaks no rule of that kind, found by leaving out some, then one after the other."""
    happened = run_seed(seed).counts
    left = tuple(name for name in (*KINDS, CLOCK) if name in happened)
    for size in (16, 4, 1):
        for group in [left[start : start + size] for start in range(0, len(left), size)]:
            fewer = tuple(name for name in left if name not in group)
            again = run_seed(seed, muted=frozenset({*KINDS, CLOCK} - {*fewer})).violation
            if again is not None and again.kind == violation.kind:
                left = fewer
    return left
