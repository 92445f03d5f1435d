"""Power-cut replay: a recorder's writes are recorded once, then every state a cut may leave is opened with the real store."""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from edge.errors import RecordError
from edge.gate.store import Stamped
from faults.recorder.books import Acknowledged, read_books
from faults.recorder.disk import Disk, read_trace
from faults.recorder.kill import aftermath
from faults.recorder.planted import opener
from faults.recorder.preload import Kind
from faults.recorder.worker import Place, Task, run_tasks
from faults.recorder.workload import live, open_store
from faults.registry import Effort, Result, injects

LIVES = 2
"""Gates that follow each other in one recording: the second opens what the first left."""
_WHOLE = 8
"""Every eighth state also goes through a next gate's whole life."""


def replay(place: Place, *, seed: int, states: int, defect: str = "") -> Task:
    """Record the workload of this seed and open about so many of its states.

    Returns states, cuts (points between calls), acknowledged, quarantined (refused before anything was acknowledged), failures.
    """
    marks = record(place, seed=seed, defect=defect)
    entries = read_trace(place.folder / "trace")
    draw, disk = random.Random(seed), Disk()  # noqa: S311 - seeded, not secret
    acknowledged: Acknowledged = {}
    found: Task = {"states": 0, "cuts": len(entries), "acknowledged": sum(map(len, marks)), "quarantined": 0, "failures": []}
    due, step = 0.0, states / max(1, len(entries))
    for number, entry in enumerate(entries):
        disk.play(entry)
        if entry.kind is Kind.MARK:
            acknowledged |= dict(marks[entry.offset])
        # Names that are not settled yet are rare, and where most goes wrong.
        due += step * (4 if disk.unsettled else 1)
        while due >= 1:
            due -= 1
            _fresh(place)
            for path, content in disk.after_cut(draw):
                Path(path).write_bytes(content)
            _look(place.records, acknowledged, found, f"seed {seed} cut {number}")
    return found


def record(place: Place, *, seed: int, defect: str) -> list[list[tuple[int, str]]]:
    """Run the workload in a child with every change of its files logged; returns what each mark acknowledges: numbers and hashes."""
    _fresh(place)
    place.control.trace(place.folder / "trace")
    child = os.fork()
    if child == 0:
        _record_and_exit(place, seed, defect)
    _, status = os.waitpid(child, 0)
    place.control.clear()
    if status:
        raise RuntimeError(f"the recorded workload of seed {seed} ended with {status}")
    marks: list[list[tuple[int, str]]] = json.loads((place.folder / "marks.json").read_text())
    return marks


def _record_and_exit(place: Place, seed: int, defect: str) -> None:
    marks: list[list[tuple[int, str]]] = []
    mark = ctypes.CDLL(None).fault_mark
    mark.argtypes = [ctypes.c_int64]

    def acknowledge(rows: Sequence[Stamped]) -> None:
        marks.append([(row.number, row.hash.hex()) for row in rows])
        mark(len(marks) - 1)

    status = 1
    try:
        for life in range(LIVES):
            live(place.records, seed + 1000 * life, acknowledge, opened=opener(defect))
        (place.folder / "marks.json").write_text(json.dumps(marks))
        status = 0
    finally:
        os._exit(status)


def _look(records: Path, acknowledged: Acknowledged, found: Task, name: str) -> None:
    """Open one state as the next gate does, and say what is missing."""
    found["states"] += 1
    try:
        open_store(records).close()
    except RecordError as exc:
        found["quarantined"] += not acknowledged
        found["failures"] += [f"{name}: lost row, {len(acknowledged)} acknowledged, refused: {exc}"] if acknowledged else []
        return
    found["failures"] += [f"{name}: {text}" for text in _wrong(records, acknowledged, whole=found["states"] % _WHOLE == 0)]


def _wrong(records: Path, acknowledged: Acknowledged, *, whole: bool) -> list[str]:
    if whole:
        return aftermath(records, dict(acknowledged))
    # Opening has checked the chain of the newest rows already, which are all there are.
    return [f"lost row {number}" for number in read_books(records).lost(acknowledged)]


def _fresh(place: Place) -> None:
    shutil.rmtree(place.control.folder, ignore_errors=True)
    place.control.folder.mkdir()


@injects("D04", test="tests/faults/test_recorder_powercut.py")
def power_cut_at_any_write(effort: Effort) -> Result:
    """Cuts between all recorded calls of seeded workloads; unsynced writes survive in random parts, torn at 512 B."""
    return summary(run_tasks(effort, plan(effort)))


def plan(effort: Effort, *, ci: int = 10_000, defect: str = "") -> list[Task]:
    """Tasks for so many states, some hundreds from each recording."""
    states = effort.times(ci) if effort.name != "quick" else 160
    tasks = max(2, states // 500)
    return [
        {"do": "powercut:replay", "seed": effort.seed * 10_000 + number, "states": states // tasks, "defect": defect}
        for number in range(tasks)
    ]


def summary(answers: Sequence[Task]) -> Result:
    """Add up; a lost row is a lost record, all else a failure."""
    failures = [text for answer in answers for text in answer["failures"]]
    lost = [text for text in failures if "lost row" in text]
    total = {name: sum(answer[name] for answer in answers) for name in ("states", "cuts", "acknowledged", "quarantined")}
    return Result(
        injections=total["states"],
        lost_records=len(lost),
        failures=tuple(failures[:20]),
        counter=f"{total['acknowledged']} acknowledged rows, {len(lost)} losses",
        note=f"{total['cuts']} cut points; refused before anything was acknowledged: {total['quarantined']}",
    )
