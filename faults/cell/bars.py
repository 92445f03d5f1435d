"""`python -m faults.cell.bars`: the timing bars of link and processes, as a table and as one line of JSON; run it on a quiet machine."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from faults.cell.books import Findings
from faults.cell.cell import Cell
from faults.cell.process_faults import inspector_kills
from faults.cell.reaction import FAULTS, NEVER_MS, NOTICE_MS, SERVING_MS, Times, notice, serving_again

CYCLES_PER_S = 150.0
"""Bar: fault-free cycles of one cell."""
Figures = dict[str, float | int | bool]
Measure = Callable[[Path, float, random.Random], Figures]


def _settled(found: Findings, figures: Figures, met: bool) -> Figures:
    """The figures with their bar; a cell whose books do not balance has missed it whatever the clock said."""
    wrong = len(found.false_accepts) + len(found.lost) + len(found.failures)
    return {**figures, "false_accepts": len(found.false_accepts), "lost_records": len(found.lost), "met": met and not wrong}


def speed(folder: Path, scale: float, dice: random.Random) -> Figures:
    """Cycles per second without a fault, and what the robot waits."""
    taken = Times()
    with Cell(folder) as cell:
        begun_s = time.monotonic()
        for _ in range(max(20, int(3_000 * scale))):
            result = cell.cycle(bad=dice.random() < 0.5)
            taken.ms.append(result.latency_ms if result is not None and result.latency_ms is not None else NEVER_MS)
        rate = len(taken.ms) / (time.monotonic() - begun_s)
        found = cell.finish()
    figures = {"cycles": len(taken.ms), "cycles_per_s": rate, "p50_ms": taken.at(0.5), "p99_ms": taken.at(0.99), "max_ms": taken.worst}
    return _settled(found, figures, rate >= CYCLES_PER_S)


def inspector_kill(folder: Path, scale: float, dice: random.Random) -> Figures:
    """Verdicts inside the budget while the inspector is killed under each of them."""
    wanted = max(20, int(10_000 * scale))
    with Cell(folder) as cell:
        taken = inspector_kills(cell, wanted, dice)
        found = cell.finish()
    budget_ms = cell.number("budget_ms")
    inside = sum(ms <= budget_ms for ms in taken.ms)
    figures = {"kills": len(taken.ms), "inside": inside, "budget_ms": budget_ms, "p99_ms": taken.at(0.99), "max_ms": taken.worst}
    return _settled(found, figures, inside == len(taken.ms) == wanted)


def gate_kill(folder: Path, scale: float, dice: random.Random) -> Figures:
    """From SIGKILL of the gate, started again at once, to the next session."""
    with Cell(folder) as cell:
        taken = Times([serving_again(cell, dice) for _ in range(max(5, int(200 * scale)))])
        found = cell.finish()
    figures = {"kills": len(taken.ms), "p50_ms": taken.at(0.5), "p99_ms": taken.at(0.99), "max_ms": taken.worst, "bar_ms": SERVING_MS}
    return _settled(found, figures, taken.at(0.99) <= SERVING_MS)


def noticing(kind: str) -> Measure:
    """From one kind of fault to a robot that rejects."""

    def measure(folder: Path, scale: float, dice: random.Random) -> Figures:
        with Cell(folder) as cell:
            taken = Times([notice(cell, kind, dice) for _ in range(max(3, int(100 * scale)))])
            found = cell.finish()
        figures = {"faults": len(taken.ms), "p50_ms": taken.at(0.5), "max_ms": taken.worst, "bar_ms": NOTICE_MS}
        return _settled(found, figures, taken.worst <= NOTICE_MS)

    return measure


MEASURES: dict[str, Measure] = {
    "fault-free cycles": speed,
    "inspector killed: verdict inside the budget": inspector_kill,
    "gate killed: serving again": gate_kill,
    **{f"{kind}: the robot rejects": noticing(kind) for kind in FAULTS},
}


def measure(folder: Path, *, scale: float, seed: int, only: str = "") -> dict[str, Figures]:
    """Every bar's figures by its name; `scale` 1 is the full number of faults."""
    found = {}
    for number, (name, work) in enumerate(MEASURES.items()):
        if only in name:
            found[name] = work(folder / str(number), scale, random.Random(seed + number))  # noqa: S311 - reproducible faults
            shown = ", ".join(f"{key} {value:.1f}" if isinstance(value, float) else f"{key} {value}" for key, value in found[name].items())
            print(f"{name:<46} {shown}", flush=True)
    return found


def main(argv: Sequence[str]) -> int:
    """Print table and JSON; exit status 1 when a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m faults.cell.bars", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full number of faults (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="measure the bars whose name has this in it")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bars") as folder:
        found = measure(Path(folder), scale=arguments.scale, seed=arguments.seed, only=arguments.only)
    print(json.dumps(found))
    return 0 if found and all(figures["met"] for figures in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
