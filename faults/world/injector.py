"""The simulation as an injector of the fault suite: its rows, its counts per kind of fault, its verdict on itself."""

from __future__ import annotations

from faults.registry import Effort, Result, injects
from faults.world.batch import CYCLES, Sum, run_batch
from faults.world.kinds import KINDS, ROWS

CI_CYCLES = 2_000_000
QUICK_CYCLES = 20_000


@injects(*ROWS, test="tests/faults/test_world_simulation.py")
def simulated_cell(effort: Effort) -> Result:
    """Cycles on a virtual clock with every kind of fault the simulated cell knows."""
    cycles = QUICK_CYCLES if effort.name == "quick" else effort.times(CI_CYCLES)

    def show(found: Sum, seconds: float) -> None:
        rate = found.cycles / max(seconds, 1e-9)
        effort.progress(f"{found.cycles:,} of {cycles:,} cycles, {rate:,.0f} a second, {found.false_accepts} false accepts")

    found = run_batch(effort.seed, -(-cycles // CYCLES), effort.jobs, show)
    print("\n".join(coverage(found)))
    return result_of(found)


def result_of(found: Sum) -> Result:
    """The batch as a result; a kind of fault that never happened is a failure of the simulation."""
    never = [name for name, count in found.counts.items() if not count]
    failures = [*found.failures, *(f"the fault {name} was never injected" for name in never)]
    return Result(
        injections=sum(found.counts.values()),
        cycles_simulated=found.cycles,
        false_accepts=found.false_accepts,
        lost_records=found.lost_records,
        failures=tuple(failures),
        counter="event rows: " + ", ".join(f"{kind} {count}" for kind, count in sorted(found.events.items())),
        note=(
            f"{found.runs} runs, {found.virtual_s / 3600:.1f} h of virtual time, {found.bad_shown} bad welds shown, "
            f"{found.accepted} good ones accepted, {found.rejects_died_with_gate} REJECTs died with a gate before their row"
        ),
        injections_by_row=by_row(found),
    )


def by_row(found: Sum) -> dict[str, int]:
    """Injections of each row of the catalogue."""
    return {row: sum(found.counts[kind.name] for kind in KINDS.values() if row in kind.rows) for row in ROWS}


def coverage(found: Sum) -> list[str]:
    """The table: how often each kind of fault happened."""
    lines = [f"  {found.counts[name]:9}  {name} ({', '.join(KINDS[name].rows) if name in KINDS else 'each run'})" for name in found.counts]
    return [f"  kinds of faults injected in {found.cycles} simulated cycles:", *lines]
