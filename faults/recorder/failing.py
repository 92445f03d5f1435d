"""Calls that fail under a working recorder: errors, full and read-only disks at every call; latched, kept, recovered, complete."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from edge.errors import CordonError
from faults.recorder.books import read_books
from faults.recorder.client import Client
from faults.recorder.kill import aftermath, spread
from faults.recorder.planted import opener
from faults.recorder.preload import EVERY, FOREVER, Action, Call
from faults.recorder.worker import Place, Task, run_tasks
from faults.recorder.workload import live
from faults.registry import Effort, Result, injects

CYCLES = 3


class Fault(NamedTuple):
    """What fails: `times` calls of these groups from the n-th on, or for ever until the disk is mended."""

    row: str
    name: str
    calls: Call
    action: Action
    error: int
    times: int


_CHANGES = Call.WRITE | Call.TRUNCATE | Call.RENAME | Call.UNLINK | Call.OPEN
FAULTS = {
    fault.name: fault
    for fault in (
        Fault("D03", "sync fails once", Call.SYNC, Action.FAIL, errno.EIO, 1),
        Fault("D03", "three syncs fail", Call.SYNC, Action.FAIL, errno.EIO, 3),
        Fault("D03", "write fails once", Call.WRITE | Call.TRUNCATE, Action.FAIL, errno.EIO, 1),
        Fault("D03", "read fails once", Call.READ, Action.FAIL, errno.EIO, 1),
        Fault("D03", "disk gone", EVERY & ~Call.CLOSE, Action.FAIL, errno.EIO, FOREVER),
        Fault("D01", "no space once", Call.WRITE, Action.FAIL, errno.ENOSPC, 1),
        Fault("D01", "no space, half written", Call.WRITE, Action.SHORT, errno.ENOSPC, 2),
        Fault("D01", "no space", Call.WRITE, Action.FAIL, errno.ENOSPC, FOREVER),
        Fault("D01", "quota", Call.WRITE | Call.TRUNCATE, Action.FAIL, errno.EDQUOT, FOREVER),
        Fault("D02", "read-only", _CHANGES, Action.FAIL, errno.EROFS, FOREVER),
        Fault("D02", "read-only for a moment", _CHANGES, Action.FAIL, errno.EROFS, 4),
    )
}


def running(place: Place, *, fault: str, points: list[int], defect: str = "") -> Task:
    """Let a recorder work, let the fault strike at each of these calls, mend the disk, and look at everything.

    Returns struck (runs in which the fault struck), latched (runs in which the recorder said so), failures (words).
    """
    found: Task = {"row": FAULTS[fault].row, "struck": 0, "latched": 0, "failures": []}
    for point in points:
        _fresh(place)
        client = Client(place.records, opened=opener(defect))
        _arm(place, fault, point)
        client.cycles(point, CYCLES)
        found["struck"] += place.control.struck > 0
        place.control.clear()
        found["failures"] += [f"{fault} at call {point}: {text}" for text in _mended(place, client)]
        found["latched"] += client.failures > 0
    return found


def starting(place: Place, *, fault: str, points: list[int]) -> Task:
    """Let the fault strike while a gate opens the records of one that worked before: it may refuse to start, never lose or put aside."""
    found: Task = {"row": FAULTS[fault].row, "struck": 0, "latched": 0, "failures": []}
    for point in points:
        _fresh(place)
        acknowledged: dict[int, str] = {}
        live(place.records, point, lambda rows, known=acknowledged: known.update({row.number: row.hash.hex() for row in rows}), cycles=2)  # type: ignore[misc]
        _arm(place, fault, point)
        client = None
        try:
            client = Client(place.records)
        except CordonError:
            found["latched"] += 1
        except Exception as exc:  # noqa: BLE001 - what the operator would see as a traceback
            found["failures"].append(f"{fault} at call {point} of the start: {exc!r} is no error of Cordon's")
        found["struck"] += place.control.struck > 0
        place.control.clear()
        if client is not None:
            client.cycles(-1 - point, 1)
            found["failures"] += [f"{fault} at call {point} of the start: {text}" for text in _mended(place, client)]
        found["failures"] += [f"{fault} at call {point} of the start: {text}" for text in aftermath(place.records, acknowledged)]
    return found


def count_calls(place: Place, *, fault: str, start: bool) -> Task:
    """How many calls of the fault's groups a run makes when none fails."""
    _fresh(place)
    kind = FAULTS[fault]
    if start:
        live(place.records, 1, lambda _: None, cycles=2)
        place.control.arm(Action.COUNT, kind.calls)
        Client(place.records).close()
    else:
        client = Client(place.records)
        place.control.arm(Action.COUNT, kind.calls)
        client.cycles(1, CYCLES)
        client.close()
    place.control.pause()
    return {"calls": place.control.seen}


def _arm(place: Place, fault: str, point: int) -> None:
    kind = FAULTS[fault]
    place.control.arm(kind.action, kind.calls, first=point, times=kind.times, error=kind.error)


def _mended(place: Place, client: Client) -> list[str]:
    """The disk works again: the recorder recovers by itself, and everything that it was ever given is in the books."""
    failures = [] if client.settle() else ["it stays latched"]
    if not client.close():
        failures.append("it could not be closed whole")
    failures += client.wrong
    try:
        failures += client.missing(read_books(place.records))
    except sqlite3.Error as exc:
        failures.append(f"the records cannot be read: {exc}")
    return failures + aftermath(place.records, {})


def _fresh(place: Place) -> None:
    place.control.clear()
    shutil.rmtree(place.control.folder, ignore_errors=True)
    place.control.folder.mkdir()


@injects("D01", "D02", "D03", test="tests/faults/test_recorder_failing.py")
def failing_calls(effort: Effort) -> Result:
    """Every call of a working recorder, and of one that starts, meets each kind of failure."""
    return summary(run_tasks(effort, plan(effort)))


def plan(effort: Effort, *, ci: int = 1_200, defect: str = "") -> list[Task]:
    """Tasks for about so many runs, shared by all faults, half of them while it works and half while it starts."""
    each = max(2, effort.times(ci) // (2 * len(FAULTS)))
    names = [(fault, start) for fault in FAULTS for start in ([False] if defect else [False, True])]
    counts = run_tasks(effort, [{"do": "failing:count_calls", "fault": fault, "start": start} for fault, start in names])
    tasks: list[Task] = []
    for (fault, start), counted in zip(names, counts, strict=True):
        points = spread(counted["calls"], each)
        tasks.append(
            {"do": "failing:starting", "fault": fault, "points": points}
            if start
            else {"do": "failing:running", "fault": fault, "points": points, "defect": defect}
        )
    return tasks


def summary(answers: Sequence[Task]) -> Result:
    """Add up; a lost row is a lost record, all else a failure."""
    failures = [text for answer in answers for text in answer["failures"]]
    by_row: dict[str, int] = {}
    for answer in answers:
        by_row[answer["row"]] = by_row.get(answer["row"], 0) + answer["struck"]
    return Result(
        injections=sum(by_row.values()),
        injections_by_row=by_row,
        lost_records=sum("lost row" in text for text in failures),
        failures=tuple(failures[:20]),
        counter=f"Failed, then Back, or a refused start: {sum(answer['latched'] for answer in answers)} times",
    )
