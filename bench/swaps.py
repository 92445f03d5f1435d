"""`cordon bench swaps`: bundles take turns while the robot triggers at full rate; no trigger may be lost and no two bundles mixed.

Gate, inspector, their sockets, the pseudo-terminal and the records are real processes and files, robot and camera simulated. The person who
activates is a process of its own. Each activation goes through the store; the golden inputs are run in a process of their own once per
bundle, before the line starts, and by the inspector itself at every swap.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench.driver import Driver
from bench.swaps_operator import first_activation
from bench.swaps_pair import TYPOLOGY, Pair, resnet_pair, small_pair
from bench.swaps_records import Audit, Key, audit
from bench.timing import HEADER, Timing, summary
from edge.contract import Outcome
from edge.errors import SimulationError
from sim.line import Line, LineSpec

EXPOSURE_S = 0.008
HEARTBEAT_MS = 200
"""Robot and camera share a process here; where a busy machine stops it for 240 ms, the robot would count as gone."""
LAST_SEQUENCE = 60_000
"""Then the robot begins another session: 65,535 is the highest number there is."""
WARM, ALONE = 50, 500
"""Welds before anything is measured, and then without swaps."""
SETTLED = 20
"""Swaps after which memory is compared."""


class StoreSpec(LineSpec):
    """A line whose bundle is the store's active one."""

    def write_config(self) -> Path:
        """Write the configuration file and return its path."""
        path = super().write_config()
        text = path.read_text().replace(f'bundle = "{self.bundle}"\n', "")
        path.write_text(f'{text}\n[inspector.bundles]\nfolder = "{self.folder}/bundles"\n')
        return path


class Swapped(msgspec.Struct, frozen=True):
    """One swap as the operator saw it."""

    swap: int
    took_ms: float
    """From SIGHUP to the first verdict by the new bundle."""
    rss_mb: float
    """Of the inspector, after it."""


@dataclass
class Run:
    """Everything one run measured."""

    alone_ms: list[float] = field(default_factory=list)
    swapping_ms: list[float] = field(default_factory=list)
    swaps: list[Swapped] = field(default_factory=list)
    told: dict[Key, Outcome | None] = field(default_factory=dict)
    before: frozenset[Key] = frozenset()
    """Triggers before the first swap."""
    found: Audit = field(default_factory=Audit)
    seconds: float = 0.0

    @property
    def timings(self) -> tuple[Timing, Timing]:
        """Without and with swaps."""
        return summary("frame -> verdict, no swaps", self.alone_ms), summary("frame -> verdict, swaps", self.swapping_ms)


def swap_under_load(
    pair: Pair,
    *,
    swaps: int,
    every_ms: float,
    budget_ms: float,
    threads: int,
    warm: int = WARM,
    alone: int = ALONE,
    proved: bool = True,
    folder: Path | None = None,
) -> Run:
    """Run the line, in `folder` if given, and swap; not `proved`: only the inspector runs the golden inputs, activating does not.

    Raises SimulationError where a swap does not come about.
    """
    with tempfile.TemporaryDirectory(prefix="cordon-") as name:
        spec = StoreSpec(
            folder=folder or Path(name),
            bundle=pair.paths[0],
            key=pair.key,
            budget_ms=budget_ms,
            gate=f"heartbeat_ms = {HEARTBEAT_MS}",
            inspector=f"threads = {threads}",
        )
        with Line(spec) as line:
            first_activation(spec.config, pair.paths, proved=proved)
            run = _run(line, pair, swaps=swaps, every_ms=every_ms, warm=warm, alone=alone)
        run.found = audit(spec.folder / "records.db", pair, run.told)
    return run


def _run(line: Line, pair: Pair, *, swaps: int, every_ms: float, warm: int, alone: int) -> Run:
    run, spec = Run(), line.spec
    driver = Driver(spec.port, spec.camera, TYPOLOGY, distinct=False)
    try:
        line.start_daemons()
        driver.wait_ready(60)
        weld = _welder(driver, pair, run.told, every_ms)
        for _ in range(warm):
            weld()
        run.alone_ms = [weld() for _ in range(alone)]
        run.before = frozenset(run.told)
        began_s = time.monotonic()
        with (spec.folder / "operator.log").open("w+b") as log, _operator(line, pair, swaps, log.fileno()) as operator:
            while operator.poll() is None:
                run.swapping_ms.append(weld())
            run.seconds = time.monotonic() - began_s
            log.seek(0)
            text = log.read().decode()
        if operator.returncode:
            logs = (f"log of the {name}:\n{line.children[name].tail()}" for name in ("gate", "inspector"))
            seen = "\n".join([text[-600:], *logs])
            raise SimulationError("the operator gave up", seen=seen, remedy="See above")
        run.swaps = [msgspec.json.decode(said, type=Swapped) for said in text.splitlines()]
        driver.idle(0.3)
    finally:
        driver.close()
        line.stop()
    return run


