"""`cordon faults`: injects every row of the fault catalogue and ends with one line of JSON and an exit status."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from faults.registry import Effort, load, select
from faults.report import line_of, table, write_report
from faults.runner import Ran, run_all, scratch, totals
from faults.world.replay import replay

PASSED, FAILED, INTERRUPTED = 0, 1, 130


def main(argv: Sequence[str]) -> int:
    """`cordon faults [--effort E] [--rows C03,D*] [--report FILE]` or `--replay SEED[:CYCLE]`; 0 only when everything passed."""
    arguments = _parser().parse_args(list(argv))
    if arguments.replay:
        return replay(arguments.replay, sys.stdout)
    injectors, rows = select(load(), arguments.rows)
    print(f"{len(injectors)} injectors for {len(rows)} rows, effort {arguments.effort}, seed {arguments.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="cf", dir=scratch(arguments.folder)) as folder:
        effort = Effort(name=arguments.effort, seed=arguments.seed, folder=Path(folder), jobs=arguments.jobs)
        ran, interrupted = run_all(injectors, effort, _show)
    return conclude(ran, rows, interrupted, effort, arguments.report)


def conclude(ran: list[Ran], rows: list[str], interrupted: bool, effort: Effort, report: Path | None) -> int:
    """Print table, failures and the line of JSON, write the report, and return the exit status."""
    print("\n".join(table(ran, rows)))
    failed = [each for each in ran if each.failed]
    for each in failed:
        assert each.result is not None
        print(f"FAILED {each.injector.name}: {'; '.join(each.result.why_not())}")
    if interrupted:
        print("interrupted: what stands above was done, the rest was not")
    if report is not None and not interrupted:
        write_report(report, ran, effort)
    print(json.dumps(asdict(totals(ran))), flush=True)
    return INTERRUPTED if interrupted else FAILED if failed or not ran else PASSED


def _show(ran: Ran) -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
    print(line_of(ran), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cordon faults", description=__doc__)
    parser.add_argument("--effort", choices=["quick", "ci", "long"], default="ci")
    parser.add_argument("--rows", default="*", help='ids and patterns, such as "C03,D*"')
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes an injector may use")
    parser.add_argument("--report", type=Path, help="write the report there, such as docs/faults.md")
    parser.add_argument("--folder", type=Path, help="where the scratch folder is made; its path must be short")
    parser.add_argument("--replay", default="", metavar="SEED[:CYCLE]", help="print the events of one simulated run, up to a cycle")
    return parser
