"""The receiver of exports is away for months: sealed files pile up, nothing that was not exported goes, and an alarm says so."""

from __future__ import annotations

import shutil
from pathlib import Path

from edge.config import StorageConfig
from edge.gate.audit import verify_chain
from edge.gate.exported import mark_exported
from edge.gate.retention import AGE_PAUSE_S, Retention
from edge.gate.rows import EventRow
from edge.gate.segments import segments_of
from edge.gate.store import Store
from faults.recorder.books import read_books
from faults.recorder.worker import Place, Task, run_tasks
from faults.recorder.workload import disposition, event, open_store, trigger, verdict
from faults.registry import Effort, Result, injects

DAY_S = 86_400.0
STORAGE = StorageConfig(segment_mb=0.01, reserve_mb=0, alarm_mb=0, keep_days=7, keep_mb=0.05, exported_only=True)


def months(place: Place, *, seed: int, days: int) -> Task:
    """Seal a file a day, export nothing, then everything; returns days, alarms, deleted, failures."""
    place.control.clear()
    shutil.rmtree(place.control.folder, ignore_errors=True)
    place.control.folder.mkdir()
    store, failures, alarms = open_store(place.records), [], 0
    known: dict[int, str] = {}
    for day in range(days):
        place.control.jump(day * DAY_S)
        _work(store, f"{seed * 1000 + day:016x}", known)
        store.rotate()
        alarms += bool(Retention(place.records, STORAGE).step(store.anchor, lambda text: _write(store, text)))
    if len(segments_of(place.records)) != days:
        failures.append(f"{days - len(segments_of(place.records))} files went although nothing was exported")
    deleted = _exported(place.records, store)
    store.close()
    place.control.clear()
    if alarms < days - 8:
        failures.append(f"only {alarms} alarms in {days} days")
    failures += [] if deleted else ["nothing was deleted after the export"]
    verify_chain(place.records)
    books = read_books(place.records)
    said = sum("deleted up to row" in text for text in books.events)
    failures += [] if said == deleted else [f"{said} rows speak of {deleted} deleted files"]
    kept = set(books.hashes)
    failures += [f"lost row {number} that is not before the oldest file" for number in known if number > min(kept) and number not in kept]
    return {"days": days, "alarms": alarms, "deleted": deleted, "failures": failures}


def _work(store: Store, session: str, known: dict[int, str]) -> None:
    for rows in ((trigger(session, 1), verdict(session, 1)), (disposition(session, 1), event(1))):
        stamped = [store.stamp(row, 1) for row in rows]
        store.commit(stamped)
        known |= {row.number: row.hash.hex() for row in stamped}


def _write(store: Store, text: str) -> bool:
    store.commit([store.stamp(EventRow(kind="retention", reason="", detail=text, camera="", count=1, first_ns=1, at_ns=1), 1)])
    return True


def _exported(records: Path, store: Store) -> int:
    """The receiver is back: mark every file, and let retention work until it has nothing to do; returns how many files went."""
    before = segments_of(records)
    copy = records.parent / "export.csv"
    copy.write_text("rows")
    for segment in before:
        mark_exported(segment, [copy])
    for _ in before:
        # A new one each time: the pause between two deletions by age is for one process's life.
        Retention(records, STORAGE).step(store.anchor, lambda text: _write(store, text))
    return len(before) - len(segments_of(records))


@injects("D10", test="tests/faults/test_recorder_retained.py")
def receiver_away_for_months(effort: Effort) -> Result:
    """Forty days without an export under limits of seven days and a twentieth of a megabyte."""
    tasks = [{"do": "retained:months", "seed": effort.seed + number, "days": 40} for number in range(effort.times(20))]
    answers = run_tasks(effort, tasks)
    failures = [text for answer in answers for text in answer["failures"]]
    alarms, deleted = (sum(answer[name] for answer in answers) for name in ("alarms", "deleted"))
    return Result(
        injections=sum(answer["days"] for answer in answers),
        lost_records=sum("lost row" in text for text in failures),
        failures=tuple(failures[:20]),
        counter=f"refused to delete {alarms}, deleted once exported {deleted}",
        note=f"at most one deletion by age in {AGE_PAUSE_S:.0f} s of a process",
    )
