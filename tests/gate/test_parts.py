import itertools
import random

import msgspec
import pytest
from gate_kit import Driven, a_recipe, a_state

from edge.contract import Outcome, Reason
from edge.gate.messages import FEATURE_PARTS, FEATURE_TWICE, ChangeOver, Done, Hello, Nak, Refusal, Trigger, TriggerAck
from edge.gate.parts import MAX_OPEN, NOTE_CHARS, PART, Missing, PartFacts, Parts, decide_part, notes_of
from edge.gate.rows import TriggerRow
from edge.gate.verdict import Asked, Duty

SESSION = "0123456789abcdef"


def parts(*, recipe: str = "R1", durable: bool = True, **changes: object) -> Driven:
    recipes = (a_recipe("R1"), a_recipe("R2", W1="T3"))
    return Driven(recipes=recipes, recipe=recipe, durable=durable, **changes).ready()


def last(driven: Driven) -> tuple[Outcome, Reason]:
    return driven.verdicts[-1].outcome, driven.verdicts[-1].reason


def said(driven: Driven) -> tuple[Outcome, Reason, int, str | None]:
    verdict = driven.part_verdicts[-1]
    return verdict.outcome, verdict.reason, verdict.missing, verdict.first


ACCEPTED = (Outcome.ACCEPT, Reason.OK, 0, None)


# welds under a recipe


def test_without_an_active_recipe_no_weld_is_accepted_until_the_robot_names_one() -> None:
    driven = parts(recipe="")
    driven.trigger(1)
    assert last(driven) == (Outcome.REJECT, Reason.RECIPE)
    assert isinstance(driven.change_over(2, "R1"), ChangeOver)
    driven.report(driven.trigger(3))
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)
    assert [row.recipe for row in driven.table(TriggerRow)] == ["", "R1"]


@pytest.mark.parametrize(
    ("weld", "typology", "reason"),
    [("W9", "T2", Reason.WELD_UNKNOWN), ("W1", "T3", Reason.TYPOLOGY_DIFFERS), ("W9", None, Reason.WELD_UNKNOWN)],
)
def test_a_weld_that_is_not_as_in_the_recipe_is_rejected(weld: str, typology: str | None, reason: Reason) -> None:
    driven = parts()
    driven.trigger(1, weld=weld, typology=typology)
    assert last(driven) == (Outcome.REJECT, reason)
    driven.pass_ms(60)
    driven.check_books()


def test_a_trigger_without_a_typology_gets_the_recipes() -> None:
    driven = parts()
    key = driven.trigger(1, typology=None)
    assert driven.told[-1].typology == "T2"
    driven.report(key, typology="T3", typology_named="T3")
    assert last(driven) == (Outcome.REJECT, Reason.TYPOLOGY_DIFFERS)
    driven.trigger(1, typology=None)
    assert len(driven.table(TriggerRow)) == 1


def test_without_recipes_nothing_of_this_exists() -> None:
    driven = Driven().ready()
    assert driven.of(Hello)[-1].must == 0
    assert driven.change_over(1, "R1") == Nak(session=driven.session.session, sequence=1, reason=Refusal.RECIPE)
    driven.query(2)
    assert driven.of(Nak)[-1].reason is Refusal.RECIPE
    assert not driven.table(TriggerRow)
    driven.report(driven.trigger(3))
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)
    driven.hear(Hello(nonce="dddddddd", must=FEATURE_PARTS))
    assert driven.of(Nak)[-1].reason is Refusal.RECIPE


def test_the_gates_hello_says_what_a_robot_must_know() -> None:
    assert parts().of(Hello)[-1].must == FEATURE_PARTS
    assert parts(degraded=True).of(Hello)[-1].must == FEATURE_PARTS | FEATURE_TWICE
    assert Driven(degraded=True).ready().of(Hello)[-1].must == FEATURE_TWICE


# the part verdict


def test_a_part_is_accepted_when_every_weld_was_accepted_and_confirmed() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    driven.weld(2, weld="W2")
    key = driven.query(3)
    assert said(driven) == ACCEPTED
    driven.confirm(key, Outcome.ACCEPT, Done.ACCEPTED)
    row = driven.table(TriggerRow)[-1]
    assert (row.part, row.weld, row.opened_by, row.recipe) == ("P1", "", "part", "R1")
    assert (driven.dispositions[-1].sent, driven.dispositions[-1].done) == ("ACCEPT", "ACCEPTED")
    assert not [event for event in driven.events if event.kind == "part"]
    driven.check_books()
    driven.check_order()


