from pathlib import Path

import pytest

from edge.gate.quarantine import open_records
from faults.recorder import damage
from faults.recorder.damage import damaged_at_start, edited_rows, starts
from faults.recorder.preload import Control
from faults.recorder.worker import Place
from faults.registry import Effort


def effort(folder: Path) -> Effort:
    return Effort(name="quick", seed=3, folder=folder)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(folder=tmp_path, control=Control(tmp_path / "control", tmp_path / "r"))


def test_a_damaged_file_is_whole_all_the_same_or_put_aside_said_and_latched(tmp_path: Path) -> None:
    found = damaged_at_start(effort(tmp_path))
    assert found.passed, found.why_not()
    assert "put aside and latched 0" not in found.counter


def test_every_edit_of_a_row_is_named(tmp_path: Path) -> None:
    found = edited_rows(effort(tmp_path))
    assert found.passed, found.why_not()
    assert found.injections > 100


def test_a_gate_that_begins_a_new_file_without_a_word_is_found_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(path: Path, **stamps: str) -> object:
        for side in path.parent.glob(f"{path.name}*"):
            side.unlink()
        for side in path.parent.glob("records-*"):
            side.unlink()
        return open_records(path, **stamps)

    monkeypatch.setattr(damage, "open_records", silent)
    assert any("lost row 1 " in text for text in starts(place, harm="flip", name="", numbers=[1], seed=1)["failures"])


def test_a_gate_that_ends_with_a_traceback_is_found_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path, **_: str) -> object:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(damage, "open_records", broken)
    assert any("no error of Cordon's" in text for text in starts(place, harm="flip", name="", numbers=[1], seed=1)["failures"])


def test_a_chain_that_is_not_checked_is_found_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damage, "_verify", lambda _: "")
    found = damage.edits(place, rows=1, seed=1)
    assert found["named"] == 0
    assert len(found["failures"]) >= found["edits"] - 1
