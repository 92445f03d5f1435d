from pathlib import Path

import msgspec
import pytest

from faults.recorder import retained
from faults.recorder.preload import Control
from faults.recorder.retained import months
from faults.recorder.worker import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    # Without the library the clock does not jump; the limit by size alone then asks for the deletions.
    return Place(folder=tmp_path, control=Control(tmp_path / "control", tmp_path / "r"))


def test_nothing_goes_that_was_not_exported(place: Place) -> None:
    found = months(place, seed=1, days=12)
    assert [text for text in found["failures"] if "alarms" not in text] == []
    assert found["deleted"] > 0


def test_a_retention_that_does_not_ask_for_the_export_is_found_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retained, "STORAGE", msgspec.structs.replace(retained.STORAGE, exported_only=False))
    assert any("nothing was exported" in text for text in months(place, seed=1, days=12)["failures"])
