from pathlib import Path

import pytest

from faults.recorder.kill import sigkill_at_every_call, summary
from faults.recorder.worker import run_tasks
from faults.registry import Effort


def effort(folder: Path) -> Effort:
    return Effort(name="quick", seed=3, folder=folder)


def test_nothing_acknowledged_is_lost_when_the_recorder_is_killed_at_any_call(tmp_path: Path) -> None:
    found = sigkill_at_every_call(effort(tmp_path))
    assert found.passed, found.why_not()
    assert found.injections >= 50


@pytest.mark.parametrize(("defect", "seen"), [("early", "lost row"), ("forgetful", "left open for a second time")])
def test_a_recorder_with_this_defect_is_found_out(tmp_path: Path, defect: str, seen: str) -> None:
    task = {"do": "kill:kill_points", "seed": 3, "points": list(range(90, 150, 6)), "defect": defect}
    found = summary(run_tasks(effort(tmp_path), [task]))
    assert not found.passed
    assert any(seen in failure for failure in found.failures)
