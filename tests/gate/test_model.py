import json
import subprocess
import sys

import pytest

from model.run import bugs, main, missing_tools
from model.scenarios import FULL, QUICK, SAMPLED, SHOWN_IN


def test_every_seeded_bug_has_a_world_that_shows_it() -> None:
    assert set(bugs()) == set(SHOWN_IN)
    assert len(bugs()) >= 12
    assert sorted(bugs().values()) == list(range(1, len(bugs()) + 1))


def test_scenarios_have_names_of_their_own() -> None:
    names = [scenario.name for scenario in (*FULL, *SAMPLED)]
    assert len(set(names)) == len(names)
    assert QUICK


def test_without_spin_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    assert main([]) == 3
    assert "apt-get install spin gcc" in capsys.readouterr().err


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_the_model_holds_and_every_seeded_bug_is_found() -> None:
    if missing := missing_tools():
        pytest.skip(f"not installed: {', '.join(missing)}")
    run = subprocess.run([sys.executable, "-m", "model.run", "--quick"], capture_output=True, text=True, check=False)
    summary = json.loads(run.stdout.splitlines()[-1])
    assert run.returncode == 0, run.stdout
    assert (summary["violations"], summary["bugs_found"]) == (0, summary["bugs_seeded"])
