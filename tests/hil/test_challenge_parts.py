"""Challenge parts on a running line: nothing passes before them, a killed gate remembers them, a blind network stops everything."""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import pytest
from line_kit import GRAYS, Cell, make_cell
from tiny import frame_image

pytestmark = pytest.mark.slow
TABLE = """
[gate.challenge]
every_h = 1.0
[[gate.challenge.part]]
name = "MASTER"
weld = "W1"
expect = "good"
[[gate.challenge.part]]
name = "RED-RABBIT"
weld = "W1"
expect = "bad"
"""


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Iterator[Cell]:
    with make_cell(getattr(request, "param", 80), gate=TABLE) as made:
        yield made


def _challenge(cell: Cell, truths: Sequence[tuple[str, str, str]]) -> Path:
    """A table of challenge parts: name, what the camera sees, and the truth; the camera's table has them too."""
    rows = []
    for number, (part, seen, truth) in enumerate(truths):
        file = cell.folder / f"challenge-{number}.png"
        cv2.imwrite(str(file), frame_image(GRAYS["T2", seen], seed=1_000 + number))
        rows.append((part, "W1", "T2", truth, file))
    path = cell.folder / "challenge.csv"
    with path.open("w", newline="") as table:
        csv.writer(table).writerows([("part", "weld", "typology", "truth", "file"), *rows])
    with cell.welds.open("a", newline="") as table:
        csv.writer(table).writerows(rows)
    return path


def _show(cell: Cell, *truths: tuple[str, str, str]) -> None:
    """Start the line, with a robot that shows these before its production."""
    production = cell.folder / "production.csv"
    production.write_bytes(cell.welds.read_bytes())
    challenge = _challenge(cell, truths)
    cell.line.start_camera(cell.welds)
    cell.line.start_robot(production, cell.results_file, "--challenge", str(challenge), "--interval-ms", "25")
    cell.line.start_daemons()


def test_nothing_passes_before_the_challenge_and_a_killed_gate_remembers_it(cell: Cell) -> None:
    _show(cell, ("P-EARLY", "good", "good"), ("RED-RABBIT", "bad", "bad"), ("MASTER", "good", "good"))
    killed_ns: list[int] = []

    def kill(done: int) -> None:
        if done >= 10 and not killed_ns:
            killed_ns.append(time.monotonic_ns())
            cell.line.children["gate"].process.send_signal(signal.SIGKILL)

    results = cell.run(kill)
    assert cell.line.children["gate"].restarts >= 1
    early, bad, good, *production = results
    assert (early["accepted"], early["reason"]) == (False, "CHALLENGE")
    assert (bad["accepted"], bad["reason"]) == (False, "DEFECT")
    assert (good["accepted"], good["reason"]) == (True, "OK")
    assert {result["reason"] for result in production} & {"CHALLENGE"} == set()
    assert any(result["accepted"] for result in production if int(str(result["trigger_ns"])) > killed_ns[0])
    assert not cell.escapes()
    cell.check_accounting()
    kinds = cell.records("SELECT opened_by FROM triggers ORDER BY id LIMIT 4")
    assert kinds == [("trigger",), ("challenge-bad",), ("challenge-good",), ("trigger",)]
    told = [detail for (detail,) in cell.records("SELECT detail FROM events WHERE kind = 'challenge' ORDER BY id")]
    assert any(str(text).startswith("challenge passed by bundle ") for text in told)
    assert "still counts" in str(told[-1])


@pytest.mark.parametrize("cell", [10], indirect=True)
def test_a_network_that_takes_the_known_bad_part_for_good_stops_everything(cell: Cell) -> None:
    _show(cell, ("RED-RABBIT", "good", "bad"), ("MASTER", "good", "good"))
    results = cell.run()
    assert results[0]["reason"] == "CHALLENGE"
    assert {str(result["reason"]) for result in results[1:]} == {"LATCHED"}
    assert not any(result["accepted"] for result in results)
    cell.check_accounting()
    assert cell.records(
        "SELECT count(*) FROM events WHERE kind = 'challenge' AND detail LIKE 'challenge failed: known-bad RED-RABBIT W1%'"
    ) == [(1,)]
