"""One case: its rows hold every value in its own place, and its answer leaves in time or not at all."""

from __future__ import annotations

import msgspec
import pytest
from gate_kit import BUNDLE, MS, a_report

from edge.contract import Outcome, Reason, Settled, TriggerId
from edge.gate.case import Case, Discard, Latch, Record, Send, Stage, Tell, Ticket
from edge.gate.messages import PartVerdict, Verdict
from edge.gate.rows import Disposition, DispositionRow, TriggerRow, VerdictRow
from edge.gate.verdict import Asked, Decision

SESSION = "0123456789abcdef"
KEY = TriggerId(SESSION, 7)
ACCEPT, REJECT = Decision(Outcome.ACCEPT, Reason.OK, ""), Decision(Outcome.REJECT, Reason.DEFECT, "score 0.9")


def a_case(*, by: str = "trigger", typology: str | None = None, recipe: str = "R1") -> Case:
    asked = Asked(session=SESSION, sequence=7, part="P1", weld="" if by == "part" else "W1", typology=typology, by=by)
    return Case(asked=asked, opened_ns=1_000, cutoff_ns=1_000 + 95 * MS, deadline_ns=1_000 + 100 * MS, recipe=recipe)


def test_the_trigger_row_says_who_opened_what_when() -> None:
    assert a_case(typology="T2").trigger_row() == TriggerRow(
        session=SESSION, sequence=7, part="P1", weld="W1", typology="T2", recipe="R1", opened_by="trigger", opened_ns=1_000
    )


def test_a_verdict_without_a_frame_names_none() -> None:
    case = a_case(typology="T2")
    assert case.verdict_row(REJECT, None, 2_000) == VerdictRow(
        session=SESSION,
        sequence=7,
        part="P1",
        weld="W1",
        typology="T2",
        outcome="REJECT",
        reason="DEFECT",
        detail="score 0.9",
        opened_ns=1_000,
        decided_ns=2_000,
    )
    assert case.frame is None


def test_a_verdict_on_a_frame_holds_all_it_rests_on() -> None:
    report = a_report(
        KEY,
        camera="cam3",
        counter=41,
        typology="T3",
        score=0.25,
        threshold=0.75,
        members=tuple(number / 100 for number in range(70)),
        backend="tensorrt",
        payload_hash="d" * 32,
        captured_ns=11,
        received_ns=12,
        prepared_ns=13,
        scored_ns=14,
    )
    case = a_case()
    row = case.verdict_row(ACCEPT, report, 2_000)
    assert row == VerdictRow(
        session=SESSION,
        sequence=7,
        part="P1",
        weld="W1",
        typology="T3",
        outcome="ACCEPT",
        reason="OK",
        detail="",
        score=0.25,
        threshold=0.75,
        members="[" + ",".join(["0.0", *(f"{number / 100}" for number in range(1, 64))]) + "]",
        bundle=BUNDLE,
        backend="tensorrt",
        camera="cam3",
        counter=41,
        payload_hash="d" * 32,
        opened_ns=1_000,
        captured_ns=11,
        received_ns=12,
        prepared_ns=13,
        scored_ns=14,
        decided_ns=2_000,
    )
    assert case.frame == ("cam3", 41)


def test_the_typology_asked_for_stands_where_the_inspector_names_none() -> None:
    assert a_case(typology="T2").verdict_row(REJECT, a_report(KEY, typology=None), 2_000).typology == "T2"


@pytest.mark.parametrize(
    ("decision", "not_after_ns"),
    [(ACCEPT, 1_000 + 100 * MS), (REJECT, 1_000 + 200 * MS), (REJECT._replace(outcome=Outcome.NO_VERDICT), 1_000 + 200 * MS)],
)
def test_an_accept_never_leaves_after_the_deadline_and_anything_else_at_most_one_budget_later(
    decision: Decision, not_after_ns: int
) -> None:
    case = a_case()
    answer = Verdict(session=SESSION, sequence=7, part="P1", weld="W1", outcome=decision.outcome, reason=decision.reason)
    assert case.prepare(decision) == Send(answer, not_after_ns, KEY)
    assert (case.stage, case.sending, case.decided) == (Stage.SENDING, decision, None)
    again = case.resend(5)
    assert again == Send(answer, 5, KEY)
    assert again.message is case.answer


