"""A gate that runs short of something while it serves: a stuck loop, memory, files, processor time, resident pages (E03 to E07)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from faults.cell.campaign import Share, counted, everything, require, side_by_side
from faults.cell.cell import QUICK_TIMES, Cell
from faults.cell.launch import limit, open_files, status_kb, threads
from faults.cell.reaction import NEVER_MS, NOTICE_MS, Times
from faults.registry import Effort, Result, Skipped, injects

TEST = "tests/faults/test_cell_resources.py"
SMALL_KB = 96 * 1024
"""The gate's resident memory stays below this."""
KNOCKS = 2_000
"""Events for one shortage of files at most: its inspector knocks every 2 ms; a gate that never pauses counts far more."""
STUCK_S = 0.8
MADV_PAGEOUT = 21
_PROCESS_MADVISE = 440
"""Number of the system call, the same on x86-64 and aarch64."""


@injects("E03", test=TEST)
def stuck_loop(effort: Effort) -> Result:
    """The thread that gives verdicts stands still inside a system call while the recorder's and the log's threads live."""
    if shutil.which("strace") is None:
        raise Skipped("strace holds one thread still: install the package strace")
    return side_by_side(effort, 24, _stuck_loop)


def _stuck_loop(share: Share) -> Result:
    dice, times, passed = share.random(), Times(), 0
    with Cell(share.folder) as cell:
        for number in range(share.times):
            cell.make_ready()
            with _held(cell.gate.pid) as tracer:
                _await_attached(cell, tracer)
                cell.make_ready()
                begun_s = time.monotonic()
                if number % 2:
                    cell.open(bad=dice.random() < 0.5)
                cell.robot.pump_until(lambda: cell.robot.rejecting, 3.0, idle_s=0.001)
                times.ms.append((time.monotonic() - begun_s) * 1e3)
                result = cell.robot.finish()
                passed += result is not None and result.accepted
                cell.robot.pump_for(STUCK_S)
        cell.make_ready()
        found = cell.finish()
    # The loop may go on for one more heartbeat before it comes to the call that holds it.
    bar_ms = NOTICE_MS + cell.number("heartbeat_ms")
    require(found, times.worst <= bar_ms or share.name == "quick", f"the robot knew after {times.worst:.0f} ms, bar {bar_ms:.0f} ms")
    return found.result(share.times, worst_ms=times.worst, counter=counted(everything(found), "disposition SESSION_LOST"))