def test_a_part_verdict_is_durable_before_it_leaves() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    driven.weld(2, weld="W2")
    driven.durable = False
    driven.query(3)
    assert not driven.part_verdicts
    driven.settle()
    driven.act()
    assert said(driven) == ACCEPTED
    driven.check_order()


@pytest.mark.parametrize(("late", "reason"), [(True, Reason.RECORD_LATE), (False, Reason.RECORD_FAULT)])
def test_a_part_verdict_whose_record_is_late_or_fails_is_withheld(late: bool, reason: Reason) -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    driven.weld(2, weld="W2")
    driven.durable = False
    driven.query(3)
    if late:
        driven.pass_ms(95)
    else:
        driven.do(driven.session.record_failed, driven.tickets[-1], "disk full")
    assert said(driven) == (Outcome.REJECT, reason, 0, None)
    driven.settle()
    driven.act()
    assert len({verdict.outcome for verdict in driven.part_verdicts}) == 1
    driven.pass_ms(60)
    assert driven.dispositions[-1].sent == "REJECT"
    driven.check_books()


def test_missing_welds_are_counted_on_the_wire_and_all_named_in_the_record() -> None:
    driven = parts()
    driven.weld(1, weld="W2")
    driven.query(2)
    assert said(driven) == (Outcome.REJECT, Reason.WELDS_MISSING, 1, "W1")
    assert "1 missing: W1 was not shown" in driven.verdict_rows[-1].detail
    driven.pass_ms(60)
    driven.check_books()


@pytest.mark.parametrize(
    ("outcome", "done", "why"),
    [(Outcome.ACCEPT, Done.REJECTED, "ACCEPT OK REJECTED"), (None, None, "ACCEPT OK TIMEOUT")],
)
def test_an_accept_that_the_robot_did_not_carry_out_leaves_the_weld_missing(outcome: Outcome | None, done: Done | None, why: str) -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    key = driven.trigger(2, weld="W2")
    driven.report(key, weld="W2")
    if outcome is not None and done is not None:
        driven.confirm(key, outcome, done)
    driven.pass_ms(60)
    driven.query(3)
    assert said(driven) == (Outcome.REJECT, Reason.WELDS_MISSING, 1, "W2")
    assert why in driven.verdict_rows[-1].detail


def test_an_accept_whose_confirmation_the_query_overtakes_is_missing() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    driven.report(driven.trigger(2, weld="W2"), weld="W2")
    driven.query(3)
    assert said(driven) == (Outcome.REJECT, Reason.WELDS_MISSING, 1, "W2")
    assert "SUPERSEDED" in driven.verdict_rows[-1].detail


def test_an_accept_the_port_never_took_does_not_count_even_when_the_robot_says_so() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    key = driven.trigger(2, weld="W2")
    driven.port_takes = False
    driven.report(key, weld="W2")
    driven.port_takes = True
    driven.confirm(key, Outcome.ACCEPT, Done.ACCEPTED)
    driven.query(3)
    assert said(driven)[1:] == (Reason.WELDS_MISSING, 1, "W2")


def test_a_weld_shown_again_counts_by_its_last_verdict() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    driven.weld(2, weld="W2")
    driven.trigger(3, weld="W2")
    driven.pass_ms(95)
    assert last(driven) == (Outcome.REJECT, Reason.NO_FRAME)
    driven.query(4)
    assert said(driven)[1:] == (Reason.WELDS_MISSING, 1, "W2")


def test_a_technical_reject_may_be_repeated() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    key = driven.trigger(2, weld="W2")
    driven.pass_ms(95)
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    driven.weld(3, weld="W2")
    driven.query(4)
    assert said(driven) == ACCEPTED


def test_a_defect_stays_a_defect_until_the_part_is_closed() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    key = driven.trigger(2, weld="W2")
    driven.report(key, weld="W2", score=0.9)
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    driven.trigger(3, weld="W2")
    assert last(driven) == (Outcome.REJECT, Reason.DEFECT)
    assert "trigger 2 found this weld defective" in driven.verdict_rows[-1].detail
    driven.query(4)
    assert said(driven) == (Outcome.REJECT, Reason.WELDS_MISSING, 1, "W2")
    assert "W2 DEFECT in trigger 2" in driven.verdict_rows[-1].detail
    driven.weld(5, weld="W2")
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)


