"""A sync that fails and a power cut afterwards: what the kernel forgot to write may be gone, what was promised since may not."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from edge.errors import RecordError
from faults.recorder.books import read_books
from faults.recorder.client import Client, Key, present
from faults.recorder.disk import Disk, read_trace
from faults.recorder.planted import opener
from faults.recorder.preload import Action, Call, Kind
from faults.recorder.worker import Place, Task, run_tasks
from faults.recorder.workload import open_store
from faults.registry import Effort, Result, injects

CYCLES = 3
SYNCS = 14
"""About how many syncs so many cycles make."""


def replay(place: Place, *, seed: int, point: int, states: int, defect: str = "") -> Task:
    """Record a recorder whose sync number `point` fails, then open so many states that cuts after the failure may leave.

    Returns states, struck (whether a sync failed), failures.
    """
    marks = _record(place, seed, point, defect)
    entries = read_trace(place.folder / "trace")
    failed = next((number for number, entry in enumerate(entries) if entry.kind is Kind.SYNC_FAILED), None)
    found: Task = {"states": 0, "struck": failed is not None, "failures": []}
    if failed is None:
        return found
    draw, disk, vouched = random.Random(seed), Disk(), set[Key]()  # noqa: S311 - seeded, not secret
    cuts = {draw.randrange(failed, len(entries)) for _ in range(states - 1)} | {len(entries) - 1}
    for number, entry in enumerate(entries):
        disk.play(entry)
        if entry.kind is Kind.MARK:
            vouched |= {(table, session, sequence) for table, session, sequence in marks[entry.offset]}
        if number in cuts:
            _fresh(place)
            for path, content in disk.after_cut(draw):
                Path(path).write_bytes(content)
            found["states"] += 1
            found["failures"] += [f"sync {point} failed, seed {seed}, cut {number}: {text}" for text in _look(place.records, vouched)]
    return found


def _record(place: Place, seed: int, point: int, defect: str) -> list[list[Key]]:
    _fresh(place)
    place.control.trace(place.folder / "trace")
    child = os.fork()
    if child == 0:
        _record_and_exit(place, seed, point, defect)
    _, status = os.waitpid(child, 0)
    place.control.clear()
    if status:
        raise RuntimeError(f"the recorded workload of seed {seed} ended with {status}")
    marks: list[list[Key]] = json.loads((place.folder / "marks.json").read_text())
    return marks


def _record_and_exit(place: Place, seed: int, point: int, defect: str) -> None:
    marks: list[list[Key]] = []
    mark = ctypes.CDLL(None).fault_mark
    mark.argtypes = [ctypes.c_int64]

    def acknowledge(keys: Sequence[Key]) -> None:
        marks.append(list(keys))
        mark(len(marks) - 1)

    status = 1
    try:
        client = Client(place.records, opened=opener(defect), acknowledge=acknowledge)
        place.control.arm(Action.FAIL, Call.SYNC, first=point, times=1, error=errno.EIO, trace=place.folder / "trace")
        client.cycles(seed, CYCLES)
        client.settle()
        client.close()
        (place.folder / "marks.json").write_text(json.dumps(marks))
        status = 0
    finally:
        os._exit(status)


def _look(records: Path, vouched: set[Key]) -> list[str]:
    try:
        open_store(records).close()
    except RecordError as exc:
        return [f"lost row, {len(vouched)} vouched for, refused: {exc}"] if vouched else []
    books = read_books(records)
    return [f"lost row {key}" for key in sorted(vouched) if not present(books, key)]


def _fresh(place: Place) -> None:
    shutil.rmtree(place.control.folder, ignore_errors=True)
    place.control.folder.mkdir()


@injects("D03", "D04", test="tests/faults/test_recorder_unsure.py")
def power_cut_after_a_failed_sync(effort: Effort) -> Result:
    """Every sync of a recorder fails once, as if the kernel then called the pages clean; the power goes at some later moment."""
    states = 3 if effort.name == "quick" else 20
    tasks = [
        {"do": "unsure:replay", "seed": effort.seed + number // SYNCS, "point": number % SYNCS + 1, "states": states}
        for number in range(max(SYNCS, effort.times(4 * SYNCS)))
    ]
    answers = run_tasks(effort, tasks)
    failures = [text for answer in answers for text in answer["failures"]]
    return Result(
        injections=sum(answer["states"] for answer in answers),
        lost_records=sum("lost row" in text for text in failures),
        failures=tuple(failures[:20]),
        counter=f"{sum(answer['struck'] for answer in answers)} failed syncs",
    )
