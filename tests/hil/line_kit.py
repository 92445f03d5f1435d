"""A whole line of processes with welds of known truth: what the tests of this room run, and what they read from its records."""

from __future__ import annotations

import csv
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest

pytest.importorskip("onnx", reason="a simulated line makes its own bundle, which needs onnx; the tests of real devices do not")
from tiny import PUBLIC, TinyBundle, frame_image

from edge.gate.records_cli import records_main
from sim.line import Line, LineSpec

BUDGET_MS = 400.0
GRAYS = {("T2", "good"): 40, ("T2", "bad"): 80, ("T5", "good"): 160, ("T5", "bad"): 200}


@dataclass
class Cell:
    """A line with `count` welds of known truth; `run` works through them and `results` says what the robot was told."""

    line: Line
    folder: Path
    welds: Path
    count: int

    def start(self, *camera: str, robot: tuple[str, ...] = ()) -> None:
        run = ("--config", str(self.line.spec.config))
        self.line.start_camera(self.welds, *camera)
        self.line.start("inspector", "run", "inspector", *run)  # it takes the longest, and waits for the gate by itself
        self.line.start_robot(self.welds, self.results_file, *robot)
        self.line.start("gate", "run", "gate", *run)

    def run(self, act: Callable[[int], None] = lambda _: None) -> list[dict[str, object]]:
        """Supervise until the robot has finished; `act` is called with the number of welds done."""
        robot = self.line.children["robot"]
        until = time.monotonic() + 90
        while robot.running:
            assert time.monotonic() < until, robot.tail()
            act(len(self.results))
            self.line.step()
            time.sleep(0.005)
        assert robot.process.returncode == 0, robot.tail()
        return self.results

    @property
    def results_file(self) -> Path:
        return self.folder / "results.jsonl"

    @property
    def results(self) -> list[dict[str, object]]:
        return [json.loads(text) for text in self.results_file.read_text().splitlines()] if self.results_file.exists() else []

    def escapes(self) -> list[dict[str, object]]:
        with self.welds.open(newline="") as table:
            truth = {(row["part"], row["weld"]): row["truth"] for row in csv.DictReader(table)}
        return [r for r in self.results if r["accepted"] and truth[str(r["part"]), str(r["weld"])] == "bad"]

    def records(self, query: str) -> list[tuple[object, ...]]:
        """Ask the record file after the line has ended."""
        self.line.stop()
        connection = sqlite3.connect(self.folder / "records.db")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def check_accounting(self) -> None:
        """I5: every trigger has one verdict and one disposition; the chain is whole."""
        rows = self.records(
            "SELECT (SELECT count(*) FROM verdicts v WHERE v.session = t.session AND v.sequence = t.sequence),"
            "(SELECT count(*) FROM dispositions d WHERE d.session = t.session AND d.sequence = t.sequence) FROM triggers t"
        )
        assert set(rows) == {(1, 1)}
        assert records_main(["verify", str(self.folder / "records.db")]) == 0


@contextmanager
def make_cell(count: int, *, named: bool = True, **spec: Any) -> Iterator[Cell]:
    """`count` welds, with a line in a folder of its own; `spec` goes to LineSpec."""
    with tempfile.TemporaryDirectory(prefix="cordon-") as name:
        folder = Path(name)
        bundle = TinyBundle().save(folder / "tiny.cordon")
        welds = _welds(folder, count, named=named)
        with Line(LineSpec(**{"folder": folder, "bundle": bundle, "key": PUBLIC, "budget_ms": BUDGET_MS, **spec})) as line:
            yield Cell(line, folder, welds, count)


def _welds(folder: Path, count: int, *, named: bool) -> Path:
    """T2 and T5, good and bad in turn, every image its own."""
    rows = []
    for number in range(count):
        (typology, truth), gray = list(GRAYS.items())[number % 4]
        file = folder / f"{number}.png"
        cv2.imwrite(str(file), frame_image(gray, seed=number))
        rows.append((f"P{number:04d}", "W1", typology if named else "", truth, file))
    path = folder / "welds.csv"
    with path.open("w", newline="") as table:
        csv.writer(table).writerows([("part", "weld", "typology", "truth", "file"), *rows])
    return path