def test_a_part_verdict_counts_what_is_missing_and_names_the_first() -> None:
    case = a_case(by="part")
    assert case.prepare(ACCEPT).message == PartVerdict(
        session=SESSION, sequence=7, part="P1", missing=0, first=None, outcome=Outcome.ACCEPT, reason=Reason.OK
    )
    case.missing = ("W2", "W1", "W3")
    assert case.prepare(REJECT).message == PartVerdict(
        session=SESSION, sequence=7, part="P1", missing=3, first="W2", outcome=Outcome.REJECT, reason=Reason.DEFECT
    )


def test_only_a_case_with_an_answer_can_be_sent_again_and_only_one_that_judged_a_frame_settles() -> None:
    case = a_case()
    with pytest.raises(AssertionError):
        case.resend(1)
    case.decided = REJECT
    with pytest.raises(AssertionError):
        case.settled()
    case.decided, case.frame = None, ("cam0", 1)
    with pytest.raises(AssertionError):
        case.settled()


def a_disposition(**changes: object) -> DispositionRow:
    base = {"sent": "", "sent_reason": "", "done": "TIMEOUT", "detail": "", "sent_ns": None, "closed_ns": 9_000}
    return DispositionRow(session=SESSION, sequence=7, **{**base, **changes})


def test_a_disposition_says_what_was_sent_only_once_it_was_handed_over() -> None:
    case = a_case()
    assert case.disposition_row(Disposition.TIMEOUT, "", 9_000) == a_disposition()
    case.prepare(REJECT)
    assert case.disposition_row(Disposition.TIMEOUT, "", 9_000) == a_disposition()
    case.sent_ns = 8_000
    assert case.disposition_row(Disposition.REJECTED, "", 9_000) == a_disposition(
        sent="REJECT", sent_reason="DEFECT", done="REJECTED", sent_ns=8_000
    )


def test_a_disposition_joins_the_note_and_the_detail_that_there_are() -> None:
    case = a_case()
    assert case.disposition_row(Disposition.TIMEOUT, "silent", 9_000).detail == "silent"
    case.note = "noted"
    assert case.disposition_row(Disposition.TIMEOUT, "", 9_000).detail == "noted"
    assert case.disposition_row(Disposition.TIMEOUT, "silent", 9_000).detail == "noted; silent"


def test_a_settled_frame_carries_what_was_sent_or_else_decided() -> None:
    case = a_case()
    case.decided = ACCEPT
    case.verdict_row(ACCEPT, a_report(KEY, camera="cam3", counter=41), 2_000)
    assert case.settled() == Settled(trigger=KEY, camera="cam3", counter=41, outcome=Outcome.ACCEPT, reason=Reason.OK)
    case.prepare(case.withhold(Reason.RECORD_LATE, "late"))
    assert case.settled() == Settled(trigger=KEY, camera="cam3", counter=41, outcome=Outcome.REJECT, reason=Reason.RECORD_LATE)


def test_a_withheld_accept_becomes_a_reject_with_its_reason_and_leaves_a_note() -> None:
    case = a_case()
    assert case.withhold(Reason.RECORD_LATE, "late") == (Outcome.REJECT, Reason.RECORD_LATE, "ACCEPT withheld: late")
    assert case.note == "ACCEPT withheld: late"


def test_a_new_case_waits_and_has_done_nothing_yet() -> None:
    case = a_case()
    assert (case.stage, case.trigger_durable, case.refused_busy, case.resend_ns, case.sent_ns) == (Stage.WAITING, False, False, 0, None)
    assert (case.missing, case.heard, case.plan, case.note, case.done) == ((), None, None, "", None)
    assert (case.decided, case.sending, case.answer, case.frame) == (None, None, None, None)


@pytest.mark.parametrize("action", [Ticket, Send, Record, Tell, Discard, Latch])
def test_what_a_session_asked_for_does_not_change(action: type[msgspec.Struct]) -> None:
    assert action.__struct_config__.frozen
