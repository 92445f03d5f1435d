"""The simulated cell: no rule breaks, every kind of fault happens, equal seeds are equal runs, and a failure can be read again."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.gate.handshake import HandshakeSession
from faults import cli
from faults.registry import Effort, load
from faults.world import injector
from faults.world.batch import CYCLES, PROFILES, Sum, profile_of, run_batch, run_seed, seeds_of
from faults.world.core import Violation
from faults.world.kinds import CLOCK, KINDS
from faults.world.replay import replay
from faults.world.world import Outcome, World

SEED, RUNS = 12_345, 12


@pytest.fixture(scope="module")
def small() -> Sum:
    return run_batch(seed=3, runs=RUNS, jobs=1)


def test_no_rule_breaks_and_every_kind_of_fault_happens(small: Sum) -> None:
    result = injector.result_of(small)
    assert result.passed, result.why_not()
    assert result.cycles_simulated == RUNS * CYCLES
    assert min(small.counts.values()) > 0
    assert set(small.counts) == {*KINDS, CLOCK}
    assert small.accepted > 100 * RUNS // 2
    assert small.bad_shown > 150 * RUNS


def test_every_row_of_the_simulation_has_its_own_count(small: Sum) -> None:
    rows = injector.result_of(small).injections_by_row
    assert set(rows) == set(injector.ROWS)
    assert rows["C06"] == small.counts["blocked"]
    assert rows["C08"] == sum(small.counts[kind.name] for kind in KINDS.values() if "C08" in kind.rows)


@pytest.mark.slow
def test_the_sum_of_several_processes_is_the_sum_of_one(small: Sum) -> None:
    assert run_batch(seed=3, runs=RUNS, jobs=2) == small


def test_a_kind_that_never_happened_is_a_failure() -> None:
    found = Sum(counts=dict.fromkeys((*KINDS, CLOCK), 1) | {"echo": 0})
    assert injector.result_of(found).failures == ("the fault echo was never injected",)


@pytest.mark.parametrize(("kind", "count"), [("false accept", (1, 0)), ("lost record", (0, 1)), ("broken rule", (0, 0))])
def test_a_violation_is_counted_as_what_it_is_and_names_its_run(kind: str, count: tuple[int, int]) -> None:
    found = Sum(counts=dict.fromkeys((*KINDS, CLOCK), 1))
    found.add(Outcome(seed=77, profile="push", cycles=9, violation=Violation(kind, "seen")))
    result = injector.result_of(found)
    assert (result.false_accepts, result.lost_records) == count
    assert result.failures == (f"{kind}: seen (profile push; cordon faults --replay 77:9)",)
    assert not result.passed


def log_of(seed: int) -> str:
    lines: list[str] = []
    World(seed, profile_of(seed), log=lines.append).run(150)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_an_equal_seed_gives_an_equal_log_in_another_process(hash_seed: str) -> None:
    program = "import sys; sys.path.insert(0, sys.argv[1]); import test_world_simulation as t; print(t.log_of(t.SEED))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == log_of(SEED)


def test_other_seeds_give_other_runs() -> None:
    assert log_of(SEED) != log_of(SEED + len(PROFILES))
    assert {profile_of(seed) for seed in seeds_of(1, len(PROFILES))} == set(PROFILES)


def test_a_log_changes_nothing() -> None:
    lines: list[str] = []
    assert run_seed(SEED, log=lines.append) == run_seed(SEED)
    assert any("FAULT" in line for line in lines)


@pytest.fixture
def unlatched(monkeypatch: pytest.MonkeyPatch) -> int:
    """A planted defect, and the seed of a run that meets it."""
    monkeypatch.setattr(HandshakeSession, "_escaped", lambda *_: None)
    return next(seed for seed in range(0, 500, len(PROFILES)) if run_seed(seed).violation is not None)


def test_a_failure_is_replayed_in_words_up_to_its_end(unlatched: int) -> None:
    violation = run_seed(unlatched).violation
    assert violation is not None
    out = io.StringIO()
    assert replay(str(unlatched), out) == 1
    text = out.getvalue().splitlines()
    assert text[0] == f"run {unlatched}, profile handshake: time, cycle, who, what"
    assert "VIOLATION" in text[-3]
    assert text[-2] == str(violation)
    assert text[-1].startswith("the same rule breaks with these faults alone: ")
    assert "lie_accepted" in text[-1] or "ack_wrong" in text[-1]
    assert len(text[-1].split(", ")) < 10


def test_a_replay_can_end_with_a_cycle_and_finds_nothing_where_nothing_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--replay", f"{SEED}:3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {int(line[15:22]) for line in lines[1:-1]} == {0, 1, 2, 3}
    assert lines[-1] == f"no rule broken in {CYCLES} cycles"


@pytest.mark.parametrize("what", ["", "x", "1:", "1:2:3", "-1"])
def test_a_replay_of_nothing_is_refused(what: str) -> None:
    with pytest.raises(ConfigError, match="--replay"):
        replay(what, io.StringIO())


def test_the_suite_knows_the_simulation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(injector, "QUICK_CYCLES", CYCLES)
    found = load()["world.injector.simulated_cell"]
    result = found.inject(Effort(name="quick", seed=1, folder=tmp_path, jobs=1))
    assert result.cycles_simulated == CYCLES
    assert set(found.rows) == set(injector.ROWS)
