"""The frame injectors pass on the product and find planted defects: an inspector that ignores the binding, the score, or old images."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults.line import cell, frames
from faults.line.cell import FaultLine, Setup
from faults.line.trial import Trial
from faults.registry import Effort, Result

FAULTY = Setup(faulty=True, budget_ms=300.0)


@pytest.fixture(scope="module", autouse=True)
def _ended() -> Iterator[None]:
    yield
    cell.close_all()


@pytest.fixture
def effort(tmp_path: Path) -> Effort:
    return Effort(name="quick", seed=1, folder=tmp_path)


@pytest.mark.parametrize(
    "inject",
    [frames.duplicates, frames.reordered, frames.truncated, frames.without_sense, frames.of_another_weld, frames.frozen, frames.clock_skew],
)
def test_every_faulty_frame_is_refused(inject: Callable[[Effort], Result], effort: Effort) -> None:
    result = inject(effort)
    assert result.passed, result.why_not()
    assert result.cycles_real > 0


@pytest.fixture(scope="module")
def faulty() -> Iterator[FaultLine]:
    line = FaultLine(FAULTY)
    line.settle()
    yield line
    line.close()


@pytest.mark.parametrize(("defect", "inject"), [("unbound", frames.reordered), ("blind", frames.clock_skew), ("forgetful", frames.frozen)])
def test_a_planted_defect_is_found(
    defect: str, inject: Callable[[Effort], Result], faulty: FaultLine, effort: Effort, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.order(planted=defect)
    if defect == "forgetful":
        faulty.restart_inspector()
        faulty.settle()
    monkeypatch.setattr(frames, "shared", lambda: faulty)
    found = (inject(replace(effort, seed=seed)) for seed in range(2, 7))
    assert any(not result.passed and result.false_accepts > 0 for result in found)


def test_a_trigger_without_its_record_is_counted_as_lost(faulty: FaultLine, effort: Effort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faults.line.trial.RECORDED_S", 0.5)
    faulty.order()
    trial = Trial(faulty, effort, "A01")
    trial.accepted()
    assert trial.audit()[:2] == (0, 0)
    trial.results.append(replace(trial.results[0], sequence=60_000))
    assert trial.audit()[1] == 1


def test_an_accept_on_another_frame_is_a_false_accept(faulty: FaultLine, effort: Effort) -> None:
    trial = Trial(faulty, effort, "A01")
    trial.accepted()
    trial.acceptable = {key: {"0" * 32} for key in trial.acceptable}
    assert trial.audit()[0] > 0
