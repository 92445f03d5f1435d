"""A report that is quicker than its trigger counts only while what the inspector said of itself still holds."""

from __future__ import annotations

import pytest
from gate_kit import Driven, a_state

from edge.contract import Outcome, TriggerId


def early(driven: Driven) -> TriggerId:
    assert driven.session.session is not None
    trigger = TriggerId(driven.session.session, 1)
    driven.report(trigger)
    return trigger


def test_a_report_before_its_trigger_is_used() -> None:
    driven = Driven().ready()
    early(driven)
    driven.trigger(1)
    assert [verdict.outcome for verdict in driven.verdicts] == [Outcome.ACCEPT]


@pytest.mark.parametrize(
    "then", [{"ready": False}, {"known_answers": 0}, {"camera_alive": False}, {"bundle": "c" * 64}, {"config": "d" * 64}]
)
def test_a_report_of_an_inspector_that_was_not_ready_is_not_used_once_it_is(then: dict[str, object]) -> None:
    driven = Driven().ready()
    driven.tell(a_state(**then))
    early(driven)
    driven.tell(a_state())
    driven.trigger(1)
    driven.pass_ms(100)
    assert [verdict.outcome for verdict in driven.verdicts] == [Outcome.REJECT]
