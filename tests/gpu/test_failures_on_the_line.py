"""A line whose GPU fails: real gate, robot, camera and inspector; every weld is answered in time, and no bad one is accepted."""

from __future__ import annotations

import csv
import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import failure_kit
import pytest
from failure_kit import environment, inject, inspector_lines
from tiny import PUBLIC, frame_image

from edge.gate.records_cli import records_main
from sim.line import Child, Line, LineSpec

pytestmark = [pytest.mark.soft, pytest.mark.slow]
built = failure_kit.built
BUDGET_MS = 400.0
FALLBACK = 'fallback = "openvino"\nfallback_within_ms = 100.0'
LOST = {"GPU_FAULT", "INSPECTOR_DOWN", "NOT_READY"}
TOLD = "SELECT sum(count) FROM events WHERE kind = 'inspector' AND reason = 'GPU_FAULT'"
"""How often the inspector said that its GPU failed."""
Fault = Callable[["Cell"], None]


@dataclass
class Cell:
    """A line on which good and bad welds come in turn."""

    line: Line
    folder: Path

    @property
    def inspector(self) -> Child:
        return self.line.children["inspector"]

    @property
    def results(self) -> list[dict[str, Any]]:
        path = self.folder / "results.jsonl"
        return [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []

    @property
    def accepted(self) -> int:
        return sum(result["accepted"] for result in self.results)

    def run(self, faults: list[Fault], *, pace_ms: int = 30) -> list[dict[str, Any]]:
        """Let the robot work through the welds; whenever three more good ones were accepted, the next fault comes, and at last the end."""
        robot = self.line.start_robot(self.folder / "welds.csv", self.folder / "results.jsonl", "--interval-ms", str(pace_ms))
        self.line.start_daemons()
        until, wanted = time.monotonic() + 90, 3
        while robot.running and (faults or self.accepted < wanted):
            assert time.monotonic() < until, self.inspector.tail()
            if faults and self.accepted >= wanted:
                faults.pop(0)(self)
                wanted = self.accepted + 3
            self.line.step()
            time.sleep(0.01)
        self.line.stop()
        return self.results

    def records(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.folder / "records.db")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


@pytest.fixture
def cell(request: pytest.FixtureRequest, built: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cell]:
    count, more = request.param
    with tempfile.TemporaryDirectory(prefix="cordon-") as name:
        folder = Path(name)
        shutil.copytree(built, folder, dirs_exist_ok=True)
        with (folder / "welds.csv").open("w", newline="") as table:
            csv.writer(table).writerows([("part", "weld", "typology", "truth", "file"), *map(weld(folder), range(count))])
        for key, value in environment(folder).items():
            monkeypatch.setenv(key, value)
        lines = inspector_lines(folder, more=more)
        spec = LineSpec(folder=folder, bundle=folder / "tiny.bundle", key=PUBLIC, budget_ms=BUDGET_MS, inspector=lines)
        with Line(spec) as line:
            line.start_camera(folder / "welds.csv")
            yield Cell(line, folder)


def weld(folder: Path) -> Callable[[int], tuple[str, ...]]:
    """Writes the image of a number, the even ones good, and gives its row."""

    def row(number: int) -> tuple[str, ...]:
        file = folder / f"{number}.png"
        cv2.imwrite(str(file), frame_image(80 if number % 2 else 40, seed=number))
        return (f"P{number:04d}", "W1", "T2", "bad" if number % 2 else "good", str(file))

    return row


def fault(*lines: str) -> Fault:
    return lambda cell: inject(cell.inspector.process, cell.folder, *lines)


def check(cell: Cell, results: list[dict[str, Any]]) -> set[str]:
    """No escape, no late answer, a record for everything; returns why welds were rejected beside their defects."""
    assert not [number for number, result in enumerate(results) if number % 2 and result["accepted"]]
    assert max(float(result["latency_ms"]) for result in results) <= BUDGET_MS
    rows = cell.records(
        "SELECT (SELECT count(*) FROM verdicts v WHERE v.session = t.session AND v.sequence = t.sequence),"
        "(SELECT count(*) FROM dispositions d WHERE d.session = t.session AND d.sequence = t.sequence) FROM triggers t"
    )
    assert set(rows) == {(1, 1)}
    assert records_main(["verify", str(cell.folder / "records.db")]) == 0
    return {str(result["reason"]) for result in results} - {"OK", "DEFECT"}


@pytest.mark.parametrize("cell", [(800, "")], indirect=True)
def test_a_gpu_that_fails_costs_rejects_inside_the_budget_and_comes_back(cell: Cell) -> None:
    faults = [fault("tensorrt nan 0 5 0"), fault("driver sticky:700:after=4"), fault("driver hang:after=4")]
    results = cell.run(faults)
    reasons = check(cell, results)
    assert not faults
    assert cell.inspector.restarts == 2
    assert "SCORE_INVALID" in reasons
    assert reasons <= LOST | {"SCORE_INVALID"}
    assert cell.records(TOLD) == [(2,)]
    assert cell.records("SELECT DISTINCT backend FROM verdicts WHERE outcome = 'ACCEPT'") == [("tensorrt 10.3.0 Orin sm_87",)]


def pull_out(monkeypatch: pytest.MonkeyPatch) -> Fault:
    """The GPU goes, and the next start finds none."""

    def vanish(cell: Cell) -> None:
        monkeypatch.setenv("SOFTCUDA_DEVICE", "none")
        inject(cell.inspector.process, cell.folder, "driver vanish:after=4")

    return vanish


@pytest.mark.parametrize("cell", [(400, FALLBACK)], indirect=True)
def test_the_cpu_takes_the_place_of_a_gpu_that_is_gone_and_every_record_says_so(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    results = cell.run([pull_out(monkeypatch)])
    assert check(cell, results) <= LOST
    assert cell.records(TOLD) == [(1,)]
    accepted = cell.records("SELECT backend FROM verdicts WHERE outcome = 'ACCEPT' ORDER BY id")
    assert len(accepted) >= 6
    gone = next(number for number, (backend,) in enumerate(accepted) if not backend.startswith("tensorrt"))
    assert gone >= 3
    assert all(backend == "tensorrt 10.3.0 Orin sm_87" for (backend,) in accepted[:gone])
    assert all(backend.startswith("openvino ") and backend.endswith(" in place of tensorrt") for (backend,) in accepted[gone:])


@pytest.mark.parametrize("cell", [(60, "")], indirect=True)
def test_without_a_fallback_nothing_is_accepted_once_the_gpu_is_gone(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    results = cell.run([pull_out(monkeypatch)])
    # Three failures within a minute latch the gate, if the welds last so long.
    assert check(cell, results) <= LOST | {"LATCHED"}
    assert not [result for result in results[20:] if result["accepted"]]
    assert "no CUDA-capable device is detected" in cell.inspector.tail()
    assert cell.records(TOLD)[0] > (1,)
