"""Exports that are killed, repeated and opened in a spreadsheet: each row is out exactly once, and no cell is a formula."""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
from pathlib import Path

from edge.errors import CordonError
from edge.gate.exported import is_exported
from edge.gate.rows import EventRow
from edge.gate.segments import segments_of
from edge.records.export import export_sealed, export_triggers, verify_export
from faults.recorder.preload import CHANGING, Action
from faults.recorder.worker import Place, Task, run_tasks
from faults.recorder.workload import disposition, open_store, trigger, verdict
from faults.registry import Effort, Result, injects

FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0", "'", '"', "a\r\n=2", ",=3", "\ufeff=4")
STARTS = ("=", "+", "@", "\t", "\r")
_PORTION = 25


def killed_exports(place: Place, *, seed: int, points: list[int]) -> Task:
    """Kill an export at each of these calls, then repeat it; returns killed (how many died), rows (exported), failures (words)."""
    killed, rows, failures = 0, 0, []
    for point in points:
        _sealed(place, seed)
        to = place.control.folder / "out"
        status = _mortal_export(place, to, point, tuple(Action)[1 + point % 3])
        killed += status == -signal.SIGKILL
        failures += [f"call {point}: {text}" for text in _early_marks(place.records, to)]
        try:
            list(export_sealed(place.records, to, "csv"))
            reports = [verify_export(path) for path in sorted(to.glob("*.csv"))]
        except CordonError as exc:
            failures.append(f"call {point}: the repeated export: {exc}")
            continue
        segments = segments_of(place.records)
        got = [(report.first, report.first + report.rows - 1) for report in reports]
        if got != [(segment.first, segment.last) for segment in segments] or not all(is_exported(segment) for segment in segments):
            failures.append(f"call {point}: exported are {got}")
        rows += sum(report.rows for report in reports)
    return {"killed": killed, "rows": rows, "failures": failures}


def _sealed(place: Place, seed: int) -> None:
    """Two sealed files and a live one."""
    shutil.rmtree(place.control.folder, ignore_errors=True)
    place.control.folder.mkdir()
    store = open_store(place.records)
    for number in range(3):
        session = f"{seed * 10 + number:016x}"
        store.commit([store.stamp(row, 1) for row in (trigger(session, 1), verdict(session, 1), disposition(session, 1))])
        if number < 2:
            store.rotate()
    store.close()


def _mortal_export(place: Place, to: Path, at: int, action: Action) -> int:
    place.control.arm(action, CHANGING, first=at, times=1)
    child = os.fork()
    if child == 0:
        try:
            list(export_sealed(place.records, to, "csv"))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    place.control.pause()
    return os.waitstatus_to_exitcode(status)


def _early_marks(records: Path, to: Path) -> list[str]:
    """Sealed files that retention might delete already although their export is not whole."""
    found = []
    for segment in segments_of(records):
        if is_exported(segment):
            try:
                verify_export(to / f"{segment.path.stem}.csv")
            except CordonError as exc:
                found.append(f"{segment.path.name} is marked, but {exc}")
    return found


def spreadsheets(place: Place, *, seed: int, rows: int) -> Task:
    """Export texts that a spreadsheet would run; returns cells (looked at), hostile (written), failures (words)."""
    shutil.rmtree(place.control.folder, ignore_errors=True)
    place.control.folder.mkdir()
    draw = random.Random(seed)  # noqa: S311 - seeded, not secret
    store = open_store(place.records)
    texts = [draw.choice(FORMULAS) + "".join(draw.choices("=+-@'\"\t\r\n,;|x1", k=draw.randint(0, 6))) for _ in range(rows)]
    for number, text in enumerate(texts, 1):
        event = EventRow(kind="noise", reason="", detail=text, camera=text[:10], count=1, first_ns=1, at_ns=1)
        store.commit([store.stamp(row, 1) for row in (trigger(f"{seed:016x}", number), event)])
        store.commit([store.stamp(row, 1) for row in (verdict(f"{seed:016x}", number), disposition(f"{seed:016x}", number))])
    store.rotate()
    store.close()
    to = place.control.folder / "out"
    list(export_sealed(place.records, to, "csv"))
    export_triggers(place.records, to / "triggers.csv")
    cells = []
    for path in to.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            cells += [cell for line in csv.reader(file) for cell in line]
    failures = [
        f"the cell {cell!r} is a formula" for cell in cells if cell.startswith(STARTS) or (cell.startswith("-") and not _number(cell))
    ]
    try:
        verify_export(next(to.glob("records-*.csv")))
    except CordonError as exc:
        failures.append(f"the texts do not come back: {exc}")
    return {"cells": len(cells), "hostile": 2 * len(texts), "failures": failures[:20]}


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@injects("D09", test="tests/faults/test_recorder_exports.py")
def exports_killed_and_repeated(effort: Effort) -> Result:
    """SIGKILL at every call of an export; what is repeated afterwards is whole, once, and marked only then."""
    points = list(range(1, 1 + effort.times(400)))
    portions = [points[first : first + _PORTION] for first in range(0, len(points), _PORTION)]
    # An export makes fewer calls than that: later rounds begin again with other rows.
    tasks = [
        {"do": "exports:killed_exports", "seed": effort.seed + number, "points": [1 + point % 60 for point in portion]}
        for number, portion in enumerate(portions)
    ]
    answers = run_tasks(effort, tasks)
    failures = tuple(text for answer in answers for text in answer["failures"])
    killed, rows = (sum(answer[name] for answer in answers) for name in ("killed", "rows"))
    return Result(injections=killed, failures=failures[:20], counter=f"rows exported and proved {rows}")


@injects("G03", test="tests/faults/test_recorder_exports.py")
def formulas_in_exported_cells(effort: Effort) -> Result:
    """Texts that begin with = + - @, tab, return or a quote, in CSV files of the chain and of triggers."""
    answers = run_tasks(effort, [{"do": "exports:spreadsheets", "seed": effort.seed + n, "rows": 100} for n in range(effort.times(20))])
    failures = tuple(text for answer in answers for text in answer["failures"])
    hostile, cells = (sum(answer[name] for answer in answers) for name in ("hostile", "cells"))
    return Result(injections=hostile, failures=failures[:20], counter=f"cells looked at {cells}")
