"""A whole cell whose gate has a bad disk: no ACCEPT while its records cannot be written, all rows there when they can again."""

from __future__ import annotations

import errno
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from faults.cell.campaign import Share, counted, everything, side_by_side
from faults.cell.cell import Cell
from faults.recorder.preload import CHANGING, FOREVER, Action, Call, Control, environment, library
from faults.registry import Effort, Result, Skipped, injects

TEST = "tests/faults/test_recorder_gate_disk.py"
_WRITES = CHANGING & ~Call.SYNC
_KINDS = (
    ("D01", "no space", _WRITES & ~Call.UNLINK, errno.ENOSPC),
    ("D02", "read-only", _WRITES, errno.EROFS),
    ("D03", "sync fails", Call.SYNC, errno.EIO),
    ("D03", "write fails", Call.WRITE | Call.TRUNCATE, errno.EIO),
)
_PATIENCE_S = 15.0
_CYCLES = 4
"""While the disk is bad."""


class Watched(NamedTuple):
    """A cell that serves, and the control block of its gate's library."""

    cell: Cell
    control: Control


@contextmanager
def watched(folder: Path, **storage: float) -> Iterator[Watched]:
    """A cell with its records in a folder of their own, on which calls can be struck."""
    folder.mkdir(parents=True, exist_ok=True)
    records = folder / "r" / "records.db"
    records.parent.mkdir(exist_ok=True)
    control = Control(folder / "control", records.parent)
    variables = environment(control, library(folder))
    chosen = {"LD_PRELOAD": variables["LD_PRELOAD"], "FAULT_CONTROL": variables["FAULT_CONTROL"]}
    settings = {"reserve_mb": 1, "alarm_mb": 1, **storage}
    cell = Cell(folder, {"records": records, **{f"storage.{key}": value for key, value in settings.items()}}, variables=chosen)
    cell.records = records
    with cell:
        yield Watched(cell, control)
    control.close()


@injects("D01", "D02", "D03", test=TEST)
def disk_fails_under_the_gate(effort: Effort) -> Result:
    """The disk refuses from some call inside a cycle on, the cell goes on, the disk is mended: REJECT in time until it is."""
    library(effort.folder)
    return side_by_side(effort, 40, _disk_fails)


def _disk_fails(share: Share) -> Result:
    dice, failures, worst, rows = share.random(), [], 0.0, dict.fromkeys(("D01", "D02", "D03"), 0)
    with watched(share.folder) as (cell, control):
        for number in range(share.times):
            cell.make_ready()
            row, name, calls, error = _KINDS[(number + share.seed) % len(_KINDS)]
            control.arm(Action.FAIL, calls, first=dice.randint(1, 6), times=FOREVER, error=error)
            for _ in range(_CYCLES):
                bad, before = dice.random() < 0.5, control.struck
                result = cell.cycle(bad=bad)
                if result is not None and result.accepted and before:
                    failures.append(f"{name}: {result.part} {result.weld} was accepted while nothing could be written")
                if result is not None and result.latency_ms is not None and control.struck:
                    worst = max(worst, result.latency_ms)
            rows[row] += control.struck > 0
            control.clear()
            cell.make_ready()
            if not _accepts(cell):
                failures.append(f"{name}: no ACCEPT after the disk was mended")
        found = cell.finish()
    counter = counted(everything(found), "verdict RECORD_FAULT", "event 'records RECORD_FAULT'")
    found.false_accepts += [text for text in failures if "accepted while" in text]
    found.failures += [text for text in failures if "accepted while" not in text]
    return found.result(sum(rows.values()), injections_by_row=rows, worst_ms=worst, counter=counter)


def _accepts(cell: Cell) -> bool:
    """Whether good welds pass again; the recorder tries once a second, and the state the robot knows may be a heartbeat old."""
    until_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until_s:
        result = cell.cycle(bad=False)
        if result is not None and result.accepted:
            return True
        cell.robot.pump_for(0.1)
    return False


@injects("D06", test=TEST)
def slow_sync(effort: Effort) -> Result:
    """Every sync takes 1 ms to 2 s: an ACCEPT never comes before its sync is over, a REJECT does not wait for one."""
    library(effort.folder)
    return side_by_side(effort, 60, _slow_sync)


def _slow_sync(share: Share) -> Result:
    dice, early, worst, unanswered = share.random(), [], 0.0, 0
    with watched(share.folder) as (cell, control):
        for _ in range(share.times):
            cell.make_ready()
            delay_s = dice.choice((0.001, 0.01, 0.03, 0.1, 0.15, 0.4, 2.0))
            control.arm(Action.DELAY, Call.SYNC, delay_s=delay_s)
            good = cell.cycle(bad=False)
            if good is not None and good.accepted and good.latency_ms is not None and good.latency_ms < delay_s * 1e3:
                early.append(f"ACCEPT after {good.latency_ms:.1f} ms although a sync takes {delay_s * 1e3:.0f} ms")
            bad = cell.cycle(bad=True)
            unanswered += bad is None or bad.latency_ms is None
            worst = max(worst, bad.latency_ms or 0.0) if bad is not None else worst
            control.clear()
            cell.robot.pump_for(delay_s)
        found = cell.finish()
    found.false_accepts += early
    note = f"bad welds without an answer in time: {unanswered}"
    return found.result(2 * share.times, worst_ms=worst, note=note, counter=counted(everything(found), "event 'records RECORD_LATE'"))


@injects("D01", test=TEST)
def small_disk(effort: Effort) -> Result:
    """A file system of some megabytes is really full: no ACCEPT without a record, and all rows when there is room again."""
    library(effort.folder)
    return side_by_side(effort, 10, _small_disk, jobs=1)


def _small_disk(share: Share) -> Result:
    failures, filled = [], 0
    with _mounted(share.folder / "r", megabytes=12), watched(share.folder) as (cell, _):
        for _ in range(share.times):
            cell.make_ready()
            ballast = share.folder / "r" / "ballast"
            _fill(ballast)
            refused = False
            for _ in range(400):
                result = cell.cycle(bad=False)
                refused = result is None or result.reason in ("RECORD_FAULT", "LATCHED", "RECORD_LATE")
                if refused:
                    break
            filled += refused
            failures += [] if refused else ["400 records found room on a full disk"]
            ballast.unlink()
            cell.make_ready()
            failures += [] if _accepts(cell) else ["no ACCEPT although there is room again"]
        found = cell.finish()
    found.failures += failures
    return found.result(filled, counter=counted(everything(found), "verdict RECORD_FAULT", "event 'records RECORD_FAULT'"))


def _fill(ballast: Path) -> None:
    """Until nothing fits any more."""
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 4096, 512):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError as exc:
                if exc.errno != errno.ENOSPC:
                    raise


@contextmanager
def _mounted(folder: Path, *, megabytes: int) -> Iterator[None]:
    """A file system of this size in memory. Raises Skipped where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise Skipped(f"a small file system cannot be mounted: run as root ({found.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