def test_a_defect_found_while_the_robot_sent_the_weld_again_stands() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    key = driven.trigger(2, weld="W2")
    driven.trigger(3, weld="W2")
    assert driven.of(Nak)[-1].reason is Refusal.BUSY
    driven.report(key, weld="W2", score=0.9)
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    driven.trigger(4, weld="W2")
    assert last(driven) == (Outcome.REJECT, Reason.DEFECT)


def test_a_weld_refused_as_busy_is_missing_even_if_its_older_trigger_is_accepted() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    key = driven.trigger(2, weld="W2")
    driven.trigger(3, weld="W2")
    driven.report(key, weld="W2")
    driven.confirm(key, Outcome.ACCEPT, Done.ACCEPTED)
    driven.query(4)
    assert said(driven)[1:] == (Reason.WELDS_MISSING, 1, "W2")


def test_a_query_ends_its_part_and_a_second_one_finds_nothing() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    driven.weld(2, weld="W2")
    driven.query(3)
    driven.query(4)
    assert said(driven) == (Outcome.REJECT, Reason.WELDS_MISSING, 2, "W1")
    driven.pass_ms(60)
    driven.check_books()
    driven.check_order()


def test_the_same_query_again_gets_the_same_answer_and_one_record() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    driven.weld(2, weld="W2")
    driven.query(3)
    driven.query(3)
    frames = [raw for raw in driven.raw if raw.startswith(b"$GW")]
    assert len(frames) == 2
    assert len(set(frames)) == 1
    assert len(driven.table(TriggerRow)) == 3
    driven.pass_ms(95)
    driven.query(3)
    assert driven.of(Nak)[-1].reason is Refusal.DEADLINE
    driven.query(3, part="P2")
    assert driven.of(Nak)[-1].reason is Refusal.SEQUENCE
    driven.check_order()


def test_an_unconfirmed_part_verdict_is_resent_identically_inside_the_budget() -> None:
    driven = parts()
    driven.query(1)
    driven.pass_ms(200)
    frames = [raw for raw in driven.raw if raw.startswith(b"$GW")]
    assert len(frames) == 2
    assert len(set(frames)) == 1
    assert driven.dispositions[-1].done == "TIMEOUT"


def test_a_query_while_a_trigger_is_open_is_refused_and_ends_its_part() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    key = driven.trigger(2, weld="W2")
    driven.query(3)
    assert driven.of(Nak)[-1].reason is Refusal.BUSY
    driven.query(3)
    assert [nak.reason for nak in driven.of(Nak)] == [Refusal.BUSY] * 2
    driven.report(key, weld="W2")
    driven.confirm(key, Outcome.ACCEPT, Done.ACCEPTED)
    driven.query(4)
    assert said(driven)[1:] == (Reason.WELDS_MISSING, 2, "W1")
    driven.pass_ms(60)
    driven.check_books()


def test_what_came_before_a_part_was_closed_does_not_reach_into_the_next_one() -> None:
    driven = parts()
    key = driven.trigger(1, weld="W1")
    driven.query(2)
    driven.trigger(3, weld="W2")
    driven.report(key, weld="W1", score=0.9)
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    driven.weld(4, weld="W1")
    driven.weld(5, weld="W2")
    driven.query(6)
    assert said(driven) == ACCEPTED


@pytest.mark.parametrize("how", ["hello", "unplugged", "silent"])
def test_a_lost_session_forgets_parts_and_the_recipe(how: str) -> None:
    driven = parts(recipe="R2")
    driven.change_over(1, "R1")
    driven.weld(2, weld="W1")
    driven.weld(3, weld="W2")
    if how == "unplugged":
        driven.do(driven.session.link_down, "end of file")
        driven.do(driven.session.link_up)
    elif how == "silent":
        driven.pass_ms(301)
    driven.tell(a_state())
    driven.hear(Hello(nonce="bbbbbbbb"))
    driven.trigger(1, weld="W2")
    assert last(driven) == (Outcome.REJECT, Reason.WELD_UNKNOWN)
    driven.change_over(2, "R1")
    driven.query(3)
    assert said(driven)[1:] == (Reason.WELDS_MISSING, 2, "W1")


def test_no_more_parts_than_fit_may_be_open() -> None:
    driven = parts()
    for number in range(1, MAX_OPEN + 1):
        driven.weld(number, part=f"P{number}")
    driven.trigger(MAX_OPEN + 1, part="P99")
    assert last(driven) == (Outcome.REJECT, Reason.PARTS_OPEN)
    driven.weld(MAX_OPEN + 2, part="P1", weld="W2")
    driven.query(MAX_OPEN + 3, part="P1")
    assert said(driven) == ACCEPTED
    driven.trigger(MAX_OPEN + 4, part="P99")
    assert driven.told[-1].part == "P99"


