"""The configuration changed while the line runs: no weld notices, and every record says which file ruled it."""

import contextlib
import hashlib
import re
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from line_kit import Cell, make_cell

pytestmark = pytest.mark.slow


@pytest.fixture
def cell() -> Iterator[Cell]:
    with make_cell(80) as made:
        yield made


def _edit(path: Path, limit: int) -> str:
    text = re.sub(r"latch_noise = .*\n", "", path.read_text())
    path.write_text(text.replace("[gate]\n", f"[gate]\nlatch_noise = {limit}\n", 1))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _reload(cell: Cell, *daemons: str) -> None:
    for name in daemons:
        cell.line.children[name].process.send_signal(signal.SIGHUP)


def test_no_verdict_is_lost_while_both_daemons_take_another_file(cell: Cell) -> None:
    cell.start(robot=("--interval-ms", "20"))
    path = cell.folder / "cordon.toml"
    hashes, due = [hashlib.sha256(path.read_bytes()).hexdigest()], [20, 45]

    def edit(done: int) -> None:
        if due and done >= due[0]:
            hashes.append(_edit(path, due.pop(0)))
            _reload(cell, "gate", "inspector")

    results = cell.run(edit)
    assert [result["accepted"] for result in results] == [number % 2 == 0 for number in range(cell.count)]
    cell.check_accounting()
    ruled = [config for (config,) in cell.records("SELECT config FROM verdicts ORDER BY id")]
    assert list(dict.fromkeys(ruled)) == hashes
    assert ruled == sorted(ruled, key=hashes.index)


def _heard_of_another_file(cell: Cell) -> bool:
    """Did the gate hear of a READY inspector that runs on another file?"""
    query = "SELECT count(*) FROM events WHERE kind = 'inspector' AND reason = '' AND detail LIKE '%the gate''s is%'"
    with contextlib.closing(sqlite3.connect(cell.folder / "records.db")) as records:
        return bool(records.execute(query).fetchone()[0])


@pytest.mark.nightly
def test_an_inspector_that_started_with_another_file_is_not_accepted_from_until_the_gate_reads_it_too() -> None:
    with make_cell(300) as cell:
        cell.start(robot=("--interval-ms", "20"))
        path, done_at = cell.folder / "cordon.toml", [0]
        hashes = [hashlib.sha256(path.read_bytes()).hexdigest()]

        def edit(done: int) -> None:
            if done >= 10 and len(hashes) == 1:
                hashes.append(_edit(path, 1))
                cell.line.children["inspector"].process.send_signal(signal.SIGKILL)
            elif len(hashes) == 2 and not done_at[0] and _heard_of_another_file(cell):
                done_at[0] = done
                _reload(cell, "gate")

        results = cell.run(edit)
        assert results[-2]["accepted"]
        assert not cell.escapes()
        cell.check_accounting()
        ruled = [config for (config,) in cell.records("SELECT DISTINCT config FROM verdicts WHERE outcome = 'ACCEPT'")]
        assert sorted(ruled) == sorted(hashes)
        between = [result for result in results[20 : done_at[0]] if result["accepted"]]
        assert between == []