@contextlib.contextmanager
def _held(pid: int) -> Iterator[subprocess.Popen[bytes]]:
    """Hold the main thread in its third wait for events; the others are not traced."""
    waits = "epoll_wait,epoll_pwait" if os.uname().machine == "x86_64" else "epoll_pwait"
    inject = f"inject={waits}:delay_enter={int(STUCK_S * 1e6)}:when=3"
    tracer = subprocess.Popen(
        ["strace", "-p", str(pid), "-e", f"trace={waits}", "-e", inject, "-o", "/dev/null"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield tracer
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=10)


def _await_attached(cell: Cell, tracer: subprocess.Popen[bytes]) -> None:
    assert tracer.stderr is not None
    os.set_blocking(tracer.stderr.fileno(), False)
    attached = cell.robot.pump_until(lambda: b"attached" in (tracer.stderr.read() or b""), 5.0)  # type: ignore[union-attr]
    if not attached and tracer.poll() is not None:
        raise Skipped("strace may not attach here: allow ptrace")


@injects("E04", test=TEST)
def memory_runs_out(effort: Effort) -> Result:
    """The running gate may not grow by more than 0 to 2 MB: it goes on, or ends by itself and the next one closes what was open."""
    return side_by_side(effort, 30, _memory_runs_out)


def _memory_runs_out(share: Share) -> Result:
    dice, ended, largest_kb = share.random(), 0, 0
    with Cell(share.folder, QUICK_TIMES) as cell:
        for _ in range(share.times):
            cell.make_ready()
            largest_kb = max(largest_kb, status_kb(cell.gate.pid, "VmRSS"))
            room_kb = dice.choice((0, 64, 256, 2_048))
            limit(cell.gate.pid, resource.RLIMIT_AS, (status_kb(cell.gate.pid, "VmSize") + room_kb) << 10)
            cell.note_kill()
            cell.wire.write(b"$" + b"A" * 60_000)
            for _ in range(12):
                if cell.gate.ended() is None and cell.robot.protocol.session is not None:
                    cell.cycle(bad=dice.random() < 0.5, how=dice.choice(("", "g2")))
            ended += cell.gate.ended() is not None
            cell.restart_gate()
        found = cell.finish(exceptions=True)
    require(found, largest_kb < SMALL_KB, f"the gate is {largest_kb // 1024} MB large")
    note = f"ended {ended} times; resident {largest_kb // 1024} MB"
    return found.result(share.times, note=note, counter=counted(everything(found), "verdict OK"))


@injects("E05", test=TEST)
def files_run_out(effort: Effort) -> Result:
    """The running gate may open no further file while inspectors come and go: verdicts leave in time, and it recovers."""
    return side_by_side(effort, 40, _files_run_out)


def _files_run_out(share: Share) -> Result:
    dice, times, spins = share.random(), Times(), 0.0
    with Cell(share.folder) as cell:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        for _ in range(share.times):
            cell.make_ready()
            limit(cell.gate.pid, resource.RLIMIT_NOFILE, open_files(cell.gate.pid) - dice.randrange(2))
            cell.replace_inspector()
            used_s = _processor_s(cell.gate.pid)
            for _ in range(5):
                cell.robot.pump_for(0.01)
                result = cell.cycle(bad=dice.random() < 0.5)
                times.ms.append(result.latency_ms if result is not None and result.latency_ms is not None else NEVER_MS)
            spins = max(spins, _processor_s(cell.gate.pid) - used_s)
            limit(cell.gate.pid, resource.RLIMIT_NOFILE, most)
        cell.make_ready()
        found = cell.finish()
    over = sum(ms > cell.number("budget_ms") for ms in times.ms)
    require(found, over == 0 or share.name == "quick", f"{over} verdicts outside the budget while no file could be opened")
    knocks = found.events["inspector"]
    require(found, knocks < KNOCKS * share.times, f"{knocks} events of connections that could not be taken: the gate polled without pause")
    note = f"at most {spins * 1e3:.0f} ms of processor time in 50 ms"
    return found.result(share.times, worst_ms=times.worst, note=note, counter=counted(everything(found), "verdict INSPECTOR_DOWN"))


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@injects("E06", test=TEST)
def no_processor_time(effort: Effort) -> Result:
    """The gate at the lowest priority on one core with four busy processes: what is late is REJECT, no ACCEPT leaves after its deadline."""
    return side_by_side(effort, 1_200, _no_processor_time, jobs=1)


def _no_processor_time(share: Share) -> Result:
    dice, late = share.random(), 0
    with Cell(share.folder, QUICK_TIMES) as cell, _busy(4):
        _make_last(cell.gate.pid)
        for _ in range(share.times):
            result = cell.cycle(bad=dice.random() < 0.5)
            late += result is None or result.latency_ms is None or result.latency_ms > cell.number("budget_ms")
        found = cell.finish()
    require(found, found.cycles > 0, "no trigger arrived")
    names = ("verdict OK", "verdict DEADLINE", "verdict NO_FRAME", "verdict INSPECTOR_DOWN", "event 'records RECORD_LATE'")
    return found.result(share.times, note=f"{late} answers late or missing at the robot", counter=counted(everything(found), *names))


@contextlib.contextmanager
def _busy(many: int) -> Iterator[None]:
    cores = sorted(os.sched_getaffinity(0))
    spinners = [subprocess.Popen([sys.executable, "-S", "-E", "-c", "while True: pass"]) for _ in range(many)]
    try:
        for spinner in spinners:
            os.sched_setaffinity(spinner.pid, cores[:1])
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def _make_last(pid: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    for thread in threads(pid):
        os.setpriority(os.PRIO_PROCESS, thread, 5)
        os.sched_setaffinity(thread, cores[:1])


@injects("E07", test=TEST)
def pages_thrown_out(effort: Effort) -> Result:
    """The gate's code and files are pushed out of memory again and again while it judges; nothing is collected in the verdict's path."""
    return side_by_side(effort, 1_600, _pages_thrown_out)


def _pages_thrown_out(share: Share) -> Result:
    dice, times, thrown = share.random(), Times(), 0
    with Cell(share.folder) as cell:
        for number in range(share.times):
            if number % 4 == 0:
                thrown += _page_out(cell.gate.pid, dice)
            result = cell.cycle(bad=dice.random() < 0.5)
            times.ms.append(result.latency_ms if result is not None and result.latency_ms is not None else NEVER_MS)
        found = cell.finish()
    require(found, times.worst <= cell.number("budget_ms") or share.name == "quick", f"a verdict took {times.worst:.0f} ms")
    note = f"{thrown} ranges thrown out; verdicts p50 {times.at(0.5):.1f}, p99 {times.at(0.99):.1f} ms"
    return found.result(share.times, worst_ms=times.worst, note=note, counter=counted(everything(found), "verdict OK", "verdict DEFECT"))


class _Range(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _page_out(pid: int, dice: random.Random) -> int:
    """Ask the kernel to throw out a random half of a process's mapped files; returns how many ranges."""
    maps = re.findall(
        r"^([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ [1-9]\d* +/", Path(f"/proc/{pid}/maps").read_text(encoding="ascii"), re.MULTILINE
    )
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.pidfd_open(pid)
    done = 0
    try:
        for low, high in maps:
            if dice.random() < 0.5:
                piece = _Range(int(low, 16), int(high, 16) - int(low, 16))
                call = (ctypes.c_long(_PROCESS_MADVISE), descriptor, ctypes.byref(piece), ctypes.c_size_t(1), MADV_PAGEOUT, 0)
                done += libc.syscall(*call) > 0
    finally:
        os.close(descriptor)
    if not done:
        raise Skipped("the kernel does not throw out another process's pages: Linux 5.10 and root are needed")
    return done