def test_a_part_of_999_welds_names_every_missing_one() -> None:
    names = [f"WELD-{number:03}-WITH-A-LONG-NM" for number in range(1, 1_000)]
    driven = Driven(recipes=[a_recipe("BIG", **dict.fromkeys(names, "T2"))], recipe="BIG").ready()
    for sequence, weld in enumerate(names[:5], start=1):
        driven.weld(sequence, weld=weld)
    driven.query(6)
    assert said(driven) == (Outcome.REJECT, Reason.WELDS_MISSING, 994, names[5])
    texts = [driven.verdict_rows[-1].detail, *(event.detail for event in driven.events if event.kind == "part")]
    assert all(len(text) < 2_000 for text in texts)
    assert all(f"{name} was not shown" in " ".join(texts) for name in names[5:])
    assert names[0] not in " ".join(texts)


def test_a_part_of_999_accepted_welds_is_accepted() -> None:
    names = [f"W{number}" for number in range(1, 1_000)]
    driven = Driven(recipes=[a_recipe("BIG", **dict.fromkeys(names, "T2"))], recipe="BIG").ready()
    for sequence, weld in enumerate(names, start=1):
        driven.weld(sequence, weld=weld)
        driven.tell(a_state())
    driven.query(1_000)
    assert said(driven) == ACCEPTED


def test_a_part_is_not_accepted_while_something_is_latched_or_the_store_is_broken() -> None:
    driven = parts()
    for sequence in (1, 3):
        driven.weld(sequence, weld="W1", part=f"P{sequence}")
        driven.weld(sequence + 1, weld="W2", part=f"P{sequence}")
    driven.do(driven.session.latched_for, ("a person must look",))
    driven.query(5, part="P1")
    assert said(driven)[:2] == (Outcome.REJECT, Reason.LATCHED)
    driven.query(50, part="P1")
    assert said(driven) == (Outcome.REJECT, Reason.LATCHED, 2, "W1")
    assert driven.events[-1].detail == "part P1, query 50: 2 missing: W1 was not shown, W2 was not shown"
    driven.do(driven.session.acknowledged)
    driven.do(driven.session.record_failed, None, "disk full")
    driven.query(51, part="P3")
    assert said(driven)[:2] == (Outcome.REJECT, Reason.RECORD_FAULT)


def test_a_part_query_is_not_acknowledged_like_a_trigger() -> None:
    driven = parts()
    driven.query(1)
    assert not driven.of(TriggerAck)


def test_a_dead_inspector_does_not_take_back_what_was_judged() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    driven.weld(2, weld="W2")
    driven.do(driven.session.inspector_down, "gone")
    driven.query(3)
    assert said(driven) == ACCEPTED


# change-over


def test_a_change_over_is_repeated_recorded_and_answered_once_however_often_it_comes() -> None:
    driven = parts()
    change = driven.change_over(1, "R2")
    assert change == ChangeOver(session=driven.session.session, sequence=1, recipe="R2")
    assert driven.change_over(1, "R2") == change
    assert [event.detail for event in driven.events if event.kind == "recipe"] == ["change-over to R2"]
    driven.trigger(2, weld="W1", typology="T3")
    assert driven.told[-1].typology == "T3"
    assert driven.change_over(1, "R2") == change
    assert driven.change_over(2, "R1").reason is Refusal.SEQUENCE


def test_an_older_change_over_that_comes_late_changes_nothing() -> None:
    driven = parts()
    driven.change_over(1, "R2")
    driven.change_over(2, "R1")
    assert driven.change_over(1, "R2").reason is Refusal.SEQUENCE
    driven.report(driven.trigger(3, weld="W2"), weld="W2")
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)


def test_an_unknown_recipe_is_refused_and_the_active_one_stays() -> None:
    driven = parts()
    refused = driven.change_over(1, "R9")
    assert refused == Nak(session=driven.session.session, sequence=1, reason=Refusal.RECIPE)
    assert driven.change_over(1, "R9") == refused
    driven.report(driven.trigger(2, weld="W2"), weld="W2")
    assert last(driven) == (Outcome.ACCEPT, Reason.OK)


