from pathlib import Path

from faults.recorder.failing import FAULTS, failing_calls, summary
from faults.recorder.worker import run_tasks
from faults.registry import Effort


def effort(folder: Path) -> Effort:
    return Effort(name="quick", seed=3, folder=folder)


def test_a_recorder_whose_calls_fail_latches_keeps_its_rows_and_writes_them_later(tmp_path: Path) -> None:
    found = failing_calls(effort(tmp_path))
    assert found.passed, found.why_not()
    assert set(found.injections_by_row) == {"D01", "D02", "D03"}
    assert min(found.injections_by_row.values()) > 0


def test_a_recorder_that_takes_a_failed_write_for_a_good_one_is_found_out(tmp_path: Path) -> None:
    task = {"do": "failing:running", "fault": "sync fails once", "points": [1, 2, 3, 4], "defect": "careless"}
    found = summary(run_tasks(effort(tmp_path), [task]))
    assert not found.passed
    assert found.failures


def test_every_kind_of_failure_belongs_to_a_row_of_the_catalogue() -> None:
    assert {fault.row for fault in FAULTS.values()} == {"D01", "D02", "D03"}