def _operator(line: Line, pair: Pair, swaps: int, log: int) -> subprocess.Popen[bytes]:
    inspector = line.children["inspector"].process.pid
    words = [sys.executable, "-m", "bench.swaps_operator", str(line.spec.config), str(inspector), *pair.hashes, "--swaps", str(swaps)]
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def _welder(driver: Driver, pair: Pair, told: dict[Key, Outcome | None], every_ms: float) -> Callable[[], float]:
    """One weld of the schedule; returns its latency in ms, or infinity where no verdict came."""
    due_s, count = time.monotonic(), 0

    def weld() -> float:
        nonlocal due_s, count
        if driver.sequence >= LAST_SEQUENCE:
            driver.renew(10)
        due_s = max(due_s + every_ms / 1e3, time.monotonic())
        driver.idle(due_s - time.monotonic())
        cycle = driver.inspect(pair.images[count % len(pair.images)], exposure_s=EXPOSURE_S)
        count += 1
        told[driver.session, driver.sequence] = None if cycle.verdict is None else cycle.verdict.outcome
        if cycle.verdict is None:
            driver.renew(10)
            return float("inf")
        return cycle.latency_ms

    return weld


def main(argv: Sequence[str]) -> int:
    """Swap under load and check every record; exit status 1 when a trigger was lost or bundles were mixed. The last line is JSON.

    Where triggers are lost before the first swap (`lost_before`), the machine is too busy or too slow to say anything of swaps.
    """
    parser = argparse.ArgumentParser(prog="cordon bench swaps", description=main.__doc__)
    parser.add_argument("--swaps", type=int, default=1_000, help="(default %(default)s)")
    parser.add_argument("--network", choices=("small", "resnet18"), default="resnet18", help="(default %(default)s)")
    parser.add_argument("--every-ms", type=float, default=20.0, help="one weld per (default %(default)s)")
    parser.add_argument("--budget-ms", type=float, default=200.0, help="the gate's (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="of one engine call (default %(default)s)")
    arguments = parser.parse_args(argv)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="cordon-pair-") as folder:
        make = small_pair if arguments.network == "small" else resnet_pair
        pair = make(Path(folder), threads=arguments.threads)
        limits = {"every_ms": arguments.every_ms, "budget_ms": arguments.budget_ms}
        run = swap_under_load(pair, swaps=arguments.swaps, threads=arguments.threads, **limits)
    for line in (*run.found.lost.values(), *run.found.mixed, *run.found.odd)[:20]:
        print(line)
    print("\n".join([HEADER, *(timing.row(run.timings[0]) for timing in run.timings)]))
    print(json.dumps(_numbers(run)))
    done = len(run.swaps) == run.found.changes == arguments.swaps
    return 0 if run.found.clean and done and run.found.slowest_ms <= arguments.budget_ms else 1


def _numbers(run: Run) -> dict[str, object]:
    alone, swapping = run.timings
    took, memory, found = sorted(swap.took_ms for swap in run.swaps), [swap.rss_mb for swap in run.swaps], run.found
    settled = memory[min(SETTLED, len(memory) - 1)]
    return {
        "swaps": len(run.swaps), "changes_in_records": found.changes, "seconds": round(run.seconds, 1), "triggers": found.triggers,
        "lost": len(found.lost.keys() - run.before), "lost_before": len(found.lost.keys() & run.before),
        "mixed": len(found.mixed), "odd": len(found.odd), "by_bundle": sorted(found.by_bundle.values()),
        "alone_p50_ms": round(alone.p50_ms, 2), "alone_p99_ms": round(alone.p99_ms, 2), "alone_max_ms": round(alone.max_ms, 2),
        "swaps_p50_ms": round(swapping.p50_ms, 2), "swaps_p99_ms": round(swapping.p99_ms, 2), "swaps_max_ms": round(swapping.max_ms, 2),
        "slowest_in_gate_ms": round(found.slowest_ms, 2),
        "swap_p50_ms": took[len(took) // 2], "swap_max_ms": took[-1],
        "rss_settled_mb": settled, "rss_last_mb": memory[-1], "rss_max_mb": max(memory),
    }  # fmt: skip