def test_no_change_over_in_the_middle_of_a_part() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    assert driven.change_over(2, "R2").reason is Refusal.PART
    assert "refused: PART, open parts: P1" in driven.events[-1].detail
    assert driven.change_over(3, "R1").reason is Refusal.PART
    driven.query(4)
    assert isinstance(driven.change_over(5, "R2"), ChangeOver)


def test_no_change_over_while_a_part_verdict_waits_for_its_record() -> None:
    driven = parts()
    driven.weld(1, weld="W1")
    driven.weld(2, weld="W2")
    driven.durable = False
    driven.query(3)
    assert driven.change_over(4, "R2").reason is Refusal.PART


def test_a_weld_that_opens_no_part_does_not_stand_in_the_way_of_a_change_over() -> None:
    driven = parts()
    driven.trigger(1, weld="W9")
    driven.pass_ms(60)
    assert isinstance(driven.change_over(2, "R2"), ChangeOver)


# anything at all, and an oracle that knows nothing of the product's books


def _random_weld(driven: Driven, rng: random.Random, sequence: int, part: str) -> int:
    """One weld as robots and networks go, mostly well; returns the last sequence used."""
    weld, fate = rng.choice(("W1", "W2")), rng.choice(("good",) * 6 + ("defect", "not done", "timeout", "busy", "no frame", "query"))
    key = driven.trigger(sequence, part=part, weld=weld)
    if fate in ("busy", "query"):
        sequence += 1
        driven.trigger(sequence, part=part, weld=weld) if fate == "busy" else driven.query(sequence, part)
    if fate == "no frame":
        driven.pass_ms(95, step_ms=5)
        driven.confirm(key, Outcome.REJECT, Done.REJECTED)
        return sequence
    driven.report(key, part=part, weld=weld, score=0.9 if fate == "defect" else 0.1)
    if fate == "timeout":
        driven.pass_ms(60, step_ms=5)
    elif driven.session.session is not None and driven.verdicts[-1].sequence == key.sequence:
        accept = driven.verdicts[-1].outcome is Outcome.ACCEPT
        driven.confirm(key, driven.verdicts[-1].outcome, Done.ACCEPTED if accept and fate != "not done" else Done.REJECTED)
    return sequence


def test_no_part_is_accepted_without_proof_whatever_robot_and_line_do() -> None:
    assert sum(_random_shift(seed) for seed in range(30)) > 30


def _random_shift(seed: int) -> int:
    """Forty parts; returns how many were accepted."""
    rng = random.Random(seed)
    driven = parts()
    session, sequence = driven.session.session, 0
    for _ in range(40):
        part = rng.choice(("P1", "P2"))
        for _ in range(rng.randint(1, 4)):
            if rng.random() < 0.1:
                driven.hear(Hello(nonce=f"{rng.getrandbits(32):08x}"))
            if rng.random() < 0.2:
                sequence = 0 if driven.session.session != session else sequence
                session, sequence = driven.session.session, sequence + 1
                driven.change_over(sequence, rng.choice(("R1", "R2", "R1")))
            driven.tell(a_state())
            sequence = 0 if driven.session.session != session else sequence
            session = driven.session.session
            sequence = _random_weld(driven, rng, sequence + 1, part)
        sequence += 1
        driven.query(sequence, part)
    driven.do(driven.session.close)
    driven.check_parts((a_recipe("R1"), a_recipe("R2", W1="T3")))
    driven.check_order()
    driven.check_books()
    return sum(verdict.outcome is Outcome.ACCEPT for verdict in driven.part_verdicts)


def test_a_part_query_under_another_recipe_is_rejected_whatever_the_welds_were() -> None:
    driven = Driven(recipes=[a_recipe()], recipe="R1").ready()
    driven.weld(1, weld="W1")
    driven.weld(2, weld="W2")
    key = driven.query(3, recipe="R2")
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    assert (driven.part_verdicts[-1].outcome, driven.part_verdicts[-1].reason) == (Outcome.REJECT, Reason.RECIPE)
    driven.check_books()


# the decision as a conjunction


