import itertools
import math

import msgspec
import pytest
from gate_kit import BUNDLE, CONFIG, a_report, a_state
from hypothesis import given
from hypothesis import strategies as st

from edge.contract import CONTRACT_VERSION, Outcome, Reason, TriggerId
from edge.gate.verdict import (
    AFTER_FRAME,
    BEFORE_FRAME,
    Asked,
    Condition,
    Decision,
    Duty,
    Facts,
    Plan,
    always,
    decide,
    finding,
    judge,
    refuse_early,
)

SESSION = "0123456789abcdef"
NAN, INF = math.nan, math.inf


def facts(**changes: object) -> Facts:
    asked = Asked(session=SESSION, sequence=7, part="P1", weld="W1", typology="T2", by="trigger")
    good = Facts(
        now_ns=1_000,
        cutoff_ns=2_000,
        session=SESSION,
        asked=asked,
        report=a_report(TriggerId(SESSION, 7), received_ns=900),
        inspector=a_state(),
        inspector_alive=True,
        configs=(CONFIG,),
        pinned=BUNDLE,
        store_healthy=True,
        latched=(),
        plan=None,
        challenge=None,
    )
    return msgspec.structs.replace(good, **changes)


def reported(**changes: object) -> Facts:
    return facts(report=a_report(**{"trigger": TriggerId(SESSION, 7), "received_ns": 900, **changes}))


def planned(**changes: object) -> Facts:
    return facts(plan=msgspec.structs.replace(Plan(recipe="R1", typology="T2", room=True), **changes))


def challenged(role: str = "", lack: str | None = "", bundle: str = BUNDLE, **changes: object) -> Facts:
    return facts(challenge=Duty(role=role, lack=lack, bundle=bundle), **changes)


def inspected(**changes: object) -> Facts:
    return facts(inspector=a_state(**changes))


def test_everything_true_is_accept() -> None:
    assert decide(facts())[:2] == (Outcome.ACCEPT, Reason.OK)
    assert decide(facts(pinned=""))[:2] == (Outcome.ACCEPT, Reason.OK)
    assert decide(reported(score=0.5, threshold=0.5))[0] is Outcome.ACCEPT
    assert decide(planned())[0] is Outcome.ACCEPT
    assert decide(challenged())[0] is Outcome.ACCEPT
    assert decide(challenged(role="good"))[0] is Outcome.ACCEPT


@pytest.mark.parametrize(
    "given_facts",
    [
        facts(now_ns=900),
        facts(now_ns=1_999),
        reported(received_ns=1),
        reported(score=0.0),
        inspected(known_answers=1),
        reported(members=(0.1,), members_expected=1),
    ],
)
def test_the_last_value_that_is_allowed_is_accepted(given_facts: Facts) -> None:
    assert decide(given_facts)[:2] == (Outcome.ACCEPT, Reason.OK)


