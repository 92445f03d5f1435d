"""The drill on the running cell, by hand: `--config /etc/cordon/cordon.toml --by-hand -s`."""

from pathlib import Path

import pytest
from drill_kit import DRILL, drill
from equipment_kit import Equipment

from edge.config import load_config
from sim.acceptance.camera_command import ByHand
from sim.acceptance.findings import Report, today


@pytest.mark.timeout(7_200)
def test_the_drill_on_the_running_cell(equipment: Equipment, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if equipment.config is None or not equipment.by_hand:
        pytest.skip("no running cell and nobody at it: --config /etc/cordon/cordon.toml --by-hand -s")
    report = Report(subject="drill", facts={"date": today(), "configuration": str(equipment.config)})
    with capsys.disabled():
        drill(DRILL, load_config(equipment.config).gate.records, ByHand(), report)
    report.save((equipment.papers or tmp_path) / "drill.md")
    assert report.accepted, report.failures


def test_each_step_says_what_to_do_and_what_must_be_seen() -> None:
    assert all(step.do and step.undo and step.expect for step in DRILL)
    assert len({step.name for step in DRILL}) == len(DRILL)
