"""SIGKILL at every call with which the recorder changes its files: what was acknowledged is there, and the next gate goes on."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from edge.errors import CordonError
from edge.gate.audit import verify_chain
from edge.gate.rows import Row
from edge.gate.store import Stamped, Store
from faults.recorder.books import Acknowledged, read_books
from faults.recorder.planted import opener
from faults.recorder.preload import CHANGING, Action, Call
from faults.recorder.worker import Place, Task, run_tasks
from faults.recorder.workload import disposition, live, trigger, verdict
from faults.registry import Effort, Result, injects

ACTIONS = (Action.KILL, Action.KILL_AFTER, Action.KILL_TORN)
_PORTION = 40
"""Crash points per task."""


def kill_points(place: Place, *, seed: int, points: list[int], defect: str = "", again: bool = False) -> Task:
    """Kill the workload at each of these calls, in a fresh folder each; `again` kills the gate that follows as well, before the check.

    Returns killed (how many died), acknowledged (rows), failures (words).
    """
    killed, rows, failures = 0, 0, []
    for point in points:
        shutil.rmtree(place.control.folder, ignore_errors=True)
        place.control.folder.mkdir()
        acknowledged: Acknowledged = {}
        for turn in range(2 if again else 1):
            # The second life is short: it is killed somewhere in opening, closing what is open, and its first cycles.
            at = point if turn == 0 else 1 + (point * 7919 + seed) % 90
            status = mortal(place, acknowledged, seed=seed + turn, at=at, action=ACTIONS[(point + turn) % 3], defect=defect)
            killed += status == -signal.SIGKILL
            if status not in (0, -signal.SIGKILL):
                failures.append(f"seed {seed} call {point} life {turn}: the recorder ended with {status}")
        rows += len(acknowledged)
        failures += [f"seed {seed} call {point}: {text}" for text in aftermath(place.records, acknowledged, defect)]
    return {"killed": killed, "acknowledged": rows, "failures": failures}


def count_calls(place: Place, *, seed: int) -> Task:
    """How many changing calls the workload of this seed makes when nobody kills it."""
    shutil.rmtree(place.control.folder, ignore_errors=True)
    place.control.folder.mkdir()
    mortal(place, {}, seed=seed, at=2**40, action=Action.KILL, defect="")
    return {"calls": place.control.seen}


def mortal(place: Place, acknowledged: Acknowledged, *, seed: int, at: int, action: Action, defect: str, calls: Call = CHANGING) -> int:
    """Fork a recorder, let it live until the call `at`, collect what it acknowledged through a pipe; returns its exit status."""
    readable, writable = os.pipe()
    place.control.arm(action, calls, first=at, times=1)
    child = os.fork()
    if child == 0:
        os.close(readable)
        live_and_exit(place.records, seed, writable, defect)
    os.close(writable)
    read_pipe(readable, acknowledged)
    _, status = os.waitpid(child, 0)
    # What this process itself does next must not be struck.
    place.control.pause()
    return os.waitstatus_to_exitcode(status)


def read_pipe(readable: int, acknowledged: Acknowledged) -> None:
    """Collect what a recorder acknowledges until its end."""
    with os.fdopen(readable) as pipe:
        for line in pipe:
            # A line cut by the kill was not said in full: what it would have acknowledged is not counted.
            if line.endswith("\n"):
                number, digest = line.split()
                # A number given twice means that the row it named first is gone: keep that one, so that it is missed.
                acknowledged.setdefault(int(number), digest)


def live_and_exit(records: Path, seed: int, pipe: int, defect: str) -> None:
    """The forked recorder: live, acknowledge through the pipe, and end without the parent's clean-up."""

    def acknowledge(rows: Sequence[Stamped]) -> None:
        if rows:
            os.write(pipe, b"".join(b"%d %s\n" % (row.number, row.hash.hex().encode()) for row in rows))

    status = 1
    try:
        live(records, seed, acknowledge, opened=opener(defect))
        status = 0
    finally:
        os._exit(status)


def aftermath(records: Path, acknowledged: Acknowledged, defect: str = "") -> list[str]:
    """Start the next gate on these files, let it work and stop, and say everything that is wrong then."""
    try:
        closed = _next_gate(records, acknowledged, defect)
        books = read_books(records)
        verify_chain(records)
    except (CordonError, sqlite3.Error) as exc:
        return [f"the next gate: {exc}"]
    failures = [f"lost row {number}" for number in books.lost(acknowledged)]
    failures += [f"case {key} has {books.cases[key]} rows" for key in books.unbalanced()]
    failures += [f"{closed} rows were left open for a second time"] * bool(closed)
    return failures


def _next_gate(records: Path, acknowledged: Acknowledged, defect: str) -> int:
    """Close what is open, work, stop, start once more; returns how many rows that last start still wants to close."""
    store = opener(defect)(records)
    session = os.urandom(8).hex()
    fresh: list[Row] = [trigger(session, 1), verdict(session, 1), disposition(session, 1)]
    stamped = [store.stamp(row, 2) for row in fresh]
    store.commit(stamped)
    store.close()
    for row in stamped:
        acknowledged.setdefault(row.number, row.hash.hex())
    store = Store(records, boot="boot", config="c" * 64)
    left = len(store.leftovers(100))
    store.close()
    return left


@injects("D05", test="tests/faults/test_recorder_kill.py")
def sigkill_at_every_call(effort: Effort) -> Result:
    """Every changing call of several seeded workloads, before, after and in the middle; then pairs of kills in one folder's life."""
    answers = run_tasks(effort, plan(effort))
    return summary(answers)


def plan(effort: Effort, *, ci: int = 3_000, defect: str = "") -> list[Task]:
    """Tasks for about as many crash points as the effort asks for: whole workloads, and as many again with two kills."""
    wanted, tasks, found, seed = effort.times(ci) if effort.name != "quick" else 75, [], 0, effort.seed
    while found < wanted:
        (counted,) = run_tasks(effort, [{"do": "kill:count_calls", "seed": seed}])
        points = spread(counted["calls"], (wanted - found) // 3)
        for again in (False, True):
            for start in range(0, len(points), _PORTION):
                chosen = points[start : start + _PORTION]
                tasks.append({"do": "kill:kill_points", "seed": seed, "points": chosen, "defect": defect, "again": again})
            found += len(points) * (2 if again else 1)
        seed += 1
    return tasks


def spread(last: int, at_most: int) -> list[int]:
    """Numbers from 1 to `last`: all of them, or about `at_most` at even distances."""
    step = max(1, -(-last // max(1, at_most)))
    return list(range((step + 1) // 2, last + 1, step))


def summary(answers: Sequence[Task]) -> Result:
    """Add up what the tasks found; a lost row is a lost record, all else a failure."""
    failures = [text for answer in answers for text in answer["failures"]]
    lost = [text for text in failures if "lost row" in text]
    rows = sum(answer["acknowledged"] for answer in answers)
    return Result(
        injections=sum(answer["killed"] for answer in answers),
        lost_records=len(lost),
        failures=tuple(failures[:20]),
        counter=f"{rows} acknowledged rows, {len(lost)} lost",
    )