ONE_FALSE: list[tuple[str, Facts, Reason]] = [
    ("link session open", facts(session=None), Reason.SESSION_LOST),
    ("link session open", facts(session="f" * 16), Reason.SESSION_LOST),
    ("link session open", facts(asked=None), Reason.SESSION_LOST),
    ("records healthy", facts(store_healthy=False), Reason.RECORD_FAULT),
    ("records healthy", facts(store_healthy=None), Reason.RECORD_FAULT),
    ("not latched", facts(latched=("noise",)), Reason.LATCHED),
    ("not latched", facts(latched=None), Reason.INTERNAL),
    ("a recipe is active", planned(recipe=None), Reason.RECIPE),
    ("weld in the recipe", planned(typology=None), Reason.WELD_UNKNOWN),
    ("typology of the recipe", planned(typology="T3"), Reason.TYPOLOGY_DIFFERS),
    ("part open or room for it", planned(room=False), Reason.PARTS_OPEN),
    ("part open or room for it", planned(room=None), Reason.PARTS_OPEN),
    ("no defect in this part before", planned(defect=3), Reason.DEFECT),
    ("inspector connected and alive", facts(inspector=None), Reason.INSPECTOR_DOWN),
    ("inspector connected and alive", facts(inspector_alive=False), Reason.INSPECTOR_DOWN),
    ("inspector of this release", inspected(version=CONTRACT_VERSION + 1), Reason.NOT_READY),
    ("inspector ready", inspected(ready=False), Reason.NOT_READY),
    ("inspector ready", inspected(ready=False, fault_reason=Reason.BUNDLE_FAULT), Reason.BUNDLE_FAULT),
    ("inspector ready", inspected(fault_reason=Reason.ENGINE_FAILED), Reason.ENGINE_FAILED),
    ("inspector ready", inspected(fault_reason=Reason.OK), Reason.NOT_READY),
    ("same configuration", inspected(config="d" * 64), Reason.NOT_READY),
    ("same configuration", facts(configs=("d" * 64,)), Reason.NOT_READY),
    ("same configuration", facts(configs=()), Reason.NOT_READY),
    ("same configuration", facts(configs=("",), inspector=a_state(config="")), Reason.NOT_READY),
    ("same configuration", facts(configs=""), Reason.NOT_READY),
    ("known answers agreed", inspected(known_answers=0), Reason.NOT_READY),
    ("camera alive", inspected(camera_alive=False), Reason.NOT_READY),
    ("bundle loaded", inspected(bundle=""), Reason.BUNDLE_FAULT),
    ("bundle is the pinned one", inspected(bundle="c" * 64), Reason.BUNDLE_DIFFERS),
    ("typology in the bundle", inspected(typologies=("T3",)), Reason.TYPOLOGY_UNKNOWN),
    ("challenge parts passed", challenged(lack="overdue"), Reason.CHALLENGE),
    ("challenge parts passed", challenged(lack=None), Reason.CHALLENGE),
    ("challenge parts passed", challenged(role="bad", lack="overdue"), Reason.CHALLENGE),
    ("challenged bundle is the announced one", challenged(bundle="c" * 64), Reason.CHALLENGE),
    ("challenged bundle is the announced one", challenged(role="good", bundle=""), Reason.CHALLENGE),
    ("challenged bundle is the announced one", challenged(role="other", bundle=""), Reason.CHALLENGE),
    ("not a known-bad part", challenged(role="bad"), Reason.CHALLENGE),
    ("not a known-bad part", challenged(role="bad", bundle=""), Reason.CHALLENGE),
    ("not a known-bad part", challenged(role="other"), Reason.CHALLENGE),
    ("frame judged", facts(report=None), Reason.NO_FRAME),
    ("before the deadline", facts(now_ns=2_000), Reason.DEADLINE),
    ("frame received before now", reported(received_ns=1_001), Reason.DEADLINE),
    ("frame received before now", reported(received_ns=0), Reason.DEADLINE),
    ("frame bound to this trigger", facts(report=a_report(None, received_ns=900)), Reason.FRAME_UNBOUND),
    ("frame bound to this trigger", reported(trigger=TriggerId(SESSION, 6)), Reason.FRAME_UNBOUND),
    ("frame bound to this trigger", reported(trigger=TriggerId("f" * 16, 7)), Reason.FRAME_UNBOUND),
    ("frame of this part and weld", reported(part="P2"), Reason.FRAME_PART),
    ("frame of this part and weld", reported(weld="W2"), Reason.FRAME_PART),
    *[("frame usable", reported(reason=reason), reason) for reason in Reason if reason is not Reason.OK],
    ("typology agreed", reported(typology="T3"), Reason.TYPOLOGY_DIFFERS),
    ("typology agreed", reported(typology_named="T3"), Reason.TYPOLOGY_DIFFERS),
    ("typology agreed", reported(typology=None), Reason.TYPOLOGY_DIFFERS),
    ("judged by the announced bundle", reported(bundle="c" * 64), Reason.BUNDLE_DIFFERS),
    ("every member answered", reported(members=()), Reason.SCORE_INVALID),
    ("every member answered", reported(members=(), members_expected=0), Reason.SCORE_INVALID),
    ("every member answered", reported(members=(0.1,), members_expected=2), Reason.SCORE_INVALID),
    ("every member answered", reported(members=(0.1, NAN), members_expected=2), Reason.SCORE_INVALID),
    *[("score valid", reported(score=bad), Reason.SCORE_INVALID) for bad in (NAN, INF, -INF, -0.1, 1.1, None, "0", True)],
    *[("threshold valid", reported(threshold=bad), Reason.SCORE_INVALID) for bad in (NAN, INF, 0.0, 1.0, -1.0, None, "1", True)],
    ("score within the threshold", reported(score=0.500001), Reason.DEFECT),
    ("score within the threshold", reported(score=1.0), Reason.DEFECT),
]


