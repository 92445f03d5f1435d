"""Readers that never rest beside a working line: verdicts stay in time, and what the readers see is what the records have."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from line_kit import BUDGET_MS, Cell, make_cell

from edge.health.look import answer, look

READER = """
import sys
from pathlib import Path
from edge.health.look import answer, look
looks = torn = accepting = 0
while True:
    seen = look(Path(sys.argv[1]))
    if seen.gate.found == "alive":
        looks += 1
        torn += bool(seen.gate.note or not all(times.whole for times in seen.gate.times.values()))
        accepting += answer(seen)[0] == "accepting"
        print(looks, torn, accepting, flush=True)
"""
READERS = 2


@pytest.fixture
def cell() -> Iterator[Cell]:
    with make_cell(30) as made:
        yield made


@pytest.mark.slow
def test_readers_at_full_speed_disturb_no_verdict_and_see_what_is_true(cell: Cell) -> None:
    command = [sys.executable, "-c", READER, str(cell.folder)]
    files = [(cell.folder / f"reader{number}").open("w+") for number in range(READERS)]
    readers = [subprocess.Popen(command, stdout=file) for file in files]
    try:
        cell.start(robot=("--interval-ms", "10"))
        results = cell.run()
    finally:
        for reader in readers:
            reader.kill()
            reader.wait(20)
    assert max(float(str(result["latency_ms"])) for result in results) <= BUDGET_MS
    assert [result["accepted"] for result in results] == [number % 2 == 0 for number in range(cell.count)]
    for file in files:
        file.seek(0)
        looks, torn, accepting = (int(word) for word in file.read().splitlines()[-1].split())
        file.close()
        assert looks > 50
        assert torn <= max(2, looks // 100), "a look is taken again until it is whole"
        assert accepting > 0
    _as_recorded(cell, cell.folder)


def _as_recorded(cell: Cell, folder: Path) -> None:
    cell.line.stop()
    seen = look(folder)
    assert answer(seen)[0] == "unknown", "the gate has ended"
    connection = sqlite3.connect(folder / "records.db")
    try:
        verdicts = dict(connection.execute("SELECT outcome, count(*) FROM verdicts GROUP BY 1"))
        longest = connection.execute(
            "SELECT max(d.sent_ns - v.opened_ns), max(v.decided_ns - v.opened_ns)"
            " FROM verdicts v JOIN dispositions d USING (session, sequence)"
        ).fetchone()
    finally:
        connection.close()
    counted: dict[str, int] = {}
    for (outcome, *_), count in seen.gate.tables["verdicts"].items():
        counted[outcome] = counted.get(outcome, 0) + count
    assert counted == verdicts
    assert (seen.gate.times["sent"].max_ns, seen.gate.times["decided"].max_ns) == longest
    assert seen.inspector.counters["frames"] == seen.inspector.times["whole"].count == cell.count
