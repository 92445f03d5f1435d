from pathlib import Path

from faults.recorder.readers import readers_beside_the_recorder, wall_clock_jumps_in_the_records
from faults.registry import Effort


def effort(folder: Path) -> Effort:
    return Effort(name="quick", seed=3, folder=folder)


def test_readers_neither_stop_the_recorder_nor_let_its_log_grow_for_ever(tmp_path: Path) -> None:
    found = readers_beside_the_recorder(effort(tmp_path))
    assert found.passed, found.why_not()


def test_the_order_of_the_records_does_not_depend_on_the_wall_clock(tmp_path: Path) -> None:
    found = wall_clock_jumps_in_the_records(effort(tmp_path))
    assert found.passed, found.why_not()