@pytest.mark.parametrize(("name", "given_facts", "reason"), ONE_FALSE)
def test_one_false_condition_is_enough_and_gives_its_reason(name: str, given_facts: Facts, reason: Reason) -> None:
    outcome, seen, detail = decide(given_facts)
    assert outcome is (Outcome.NO_VERDICT if reason is Reason.SESSION_LOST else Outcome.REJECT)
    assert seen is reason
    assert detail.startswith(name)


UNNAMED = Asked(session=SESSION, sequence=7, part="P1", weld="W1", typology=None, by="trigger")


@pytest.mark.parametrize("confidence", [None, NAN, 0.0, 1.5, INF])
def test_a_typology_nobody_names_needs_a_confident_router(confidence: float | None) -> None:
    given_facts = reported(typology_named=None, router_confidence=confidence)
    assert decide(msgspec.structs.replace(given_facts, asked=UNNAMED))[:2] == (Outcome.REJECT, Reason.ROUTER_UNSURE)


@pytest.mark.parametrize("confidence", [0.001, 0.9, 1.0])
def test_a_typology_the_router_names_is_as_good_as_another(confidence: float) -> None:
    sure = reported(typology_named=None, router_confidence=confidence)
    assert decide(msgspec.structs.replace(sure, asked=UNNAMED))[0] is Outcome.ACCEPT


def test_a_routed_typology_must_be_in_the_bundle() -> None:
    routed = msgspec.structs.replace(reported(typology="T9", typology_named=None, router_confidence=0.9), asked=UNNAMED)
    assert decide(routed)[:2] == (Outcome.REJECT, Reason.TYPOLOGY_UNKNOWN)


def test_every_condition_has_been_seen_false() -> None:
    tested = {name for name, _, _ in ONE_FALSE} | {"typology named by someone", "judged typology in the bundle"}
    assert tested == {condition.name for condition in (*BEFORE_FRAME, *AFTER_FRAME)}


FIELDS = [f for f in Facts.__struct_fields__ if f not in ("pinned", "now_ns")]
WRONG: dict[str, object] = {
    "cutoff_ns": 1,
    "session": None,
    "asked": None,
    "report": None,
    "inspector": None,
    "inspector_alive": False,
    "configs": ("d" * 64,),
    "store_healthy": False,
    "latched": ("a person must look",),
    "plan": Plan(recipe="R1", typology=None, room=True),
    "challenge": Duty(role="", lack="overdue", bundle=BUNDLE),
}


def test_no_combination_of_false_facts_is_accepted() -> None:
    for size in range(1, len(FIELDS) + 1):
        for names in itertools.combinations(FIELDS, size):
            assert decide(facts(**{name: WRONG[name] for name in names}))[0] is not Outcome.ACCEPT


@pytest.mark.parametrize("name", [f for f in Facts.__struct_fields__ if f != "asked"])
@pytest.mark.parametrize("value", [None, "x", object(), NAN, []])
def test_nonsense_in_any_fact_is_never_accepted_and_never_raises(name: str, value: object) -> None:
    if name in ("report", "plan", "challenge") and value is None:
        return
    outcome, reason, _ = decide(facts(**{name: value}))
    assert outcome is not Outcome.ACCEPT
    assert reason is not Reason.OK


def test_an_exception_in_a_predicate_is_reject_internal() -> None:
    outcome, reason, detail = decide(facts(inspector=3))
    assert (outcome, reason) == (Outcome.REJECT, Reason.INTERNAL)
    assert "AttributeError" in detail


@given(st.floats(), st.floats(), st.lists(st.floats(), max_size=3), st.integers(0, 3))
def test_accept_only_ever_follows_from_finite_numbers_in_order(score: float, threshold: float, members: list[float], expected: int) -> None:
    given_facts = reported(score=score, threshold=threshold, members=tuple(members), members_expected=expected)
    if decide(given_facts)[0] is Outcome.ACCEPT:
        assert 0.0 <= score <= threshold < 1.0
        assert len(members) == expected >= 1
        assert all(math.isfinite(member) for member in members)


def test_a_frame_that_opened_its_own_case_must_not_name_a_trigger() -> None:
    own = Asked(session=SESSION, sequence=7, part="P1", weld="W1", typology=None, by="frame")
    assert decide(facts(asked=own))[1] is Reason.FRAME_UNBOUND
    assert decide(facts(asked=own, report=a_report(None, received_ns=900)))[0] is Outcome.ACCEPT


