from pathlib import Path

from faults.recorder.unsure import power_cut_after_a_failed_sync
from faults.recorder.worker import run_tasks
from faults.registry import Effort


def effort(folder: Path) -> Effort:
    return Effort(name="quick", seed=3, folder=folder)


def test_what_a_recovered_recorder_vouches_for_survives_a_power_cut(tmp_path: Path) -> None:
    found = power_cut_after_a_failed_sync(effort(tmp_path))
    assert found.passed, found.why_not()
    assert found.injections > 10


def test_a_recorder_that_shrugs_at_a_failed_sync_is_found_out(tmp_path: Path) -> None:
    tasks = [{"do": "unsure:replay", "seed": 1, "point": point, "states": 10, "defect": "careless"} for point in (1, 3, 5)]
    answers = run_tasks(effort(tmp_path), tasks)
    assert any("lost row" in text for answer in answers for text in answer["failures"])