GOOD = PartFacts(
    now_ns=1,
    cutoff_ns=2,
    session=SESSION,
    asked=Asked(session=SESSION, sequence=7, part="P1", weld="", typology=None, by="part"),
    store_healthy=True,
    latched=(),
    recipe="R1",
    named="R1",
    welds=2,
    accepted=2,
    missing=(),
    challenge=Duty(role="", lack="", bundle="b" * 64),
)
WRONG: dict[str, object] = {
    "now_ns": 2,
    "session": None,
    "asked": msgspec.structs.replace(GOOD.asked, by="trigger"),
    "store_healthy": False,
    "latched": ("look",),
    "recipe": None,
    "named": "R2",
    "accepted": 1,
    "challenge": Duty(role="", lack="overdue", bundle="b" * 64),
    "missing": (Missing("W1", "was not shown"),),
}


def test_every_condition_of_a_part_can_fail_and_gives_its_reason() -> None:
    seen = {}
    for name, value in WRONG.items():
        outcome, reason, detail = decide_part(msgspec.structs.replace(GOOD, **{name: value}))
        assert outcome is not Outcome.ACCEPT
        seen[detail.split(":")[0]] = reason
    assert set(seen) == {condition.name for condition in PART}
    assert seen["every weld accepted"] is Reason.WELDS_MISSING


def test_no_combination_of_false_facts_accepts_a_part() -> None:
    assert decide_part(GOOD) == (Outcome.ACCEPT, Reason.OK, "")
    for size in range(1, len(WRONG) + 1):
        for names in itertools.combinations(WRONG, size):
            wrong = msgspec.structs.replace(GOOD, **{name: WRONG[name] for name in names})
            assert decide_part(wrong).outcome is not Outcome.ACCEPT


@pytest.mark.parametrize("name", PartFacts.__struct_fields__)
@pytest.mark.parametrize("value", [None, "x", object(), float("nan"), []])
def test_nonsense_in_any_fact_never_accepts_a_part(name: str, value: object) -> None:
    if name == "challenge" and value is None:
        return  # no such rule
    assert decide_part(msgspec.structs.replace(GOOD, **{name: value})).outcome is not Outcome.ACCEPT


def test_a_part_of_one_accepted_weld_is_accepted() -> None:
    assert decide_part(msgspec.structs.replace(GOOD, welds=1, accepted=1))[0] is Outcome.ACCEPT


@pytest.mark.parametrize(
    ("now_ns", "cutoff_ns", "detail"),
    [(2_002_500, 1_000_000, "1.002 ms too late"), (10**12, 1, "1000000.000 ms too late")],
)
def test_a_part_verdict_that_is_late_says_by_how_much(now_ns: int, cutoff_ns: int, detail: str) -> None:
    late = decide_part(msgspec.structs.replace(GOOD, now_ns=now_ns, cutoff_ns=cutoff_ns))
    assert late == (Outcome.REJECT, Reason.DEADLINE, f"before the deadline: {detail}")


def test_a_weld_whose_trigger_is_still_open_is_missing() -> None:
    book = Parts({"R1": a_recipe("R1")}, "R1")
    book.show(Trigger(session=SESSION, sequence=1, part="P1", weld="W1"))
    assert book.accepted("P1") == 0
    assert book.missing("P1")[0] == Missing("W1", "has no verdict yet")


def test_sixteen_parts_may_be_open() -> None:
    book = Parts({"R1": a_recipe("R1")}, "R1")
    for number in range(16):
        trigger = Trigger(session=SESSION, sequence=number + 1, part=f"P{number}", weld="W1")
        assert book.plan(trigger).room is True
        book.show(trigger)
    last = Trigger(session=SESSION, sequence=17, part="P17", weld="W1")
    assert book.plan(last).room is False
    book.show(last)
    assert "P17" not in book.open
    assert len(book.open) == MAX_OPEN


@pytest.mark.parametrize(("chars", "texts"), [(1_882, 1), (1_883, 2)])
def test_a_note_may_have_1900_characters(chars: int, texts: int) -> None:
    notes = notes_of((Missing("A", "x" * chars), Missing("B", "y")))
    assert len(notes) == texts
    assert "".join(notes) == f"2 missing: A {'x' * chars}, B y"


def test_a_part_without_welds_is_never_accepted() -> None:
    assert decide_part(msgspec.structs.replace(GOOD, welds=0, accepted=0))[1] is Reason.WELDS_MISSING


def test_notes_are_cut_between_welds() -> None:
    texts = notes_of(tuple(Missing(f"W{number}", "was not shown") for number in range(999)))
    assert texts[0].startswith("999 missing: W0 was not shown, W1 ")
    assert all(len(text) <= NOTE_CHARS for text in texts)
    assert all(len(text) > NOTE_CHARS - 30 for text in texts[:-1])
    assert "".join(texts).count("was not shown") == 999
