"""Whatever goes wrong inside the verdict, it is never ACCEPT; a verdict that forgives an exception is found."""

from pathlib import Path

import pytest

from edge.contract import Outcome, Reason
from edge.gate.verdict import Decision, Facts, decide
from faults.line import conditions
from faults.registry import Effort


def test_no_exception_inside_the_verdict_accepts(tmp_path: Path) -> None:
    result = conditions.inside_the_verdict(Effort(name="quick", seed=1, folder=tmp_path))
    assert result.passed, result.why_not()
    assert result.injections > 2_000


def test_a_verdict_that_forgives_exceptions_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgiving(facts: Facts) -> Decision:
        decision = decide(facts)
        return Decision(Outcome.ACCEPT, Reason.OK, "") if decision.reason is Reason.INTERNAL else decision

    monkeypatch.setattr(conditions, "decide", forgiving)
    assert not conditions.inside_the_verdict(Effort(name="quick", seed=1, folder=tmp_path)).passed


def test_a_verdict_that_raises_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(facts: Facts) -> Decision:
        decision = decide(facts)
        if decision.reason is Reason.INTERNAL and "ValueError" in decision.detail:
            raise ValueError
        return decision

    monkeypatch.setattr(conditions, "calls", lambda *_: (None, False))
    monkeypatch.setattr(conditions, "decide", raising)
    assert "raised ValueError" in conditions.inside_the_verdict(Effort(name="quick", seed=1, folder=tmp_path)).failures[0]
