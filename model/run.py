"""`python -m model.run`: search the model for broken invariants, then seed every known mistake and require that it is found."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.scenarios import FULL, QUICK, SAMPLED, SHOWN_IN, Scenario

HERE = Path(__file__).parent
ENOUGH = 1_000_000
"""States the full search must visit."""
MEMORY_MB = 6_000
DEPTH, SEEDED_DEPTH = 100_000, 400
"""Longest run that is followed."""
MISSING = 3
"""Exit status when a tool is not installed."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """What one run of the checker says; `broken` names the invariant, empty when none is."""

    states: int
    transitions: int
    depth: int
    seconds: float
    complete: bool
    broken: str
    trace: tuple[str, ...]


def missing_tools() -> list[str]:
    """Programs this needs and does not find."""
    return [name for name in ("spin", "gcc") if shutil.which(name) is None]


def build(scenario: Scenario, folder: Path, *, seeded: bool = False, sampled: bool = False) -> Path:
    """The checker of one scenario; most seeded ones search breadth first, for the shortest trace."""
    folder.mkdir(parents=True, exist_ok=True)
    model = ["spin", "-a", *scenario.defines, *(["-DSEEDED"] if seeded else []), str(HERE / "cordon.pml")]
    subprocess.run(model, cwd=folder, check=True, capture_output=True)
    search = ["-O2"] if not seeded else ["-O1"] if scenario.deep else ["-O1", "-DBFS"]
    search.append("-DBITSTATE" if sampled else "-DCOLLAPSE")
    flags = ["-DSAFETY", "-DNOFAIR", "-DVECTORSZ=2048", f"-DMEMLIM={MEMORY_MB}"]
    subprocess.run(["gcc", *search, *flags, "-o", "pan", "pan.c"], cwd=folder, check=True, capture_output=True)
    return folder / "pan"


def search(checker: Path, bug: int = 0, *, options: Sequence[str] = ("-w23",)) -> Search:
    """Run it to the end, or to the first broken invariant; no run is deeper than the limit, or it does not count as complete."""
    trail = checker.parent / "cordon.pml.trail"
    trail.unlink(missing_ok=True)
    started_s = time.monotonic()
    run = _run([str(checker), f"-m{DEPTH if bug == 0 else SEEDED_DEPTH}", *options], checker.parent, bug)
    seconds = time.monotonic() - started_s
    trace = _run([str(checker), "-r", trail.name], checker.parent, bug) if trail.exists() else ""
    found = re.search(r"pan:1: (?:assertion violated )?(.+?) \(at depth", run)
    return Search(
        states=_number(r"([\d.e+]+) states, stored", run),
        transitions=_number(r"([\d.e+]+) transitions", run),
        depth=_number(r"depth reached (\d+)", run),
        seconds=seconds,
        complete="Search not completed" not in run and "errors: 0" in run and "max search depth too small" not in run,
        broken=found.group(1) if found else "",
        trace=tuple(line[2:].strip() for line in trace.splitlines() if line.startswith("@")),
    )


def bugs() -> dict[str, int]:
    """Seeded bugs by name, with the number that seeds each."""
    lines = (HERE / "bugs.pml").read_text().splitlines()
    return {found.group(1): int(found.group(2)) for line in lines if (found := re.match(r"#define (\w+)\s+(\d+)", line))}


def verify(scenarios: Sequence[Scenario], folder: Path) -> list[Search]:
    """Search every scenario to the end and print a line for each."""
    _head("searched to the end")
    found = []
    for number, scenario in enumerate(scenarios):
        found.append(search(build(scenario, folder / f"v{number}")))
        _line(scenario, found[-1], "0" if found[-1].complete else "NOT COMPLETED")
    return found


def sample(scenarios: Sequence[Scenario], folder: Path) -> list[Search]:
    """Search a minute of each scenario that is too large to finish; these states count for nothing but violations."""
    _head("searched for a minute")
    found = []
    for number, scenario in enumerate(scenarios):
        found.append(search(build(scenario, folder / f"s{number}", sampled=True), options=("-w31", "-Q1")))
        _line(scenario, found[-1], "0")
    return found


def hunt(folder: Path) -> dict[str, Search]:
    """Seed every bug where it does harm and print what it broke."""
    print(f"\n{'seeded bug':<27}{'broken invariant':<34}{'steps':>6}{'states':>11}{'seconds':>9}", flush=True)
    checkers: dict[str, Path] = {}
    found = {}
    for name, number in bugs().items():
        scenario = SHOWN_IN[name]
        if scenario.name not in checkers:
            checkers[scenario.name] = build(scenario, folder / f"b{len(checkers)}", seeded=True)
        result = search(checkers[scenario.name], number)
        found[name] = result
        broken = result.broken or "NOT FOUND"
        print(f"{name:<27}{broken:<34}{len(result.trace):>6}{result.states:>11,}{result.seconds:>9.1f}", flush=True)
    return found


def main(argv: Sequence[str]) -> int:
    """Exit status 0: no invariant broken, enough states, every bug found; 1: not so; 3: spin or gcc is missing."""
    parser = argparse.ArgumentParser(prog="python -m model.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small bounds; all seeded bugs")
    parser.add_argument("--trace", metavar="BUG", help="print the shortest run in which this seeded bug does harm, and end")
    arguments = parser.parse_args(argv)
    missing = missing_tools()
    if missing:
        print(f"not installed: {', '.join(missing)}. On Debian and Ubuntu: apt-get install spin gcc", file=sys.stderr)
        return MISSING
    with tempfile.TemporaryDirectory(prefix="cordon-model-") as name:
        if arguments.trace:
            result = search(build(SHOWN_IN[arguments.trace], Path(name), seeded=True), bugs()[arguments.trace])
            print("\n".join((*result.trace, f"-> {result.broken}")))
            return 0
        return _judge(Path(name), quick=arguments.quick)


def _judge(folder: Path, *, quick: bool) -> int:
    started_s = time.monotonic()
    searched = verify(QUICK if quick else FULL, folder)
    hunted = hunt(folder)
    states = sum(result.states for result in searched)
    sampled = [] if quick else sample(SAMPLED, folder)
    violations = sum(bool(result.broken) for result in (*searched, *sampled))
    found = sum(result.broken.startswith("I") for result in hunted.values())
    whole = all(result.complete for result in searched)
    seconds = round(time.monotonic() - started_s, 1)
    summary = {"states": states, "violations": violations, "bugs_seeded": len(hunted), "bugs_found": found, "seconds": seconds}
    print(json.dumps(summary))
    return 0 if whole and violations == 0 and found == len(hunted) and (quick or states >= ENOUGH) else 1


def _run(command: list[str], folder: Path, bug: int) -> str:
    environment = {**os.environ, "CORDON_BUG": str(bug)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False).stdout


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    return int(float(found.group(1))) if found else 0


def _head(title: str) -> None:
    print(f"\n{title:<34}{'states':>12}{'transitions':>14}{'depth':>7}{'seconds':>9}  errors", flush=True)


def _line(scenario: Scenario, found: Search, word: str) -> None:
    numbers = f"{found.states:>12,}{found.transitions:>14,}{found.depth:>7}{found.seconds:>9.1f}"
    print(f"{scenario.name:<34}{numbers}  {found.broken or word}", flush=True)
    for number, line in enumerate(found.trace if found.broken else (), start=1):
        print(f"    {number:>3} {line}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
