"""The same kills with strace, which counts every system call of every thread and knows nothing of the fault library."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from faults.recorder.books import Acknowledged
from faults.recorder.kill import aftermath, live_and_exit, read_pipe, spread, summary
from faults.recorder.worker import Place, Task, run_tasks
from faults.registry import Effort, Result, Skipped, injects

ATTACH_S = 5.0


def kills(place: Place, *, seed: int, points: list[tuple[str, int]]) -> Task:
    """Kill the workload at each of these calls (name, how many-th); returns killed, acknowledged, failures."""
    killed, rows, failures = 0, 0, []
    for call, number in points:
        _fresh(place)
        acknowledged: Acknowledged = {}
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        status = _under_strace(place, seed, ["-e", inject, "-o", os.devnull], acknowledged)
        killed += status == -signal.SIGKILL
        rows += len(acknowledged)
        failures += [f"seed {seed} {call} {number}: {text}" for text in aftermath(place.records, acknowledged)]
    return {"killed": killed, "acknowledged": rows, "failures": failures}


def count_calls(place: Place, *, seed: int) -> Task:
    """How often the workload makes each system call."""
    _fresh(place)
    log = place.folder / "calls"
    _under_strace(place, seed, ["-o", str(log)], {})
    # "PID name(...) = result"; a call cut in two by another thread is counted where it begins.
    names = [line.split(maxsplit=1)[1].split("(")[0] for line in log.read_text().splitlines() if "(" in line and "resumed>" not in line]
    return {"calls": {name: count for name, count in Counter(names).items() if name.isidentifier()}}


def _under_strace(place: Place, seed: int, options: Sequence[str], acknowledged: Acknowledged) -> int:
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(readable)
        # Wait until strace has attached, so that nothing before the workload is counted.
        os.kill(os.getpid(), signal.SIGSTOP)
        live_and_exit(place.records, seed, writable, "")
    os.close(writable)
    os.waitpid(child, os.WUNTRACED)
    with subprocess.Popen(["strace", "-f", "-q", *options, "-p", str(child)], stderr=subprocess.DEVNULL) as tracer:
        _await_attached(child)
        os.kill(child, signal.SIGCONT)
        read_pipe(readable, acknowledged)
        _, status = os.waitpid(child, 0)
        tracer.wait()
    return os.waitstatus_to_exitcode(status)


def _await_attached(child: int) -> None:
    until_s = time.monotonic() + ATTACH_S
    while time.monotonic() < until_s:
        if "TracerPid:\t0\n" not in Path(f"/proc/{child}/status").read_text():
            return
        time.sleep(0.002)


def _fresh(place: Place) -> None:
    place.control.clear()
    shutil.rmtree(place.control.folder, ignore_errors=True)
    place.control.folder.mkdir()


@injects("D05", test="tests/faults/test_recorder_traced.py")
def sigkill_at_every_system_call(effort: Effort) -> Result:
    """Every kind of system call of one workload, reads, locks and memory too, spread over its length."""
    if shutil.which("strace") is None:
        raise Skipped("strace is missing: apt-get install strace (the kills by the fault library need only gcc)")
    (counted,) = run_tasks(effort, [{"do": "traced:count_calls", "seed": effort.seed}])
    calls: dict[str, int] = counted["calls"]
    if not calls:
        raise Skipped("strace may not attach here: allow ptrace (kernel.yama.ptrace_scope = 0, or root)")
    share = max(1, effort.times(200) // len(calls))
    points = [
        (name, number)
        for name, count in sorted(calls.items())
        if name not in {"exit_group", "rt_sigreturn"}
        for number in spread(count, share)
    ]
    tasks = [{"do": "traced:kills", "seed": effort.seed, "points": points[start : start + 20]} for start in range(0, len(points), 20)]
    return summary(run_tasks(effort, tasks))
