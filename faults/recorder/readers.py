"""Readers and clocks beside a working recorder: the log stays bounded, copies are whole, and no jump of the wall clock changes an order."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

from edge.errors import CordonError
from edge.gate.audit import verify_chain
from edge.gate.reader_lock import PATIENCE, reading
from edge.gate.store import Store
from faults.recorder.books import read_books, record_files
from faults.recorder.client import Client
from faults.recorder.kill import aftermath
from faults.recorder.worker import Place, Task, run_tasks
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_recorder_readers.py"
YEAR_S = 31_556_952.0
JUMPS_S = (1.0, -1.0, 3_600.0, -86_400.0, 10 * YEAR_S, -10 * YEAR_S, 0.0)
BETWEEN = 6
"""Cases between two jumps."""
LOOK = 2
"""Cases between two looks at the log; a checkpoint is asked for in each of these."""
LOOK_BYTES = 96 * 1024
"""More than these cases, with their checkpoint, ever add to the log (measured: 65 KB)."""
ATTEMPT_S = 10.0
"""A recorder that does not try a checkpoint for so long has hung."""


def crowded(place: Place, *, seed: int, rounds: int, hold: bool) -> Task:
    """Write while others read: copies taken all the time, or (`hold`) one reader that never lets go.

    Returns copies (how many were taken and verified), largest (bytes of the log), failures.
    """
    _fresh(place)
    client, stop = Client(place.records), threading.Event()
    attempts = _counted(client.store)
    failures: list[str] = []
    copies: list[int] = []
    reader = threading.Thread(target=_hold if hold else _copy, args=(place.records, stop, copies, failures))
    reader.start()
    largest = 0
    for number in range(rounds):
        client.cycles(seed * 10_000 + number, LOOK)
        # Rows go first: a client that never pauses, as no robot is, would put the checkpoint off.
        if not attempts.acquire(timeout=ATTEMPT_S):
            failures.append("the recorder never came to a checkpoint")
            break
        wal = place.records.with_name(place.records.name + "-wal")
        largest = max(largest, wal.stat().st_size)
    stop.set()
    reader.join()
    if not client.close():
        failures.append("the recorder could not be closed whole")
    bound = (PATIENCE + 2) * LOOK_BYTES
    failures += [f"the log grew to {largest} bytes"] if largest > bound else []
    failures += client.wrong + client.missing(read_books(place.records)) + aftermath(place.records, {})
    return {"copies": sum(copies), "largest": largest, "failures": failures}


def _counted(store: Store) -> threading.Semaphore:
    """Released once for each checkpoint that this store tried."""
    tried, attempts = store.checkpoint, threading.Semaphore(0)

    def checkpoint() -> None:
        tried()
        attempts.release()

    store.checkpoint = checkpoint  # type: ignore[method-assign]
    return attempts


def _hold(records: Path, stop: threading.Event, copies: list[int], _: list[str]) -> None:
    with reading(records):
        copies.append(1)
        stop.wait(50)


def _copy(records: Path, stop: threading.Event, copies: list[int], failures: list[str]) -> None:
    rows = 0
    while not stop.is_set():
        try:
            found = verify_chain(records).rows
        except CordonError as exc:
            failures.append(f"a copy: {exc}")
            return
        if found < rows:
            failures.append(f"a copy has {found} rows, one before it had {rows}")
        rows = found
        copies.append(1)


def jumping(place: Place, *, seed: int, rounds: int) -> Task:
    """Let the wall clock jump between cases, across a restart too; returns jumps and failures."""
    _fresh(place)
    failures: list[str] = []
    client = Client(place.records)
    for number in range(rounds):
        place.control.jump(JUMPS_S[(number + seed) % len(JUMPS_S)])
        client.cycles(seed * 10_000 + number, BETWEEN)
        if number % 4 == 3:
            failures += [] if client.close() else ["the recorder could not be closed whole"]
            client = Client(place.records)
    client.close()
    failures += client.wrong + client.missing(read_books(place.records)) + aftermath(place.records, {}) + _order(place.records, rounds)
    place.control.clear()
    return {"jumps": rounds, "failures": failures}


def _order(records: Path, rounds: int) -> list[str]:
    """Row numbers follow the cases' order; the wall clock's years are really in the rows, and spoil nothing."""
    sequences: list[int] = []
    walls: list[int] = []
    for file in record_files(records):
        with closing(sqlite3.connect(file)) as connection:
            found = connection.execute("SELECT sequence, wall_ns FROM triggers ORDER BY id").fetchall()
            sequences += [row[0] for row in found]
            walls += [row[1] for row in found]
    expected = [sequence for _ in range(rounds) for sequence in range(1, BETWEEN + 1)]
    failures = [] if sequences[: len(expected)] == expected else ["cases are not in the order in which they were written"]
    spread_s = (max(walls) - min(walls)) / 1e9
    return failures if rounds < len(JUMPS_S) or spread_s > 19 * YEAR_S else [*failures, "the wall clock never jumped"]


def _fresh(place: Place) -> None:
    place.control.clear()
    shutil.rmtree(place.control.folder, ignore_errors=True)
    place.control.folder.mkdir()


@injects("D12", test=TEST)
def readers_beside_the_recorder(effort: Effort) -> Result:
    """Copies taken all the time, and a reader that never ends, while the recorder writes."""
    rounds, seeds = (40, 2) if effort.name == "quick" else (120, effort.times(4))
    started_s = time.monotonic()
    tasks = [{"do": "readers:crowded", "seed": effort.seed + number, "rounds": rounds, "hold": bool(number % 2)} for number in range(seeds)]
    answers = run_tasks(effort, tasks)
    copies, largest = sum(answer["copies"] for answer in answers), max(answer["largest"] for answer in answers)
    return Result(
        injections=copies,
        failures=tuple(text for answer in answers for text in answer["failures"])[:20],
        counter=f"largest log {largest} bytes",
        note=f"{copies} copies or held locks in {time.monotonic() - started_s:.0f} s",
    )


@injects("D11", test=TEST)
def wall_clock_jumps_in_the_records(effort: Effort) -> Result:
    """The recorder's wall clock jumps by up to ten years, both ways, between cases and across restarts."""
    tasks = [{"do": "readers:jumping", "seed": effort.seed + number, "rounds": 14} for number in range(effort.times(40))]
    answers = run_tasks(effort, tasks)
    return Result(
        injections=sum(answer["jumps"] for answer in answers),
        failures=tuple(text for answer in answers for text in answer["failures"])[:20],
        counter="rows out of order 0",
    )
