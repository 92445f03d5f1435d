"""The configuration changed while the line runs: no weld notices, and every record says which file ruled it."""

import hashlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from line_kit import Cell, make_cell

pytestmark = pytest.mark.slow


@pytest.fixture
def cell() -> Iterator[Cell]:
    with make_cell(120) as made:
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
    hashes, due = [hashlib.sha256(path.read_bytes()).hexdigest()], [20, 60]

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


def test_an_inspector_that_started_with_another_file_is_not_accepted_from_until_the_gate_reads_it_too(cell: Cell) -> None:
    cell.start(robot=("--interval-ms", "20"))
    path, steps = cell.folder / "cordon.toml", [10, 70]

    def edit(done: int) -> None:
        if steps and done >= steps[0]:
            if steps.pop(0) == 10:
                _edit(path, 1)
                cell.line.children["inspector"].process.send_signal(signal.SIGKILL)
            else:
                _reload(cell, "gate")

    results = cell.run(edit)
    refused = [result for result in results[50:70] if not result["accepted"]]
    assert len(refused) == 20
    assert {result["reason"] for result in refused} <= {"NOT_READY", "INSPECTOR_DOWN"}
    assert results[-2]["accepted"]
    assert not cell.escapes()
    cell.check_accounting()
