"""Clocks that lie: the wall clock jumps by years, the machine is suspended and its monotonic clock stands still (E08, E09)."""

from __future__ import annotations

import mmap
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

from faults.cell.campaign import Share, counted, everything, require, side_by_side
from faults.cell.cell import Cell
from faults.registry import Effort, Result, Skipped, injects

TEST = "tests/faults/test_cell_clocks.py"
YEAR_S = 31_556_952.0


class Clocks:
    """What gate and inspector of a cell see as time, through a preloaded library: offsets that may change at any moment."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            raise Skipped("clocks are changed by a preloaded library: install a C compiler")
        folder.mkdir(parents=True, exist_ok=True)
        library, offsets = folder / "clock.so", folder / "clock"
        source = Path(__file__).with_name("clock_shim.c")
        subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
        offsets.write_bytes(bytes(16))
        with offsets.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 16)
        self.variables = {"LD_PRELOAD": str(library), "CORDON_FAULT_CLOCK": str(offsets)}

    def set(self, *, wall_s: float = 0.0, monotonic_s: float = 0.0) -> None:
        """Seconds added to the wall clock and to CLOCK_MONOTONIC."""
        self._map[:] = struct.pack("qq", int(wall_s * 1e9), int(monotonic_s * 1e9))


@injects("E08", test=TEST)
def wall_clock_jumps(effort: Effort) -> Result:
    """The wall clock jumps by seconds to years, both ways, in the middle of cycles: nothing changes but the time in the records."""
    return side_by_side(effort, 400, _wall_clock_jumps)


def _wall_clock_jumps(share: Share) -> Result:
    dice, good = share.random(), 0
    clocks = Clocks(share.folder)
    with Cell(share.folder / "c", variables=clocks.variables) as cell:
        for _ in range(share.times):
            bad = dice.random() < 0.5
            cell.make_session()
            cell.open(bad=bad, how=f"s{dice.randrange(3)}")
            cell.robot.pump_for(dice.uniform(0.0, 0.002))
            clocks.set(wall_s=dice.choice((1.0, -1.0, 3_600.0, -86_400.0, 10 * YEAR_S, -10 * YEAR_S, dice.uniform(-1e6, 1e6))))
            cell.robot.finish()
            good += not bad
        found = cell.finish()
    require(found, found.accepted == good, f"{found.accepted} of {good} good welds accepted while the wall clock jumped")
    return found.result(share.times, counter=counted(everything(found), "verdict OK", "verdict DEFECT"))


@injects("E09", test=TEST)
def suspended(effort: Effort) -> Result:
    """Gate and inspector stand still for 0.05 to 2 s while their monotonic clock does not go on either, as after a suspend."""
    return side_by_side(effort, 40, _suspended)


def _suspended(share: Share) -> Result:
    dice, offset_s, kept = share.random(), 0.0, 0
    clocks = Clocks(share.folder)
    with Cell(share.folder / "c", variables=clocks.variables) as cell:
        silence_s = cell.number("heartbeat_ms") * cell.number("missed_heartbeats") / 1e3
        for number in range(share.times):
            cell.make_ready()
            old = cell.robot.protocol.session
            if number % 2:
                cell.open(bad=dice.random() < 0.5, how=f"s{dice.randrange(5)}")
                cell.robot.pump_for(dice.uniform(0.0, 0.004))
            asleep_s = dice.choice((0.05, 0.5, 1.0, 2.0))
            cell.inspectors.send(signal.SIGSTOP)
            cell.gate.send(signal.SIGSTOP)
            stopped_s = time.monotonic()
            cell.robot.pump_for(asleep_s)
            offset_s -= time.monotonic() - stopped_s
            clocks.set(monotonic_s=offset_s)
            cell.gate.send(signal.SIGCONT)
            cell.inspectors.send(signal.SIGCONT)
            cell.robot.finish()
            cell.make_ready()
            kept += asleep_s > 2 * silence_s and cell.robot.protocol.session == old
        found = cell.finish()
    require(found, kept == 0, f"{kept} sessions outlived a suspend longer than the silence limit")
    note = "the robot's own silence limit ends the session; the gate does not compare clocks"
    return found.result(share.times, note=note, counter=counted(everything(found), "event 'session SESSION_LOST'"))
