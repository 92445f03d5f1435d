import sys
import time
from pathlib import Path

import pytest

from edge.config import load_config
from edge.errors import SimulationError
from sim.line import BACKOFF_S, Child, Line, LineSpec


def _spec(tmp_path: Path) -> LineSpec:
    return LineSpec(folder=tmp_path, bundle=tmp_path / "b", key="ab" * 32, budget_ms=50, gate="resend_ms = 7.0")


def _child(tmp_path: Path, code: str, *, restart: bool = True) -> Child:
    child = Child("child", (sys.executable, "-c", code), tmp_path / "child.log", restart)
    child.start()
    return child


def test_the_configuration_it_writes_is_one_the_daemons_take(tmp_path: Path) -> None:
    config = load_config(_spec(tmp_path).write_config())
    assert (config.gate.budget_ms, config.gate.resend_ms, config.inspector.camera[0].name) == (50.0, 7.0, "cam0")


def test_a_child_that_dies_is_started_again_with_growing_pauses(tmp_path: Path) -> None:
    child = _child(tmp_path, "raise SystemExit(3)")
    until = time.monotonic() + 10
    while child.restarts < 2 and time.monotonic() < until:
        child.revive(time.monotonic())
        time.sleep(0.01)
    assert child.restarts == 2
    child.process.wait(timeout=5)
    child.revive(time.monotonic())
    assert child.due_s > time.monotonic() + BACKOFF_S[1]


def test_a_child_that_may_end_is_left_alone(tmp_path: Path) -> None:
    child = _child(tmp_path, "pass", restart=False)
    child.process.wait(timeout=5)
    child.revive(time.monotonic())
    assert (child.restarts, child.due_s) == (0, 0.0)


def test_what_does_not_come_up_is_an_error_that_shows_the_log(tmp_path: Path) -> None:
    with Line(_spec(tmp_path)) as line:
        child = line.start("broken", "sim", "nothing", restart=False)
        with pytest.raises(SimulationError, match="usage: cordon sim"):
            line.wait(lambda: False, child, seconds=5, what="a line that cannot start")