def test_what_no_frame_can_change_is_refused_before_one_comes() -> None:
    assert refuse_early(facts(report=None)) is None
    refused = refuse_early(facts(report=None, inspector=None))
    assert refused is not None
    assert refused.reason is Reason.INSPECTOR_DOWN


@pytest.mark.parametrize(
    ("given_facts", "detail"),
    [
        (facts(inspector=None), "not connected"),
        (facts(inspector_alive=False), "silent"),
        (inspected(ready=False, fault="no device"), "no device"),
        (inspected(camera_alive=False), "ready=True known answers=4 camera alive=False"),
        (facts(pinned="0123456789abcdef"), "announced bbbbbbbbbbbb, pinned 0123456789ab"),
        (inspected(typologies=("T3",)), "T2 is not in it"),
        (facts(now_ns=2_002_500, cutoff_ns=1_000_000), "1.002 ms too late"),
        (facts(now_ns=10**12, cutoff_ns=1), "1000000.000 ms too late"),
        (reported(bundle="0123456789abcdef"), "judged by 0123456789ab, announced bbbbbbbbbbbb"),
        (reported(score=0.75), "score 0.750000 above 0.500000"),
    ],
)
def test_the_detail_shows_the_values_that_decided(given_facts: Facts, detail: str) -> None:
    assert decide(given_facts).detail.partition(": ")[2] == detail


@pytest.mark.parametrize("reason", [Reason.OK, "OK", None, "DEFECT"])
def test_a_condition_that_fails_without_a_reason_is_reject_internal(reason: Reason) -> None:
    nameless = Condition("nameless", lambda _: False, always(reason), lambda _: "")
    assert judge(None, (nameless,)) == Decision(Outcome.REJECT, Reason.INTERNAL, "nameless failed without a reason")


MISSING = [
    *[(facts(report=None), condition) for condition in AFTER_FRAME[2:-1]],
    *[(facts(inspector=None), condition) for condition in (*BEFORE_FRAME[9:17], *AFTER_FRAME[8:10])],
    (challenged(inspector=None), BEFORE_FRAME[18]),
    (challenged(role="bad", report=None), AFTER_FRAME[-1]),
    *[(facts(asked=None), condition) for condition in (BEFORE_FRAME[16], *AFTER_FRAME[3:5])],
]


@pytest.mark.parametrize(("given_facts", "condition"), MISSING)
def test_a_condition_that_needs_a_missing_fact_says_so(given_facts: Facts, condition: Condition[Facts]) -> None:
    outcome, reason, detail = judge(given_facts, (condition,))
    assert (outcome, reason, detail) == (Outcome.REJECT, Reason.INTERNAL, f"{condition.name}: AssertionError: ")


def test_a_known_bad_part_needs_no_challenge_before_it_and_is_never_accepted() -> None:
    for lack, bundle in (("", ""), ("", "c" * 64), ("", BUNDLE)):
        bad = challenged(role="bad", lack=lack, bundle=bundle)
        assert refuse_early(bad) is None
        assert decide(bad)[1] is Reason.CHALLENGE
        defect = msgspec.structs.replace(bad, report=reported(score=0.9).report)
        assert decide(defect)[1] is Reason.DEFECT


def test_where_no_challenge_is_configured_its_conditions_hold() -> None:
    for condition in (*BEFORE_FRAME[17:], AFTER_FRAME[-1]):
        assert condition.holds(facts(challenge=None)) is True


def test_a_finding_is_only_what_all_other_conditions_let_count() -> None:
    for role in ("", "good", "bad"):
        assert finding(challenged(role=role)) is True
        assert finding(challenged(role=role, report=reported(score=0.51).report)) is False
    for name, given_facts, _ in ONE_FALSE:
        expected = {"score within the threshold": False, "not a known-bad part": True}.get(name)
        assert finding(given_facts) is expected, name
    assert finding(challenged(role="bad", report=reported(score=0.9, reason=Reason.DEFECT).report)) is None
    assert finding(msgspec.structs.replace(planned(defect=1), challenge=Duty(role="bad", lack="", bundle=""))) is None


def test_what_a_recipe_says_of_a_trigger_is_only_asked_where_there_are_recipes() -> None:
    for condition in BEFORE_FRAME[4:8]:
        assert condition.holds(facts(plan=None)) is True
        with pytest.raises(AssertionError):
            condition.detail(facts(plan=None, asked=None))
