"""The commissioning guide: its commands exist with the options it gives them, its links lead somewhere, its limits are known."""

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from edge.toml import parse_toml
from sim.acceptance.answers import BROKEN_FRAMES, WRONG_FIELDS
from sim.acceptance.camera_rules import RULES
from sim.acceptance.robot import OPENING

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "commissioning.md").read_text(encoding="utf-8")
BLOCKS = [line for block in re.findall(r"```\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
INLINE = re.findall(r"`((?:sudo )?cordon [^`]*)`", TEXT)
CORDON = sorted({command.removeprefix("sudo ") for command in (*BLOCKS, *INLINE) if re.match(r"(sudo )?cordon [a-z]", command)})
"""Every command of ours, without sudo."""
WORDS = {"sim": 2, "records": 2, "bundle": 2, "keys": 2, "run": 2}
"""How many words name a command; one, where nothing is said."""


def _options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))


@cache
def _help(words: tuple[str, ...]) -> str:
    done = subprocess.run([sys.executable, "-m", "edge", *words, "--help"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_guide_names_commands_of_ours() -> None:
    assert any(command.startswith("cordon sim accept-robot") for command in CORDON)
    assert len(CORDON) > 10


@pytest.mark.parametrize("command", CORDON)
def test_each_command_of_the_guide_exists_with_its_options(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    name = words[: WORDS.get(words[0], 1)]
    told = _help(tuple(name))
    assert _options(command) <= _options(told), (command, _options(command) - _options(told))


def test_options_and_files_of_the_test_runs_in_the_guide_exist() -> None:
    runs = [line for line in BLOCKS if "-m pytest" in line]
    known = _options((ROOT / "tests" / "hil" / "conftest.py").read_text())
    assert runs
    for run in runs:
        assert _options(run) <= known, run
        assert all((ROOT / word).exists() for word in shlex.split(run, comments=True) if word.startswith("tests/")), run
    table = TEXT[TEXT.index("| option | |") :]
    assert known - _options(table) == set()


def test_every_link_and_file_of_the_guide_is_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
    for path in re.findall(r"`((?:docs|tests|examples)/[\w/.-]+)`", TEXT):
        assert (ROOT / path).exists(), path


def test_the_cells_limits_of_the_guide_are_budgets_that_exist() -> None:
    limits = parse_toml(re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL).group(1).encode())  # type: ignore[union-attr]
    known = parse_toml((ROOT / "tests" / "hil" / "budgets.toml").read_bytes())
    assert set(limits) <= set(known)


def test_rules_that_the_guide_names_are_rules_of_the_kit() -> None:
    rules = {rule for rule, _, _ in RULES} | {"alive on subscribing", "new run", "keys", "comes back"}
    table = TEXT[TEXT.index("| rule | what breaks it") : TEXT.index("## 9.")]
    named = {name.strip() for row in table.splitlines()[2:] if row.startswith("|") for name in row.split("|")[1].split(",")}
    assert named <= rules, named - rules
    assert len(WRONG_FIELDS) + len(BROKEN_FRAMES) + len(OPENING) > 40
