"""Challenge parts in a driven session: what is accepted, what is demanded, and what ends a challenge that was passed."""

from __future__ import annotations

import time

import msgspec
import pytest
from gate_kit import BUNDLE, MS, WALL, Driven, a_challenge, a_recipe, a_report, a_state

from edge.config import ChallengePart
from edge.contract import Outcome, Reason, TriggerId
from edge.gate.challenge import Passed, rule_of
from edge.gate.messages import Done, Hello, State
from edge.gate.recipe import Recipe
from edge.gate.rows import TriggerRow

MIN, HOUR = 60_000 * MS, 3_600_000 * MS
OTHER = "c" * 64


def challenged(profile: str = "handshake", **changes: object) -> Driven:
    driven = Driven(profile, challenge=a_challenge(**changes))
    driven.restore(None)
    return driven.ready()


def answer(driven: Driven) -> tuple[str, str]:
    return driven.verdicts[-1].outcome.value, driven.verdicts[-1].reason.value


def shown(driven: Driven, sequence: int, **names: str) -> None:
    """A good weld, and a robot that confirms what it was told."""
    key = driven.trigger(sequence, **names)
    driven.report(key, **names)
    outcome = driven.verdicts[-1].outcome
    driven.confirm(key, outcome, Done.ACCEPTED if outcome is Outcome.ACCEPT else Done.REJECTED)


def accepts(driven: Driven, sequence: int) -> bool:
    """Whether a good weld of production is accepted now."""
    shown(driven, sequence, part="P7")
    return driven.verdicts[-1].outcome is Outcome.ACCEPT


def detail(driven: Driven) -> str:
    return driven.verdict_rows[-1].detail


def told(driven: Driven) -> list[str]:
    return [row.detail for row in driven.events if row.kind == "challenge"]


def test_nothing_of_production_is_accepted_before_both_parts_passed() -> None:
    driven = challenged()
    assert not accepts(driven, 1)
    assert answer(driven) == ("REJECT", "CHALLENGE")
    assert "no challenge was passed yet; show BAD W1 (known bad), GOOD W1 (known good)" in detail(driven)
    driven.red_rabbit(2)
    assert answer(driven) == ("REJECT", "DEFECT")
    assert not accepts(driven, 3)
    shown(driven, 4, part="GOOD")
    assert answer(driven) == ("ACCEPT", "OK")
    assert accepts(driven, 5)
    driven.check_order()
    assert any(text.startswith(f"challenge passed by bundle {BUNDLE}") and "BAD W1 #2, GOOD W1 #4" in text for text in told(driven))


def test_without_the_table_nothing_changes() -> None:
    driven = Driven().ready()
    driven.restore(None)
    assert accepts(driven, 1)
    shown(driven, 2, part="GOOD")
    assert answer(driven) == ("ACCEPT", "OK")
    assert told(driven) == []
    assert driven.session.challenge(driven.now) is None
    assert driven.kept == [None]


def test_the_known_good_part_is_not_accepted_before_the_known_bad_one_was_found() -> None:
    driven = challenged()
    shown(driven, 1, part="GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")
    assert "the known-bad parts come first: BAD W1 (known bad)" in detail(driven)
    driven.challenge(2)
    assert accepts(driven, 4)
    shown(driven, 5, part="GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")
    assert accepts(driven, 6)


def test_a_known_good_part_is_accepted_once_in_a_challenge() -> None:
    parts = [ChallengePart(name=name, weld="W1", expect=expect) for name, expect in (("BAD", "bad"), ("GOOD", "good"), ("GOLD", "good"))]
    driven = Driven(challenge=a_challenge(*parts))
    driven.restore(None)
    driven.ready().red_rabbit(1)
    shown(driven, 2, part="GOOD")
    shown(driven, 3, part="GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")
    assert "once is enough" in detail(driven)
    shown(driven, 4, part="GOLD")
    assert accepts(driven, 5)


def test_a_known_bad_part_that_is_shown_again_must_be_found_again() -> None:
    driven = challenged()
    driven.red_rabbit(1)
    key = driven.trigger(2, part="BAD")
    driven.report(key, part="BAD", reason=Reason.FRAME_CRC)
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    shown(driven, 3, part="GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")


def test_known_good_parts_count_only_after_the_last_known_bad_one() -> None:
    parts = [ChallengePart(name=name, weld="W1", expect=expect) for name, expect in (("BAD", "bad"), ("GOOD", "good"), ("GOLD", "good"))]
    driven = Driven(challenge=a_challenge(*parts))
    driven.restore(None)
    driven.ready().red_rabbit(1)
    shown(driven, 2, part="GOOD")
    driven.red_rabbit(3)
    shown(driven, 4, part="GOLD")
    assert not accepts(driven, 5)
    shown(driven, 6, part="GOOD")
    assert accepts(driven, 7)


@pytest.mark.parametrize("score", [0.0, 0.1, 0.5])
def test_a_known_bad_part_judged_good_is_rejected_and_latches(score: float) -> None:
    driven = challenged()
    driven.red_rabbit(1, score=score)
    assert answer(driven) == ("REJECT", "CHALLENGE")
    assert "not a known-bad part: it was judged good" in detail(driven)
    (why,) = driven.latches
    assert why.startswith("challenge failed: known-bad BAD W1 was judged good in session")
    assert not accepts(driven, 2)
    assert answer(driven) == ("REJECT", "LATCHED")
    driven.do(driven.session.acknowledged)
    assert not accepts(driven, 3)
    assert "the last challenge failed: known-bad BAD W1" in detail(driven)
    driven.challenge(4)
    assert accepts(driven, 6)


def test_a_known_good_part_judged_bad_has_failed_as_well() -> None:
    driven = challenged()
    driven.red_rabbit(1)
    key = driven.trigger(2, part="GOOD")
    driven.report(key, part="GOOD", score=0.7)
    assert answer(driven) == ("REJECT", "DEFECT")
    assert driven.latches[0].startswith("challenge failed: known-good GOOD W1 was judged bad")


def test_a_failure_ends_a_challenge_that_counted() -> None:
    driven = challenged()
    driven.challenge(1)
    assert accepts(driven, 3)
    driven.red_rabbit(4, score=0.2)
    driven.do(driven.session.acknowledged)
    assert not accepts(driven, 5)
    assert driven.kept[-1] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": Reason.FRAME_CRC},
        {"reason": Reason.DEFECT},
        {"weld": "W2"},
        {"typology": "T3"},
        {"bundle": OTHER},
        {"members": ()},
        {"threshold": 0.0},
        {"score": float("nan")},
    ],
)
def test_a_reject_for_anything_but_the_score_proves_nothing(changes: dict[str, object]) -> None:
    driven = challenged()
    key = driven.trigger(1, part="BAD")
    driven.report(key, **{"part": "BAD", "score": 0.9, "members": (0.9,), **changes})
    assert driven.verdicts[-1].outcome is Outcome.REJECT
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    assert driven.latches == []
    shown(driven, 2, part="GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")
    driven.challenge(3)
    assert accepts(driven, 5)


def test_no_frame_proves_nothing() -> None:
    driven = challenged()
    key = driven.trigger(1, part="BAD")
    driven.pass_ms(100)
    assert answer(driven) == ("REJECT", "NO_FRAME")
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    shown(driven, 2, part="GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")
    assert any("trigger 1, proves nothing (REJECTED): show it again" in text for text in told(driven))


def test_a_reject_that_the_robot_does_not_confirm_proves_nothing() -> None:
    driven = challenged()
    key = driven.trigger(1, part="BAD")
    driven.report(key, part="BAD", score=0.9, members=(0.9,))
    driven.pass_ms(200)
    shown(driven, 2, part="GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")


def test_a_verdict_that_never_left_proves_nothing() -> None:
    driven = challenged("push")
    driven.port_takes = False
    driven.report(None, part="BAD", score=0.9, members=(0.9,), typology_named="T2")
    driven.port_takes = True
    driven.report(None, part="GOOD", counter=2, payload_hash="1" * 32)
    assert answer(driven) == ("REJECT", "CHALLENGE")


def test_a_known_good_part_that_the_robot_put_aside_proves_nothing() -> None:
    driven = challenged()
    driven.red_rabbit(1)
    key = driven.trigger(2, part="GOOD")
    driven.report(key, part="GOOD")
    driven.confirm(key, Outcome.ACCEPT, Done.REJECTED)
    assert not accepts(driven, 3)
    shown(driven, 4, part="GOOD")
    assert accepts(driven, 5)


def test_a_known_bad_part_that_the_robot_lets_pass_latches() -> None:
    driven = challenged()
    driven.red_rabbit(1, done=Done.ACCEPTED)
    assert any("possible escape" in why for why in driven.latches)


def test_a_challenge_once_begun_must_be_passed() -> None:
    driven = challenged()
    driven.challenge(1)
    driven.red_rabbit(3)
    assert driven.kept[-1] is None
    assert not accepts(driven, 4)
    assert "a challenge once begun must be passed; show GOOD W1 (known good)" in detail(driven)
    shown(driven, 5, part="GOOD")
    assert accepts(driven, 6)


def test_that_a_challenge_counts_no_more_is_asked_for_before_the_trigger_is_recorded() -> None:
    driven = challenged()
    driven.challenge(1)
    driven.log.clear()
    driven.trigger(3, part="BAD")
    assert driven.log[0] == ("kept", None)


def test_a_challenge_that_passed_is_kept_after_the_row_that_says_so() -> None:
    driven = challenged()
    driven.challenge(1)
    what, value = driven.log[-1]
    assert what == "kept"
    assert "challenge passed" in driven.log[-2][1].rows[0].detail
    passed = msgspec.json.decode(value, type=Passed)
    assert (passed.bundle, passed.recipe, passed.boot, passed.welds) == (BUNDLE, "", "boot", 2)


@pytest.mark.parametrize(("part", "weld"), [("bad", "W1"), ("Good", "W1"), ("BAD", "W2"), ("GOOD", "W9")])
def test_a_reserved_name_that_is_not_exactly_a_challenge_part_is_never_accepted(part: str, weld: str) -> None:
    driven = challenged()
    driven.challenge(1)
    shown(driven, 3, part=part, weld=weld)
    assert answer(driven) == ("REJECT", "CHALLENGE")
    assert "is none of the challenge" in detail(driven)
    assert accepts(driven, 4)


def test_records_tell_challenge_parts_from_those_of_production() -> None:
    driven = challenged()
    driven.challenge(1)
    shown(driven, 3)
    shown(driven, 4, part="BAD", weld="W2")
    rows = driven.table(TriggerRow)
    assert [row.opened_by for row in rows] == ["challenge-bad", "challenge-good", "trigger", "challenge-other"]
    driven.check_books()


def test_a_busy_challenge_part_is_recorded_as_one_and_changes_nothing() -> None:
    driven = challenged()
    driven.challenge(1)
    key = driven.trigger(3)
    driven.trigger(4, part="BAD")
    assert driven.table(TriggerRow)[-1].opened_by == "challenge-bad"
    driven.report(key)
    assert answer(driven) == ("ACCEPT", "OK")


def test_another_bundle_ends_it_and_the_old_one_does_not_bring_it_back() -> None:
    driven = challenged()
    driven.challenge(1)
    driven.tell(a_state(bundle=OTHER))
    key = driven.trigger(3, part="P7")
    driven.report(key, part="P7", bundle=OTHER)
    assert answer(driven) == ("REJECT", "CHALLENGE")
    assert f"bundle {OTHER[:12]} judges now, {BUNDLE[:12]} did" in detail(driven)
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    driven.tell(a_state())
    assert not accepts(driven, 4)
    driven.challenge(5)
    assert accepts(driven, 7)


def test_both_parts_must_be_judged_by_the_same_bundle() -> None:
    driven = challenged()
    driven.red_rabbit(1)
    driven.tell(a_state(bundle=OTHER))
    driven.tell(a_state())
    shown(driven, 2, part="GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")


def test_a_swap_between_verdict_and_confirmation_undoes_the_proof() -> None:
    driven = challenged()
    key = driven.trigger(1, part="BAD")
    driven.report(key, part="BAD", score=0.9, members=(0.9,))
    driven.tell(a_state(bundle=OTHER))
    driven.tell(a_state())
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    shown(driven, 2, part="GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")


def test_a_bundle_that_is_not_ready_ends_nothing() -> None:
    driven = challenged()
    driven.challenge(1)
    driven.tell(a_state(ready=False, bundle=OTHER, fault_reason=Reason.BUNDLE_FAULT, fault="it could not take over"))
    driven.tell(a_state())
    assert accepts(driven, 3)


def test_an_inspector_that_starts_again_with_the_same_bundle_needs_no_challenge() -> None:
    driven = challenged()
    driven.challenge(1)
    driven.do(driven.session.inspector_down, "killed")
    driven.do(driven.session.inspector_up)
    driven.tell(a_state(ready=False, bundle=""))
    driven.tell(a_state())
    assert accepts(driven, 3)


def test_a_session_that_ends_ends_the_challenge_under_way_and_not_the_one_that_passed() -> None:
    driven = challenged()
    driven.red_rabbit(1)
    driven.hear(Hello(nonce="bbbbbbbb"))
    shown(driven, 1, part="GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")
    driven.challenge(2)
    driven.hear(Hello(nonce="cccccccc"))
    assert accepts(driven, 1)


@pytest.mark.parametrize(("late_ns", "word"), [(0, "OK"), (1, "CHALLENGE")])
def test_all_parts_must_be_shown_within_the_time(late_ns: int, word: str) -> None:
    driven = challenged(within_min=1.0)
    driven.red_rabbit(1)
    driven.now += MIN + late_ns
    driven.tell(a_state())
    shown(driven, 2, part="GOOD")
    assert answer(driven)[1] == word
    assert accepts(driven, 3) is (word == "OK")


def test_a_gate_that_only_waits_for_challenge_parts_says_ready() -> None:
    driven = challenged()
    driven.pass_ms(200, step_ms=10)
    assert driven.frames[-1].state is State.READY


def test_push_needs_no_confirmation() -> None:
    driven = challenged("push")

    def frame(counter: int, part: str, score: float = 0.1) -> str:
        driven.report(None, part=part, counter=counter, payload_hash=f"{counter:032x}", score=score, members=(score,))
        return driven.verdicts[-1].reason.value

    assert [frame(1, "P1"), frame(2, "GOOD"), frame(3, "BAD", 0.9), frame(4, "GOOD"), frame(5, "P1"), frame(6, "BAD", 0.2)] == [
        "CHALLENGE",
        "CHALLENGE",
        "DEFECT",
        "OK",
        "OK",
        "CHALLENGE",
    ]
    assert [row.opened_by for row in driven.table(TriggerRow)][:3] == ["frame", "challenge-good", "challenge-bad"]
    assert len(driven.latches) == 1


def pushed(driven: Driven, counter: int, part: str, score: float = 0.1) -> None:
    driven.report(None, part=part, counter=counter, payload_hash=f"{counter:032x}", score=score, members=(score,))


def test_frames_of_a_known_good_part_that_follow_at_once_are_accepted_once() -> None:
    driven = challenged("push")
    pushed(driven, 1, "BAD", 0.9)
    driven.durable = False
    for counter in (2, 3, 4):
        pushed(driven, counter, "GOOD")
    driven.durable = True
    driven.settle()
    driven.act()
    assert [verdict.outcome.value for verdict in driven.verdicts] == ["REJECT", "REJECT", "REJECT", "ACCEPT"]
    assert "once is enough" in driven.verdict_rows[-1].detail
    status = driven.session.challenge(driven.now)
    assert (status.accepting, status.missing) == (True, ())


def test_a_known_good_part_that_proved_nothing_may_be_shown_again() -> None:
    driven = challenged("push")
    pushed(driven, 1, "BAD", 0.9)
    driven.report(None, part="GOOD", counter=2, payload_hash="2" * 32, reason=Reason.FRAME_CRC)
    driven.port_takes = False
    pushed(driven, 3, "GOOD")
    driven.port_takes = True
    pushed(driven, 4, "GOOD")
    pushed(driven, 5, "P7")
    assert answer(driven) == ("ACCEPT", "OK")


def test_what_was_shown_before_a_failure_proves_nothing_after_it() -> None:
    parts = [ChallengePart(name=name, weld="W1", expect=expect) for name, expect in (("BAD", "bad"), ("WORSE", "bad"), ("GOOD", "good"))]
    driven = Driven("push", challenge=a_challenge(*parts))
    driven.restore(None)
    driven.ready()
    driven.stuck = True
    pushed(driven, 1, "BAD", 0.9)
    first = driven.waiting[-1].key
    pushed(driven, 2, "WORSE", 0.1)
    assert len(driven.latches) == 1
    driven.stuck = False
    driven.do(driven.session.sent, first)
    driven.do(driven.session.acknowledged)
    pushed(driven, 3, "WORSE", 0.9)
    pushed(driven, 4, "GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")
    assert "the known-bad parts come first: BAD W1" in detail(driven)


def test_a_known_good_part_whose_accept_was_withheld_proves_nothing() -> None:
    driven = challenged("push")
    driven.report(None, part="BAD", score=0.9, members=(0.9,))
    driven.durable = False
    driven.report(None, part="GOOD", counter=2, payload_hash="1" * 32)
    driven.pass_ms(100)
    assert answer(driven) == ("REJECT", "RECORD_LATE")
    driven.durable = True
    driven.tell(a_state())
    driven.report(None, part="P7", counter=3, payload_hash="2" * 32)
    assert answer(driven) == ("REJECT", "CHALLENGE")


# recipes


def planned(**changes: object) -> Driven:
    parts = changes.pop("parts", ())
    preset = str(changes.pop("recipe", "R1"))
    recipes = [a_recipe("R1"), a_recipe("R2")]
    driven = Driven(recipes=recipes, recipe=preset, challenge=a_challenge(*parts, **changes))
    driven.restore(None)
    return driven.ready()


def test_a_change_over_ends_it_and_the_recipe_it_was_passed_under_brings_it_not_back() -> None:
    driven = planned()
    driven.challenge(1)
    driven.change_over(3, "R1")
    assert accepts(driven, 4)
    driven.query(5, "P7")
    driven.change_over(6, "R2")
    assert not accepts(driven, 7)
    assert "change-over to R2; show" in detail(driven)
    driven.query(8, "P7")
    driven.change_over(9, "R1")
    assert not accepts(driven, 10)


def test_a_change_over_in_the_middle_of_a_challenge_begins_it_anew() -> None:
    driven = planned(after_change_over=False)
    driven.red_rabbit(1)
    driven.change_over(2, "R2")
    shown(driven, 3, part="GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")


def test_a_session_that_falls_back_to_the_preset_recipe_accepts_nothing_that_was_not_challenged() -> None:
    driven = planned()
    driven.change_over(1, "R2")
    driven.challenge(2)
    assert accepts(driven, 4)
    driven.hear(Hello(nonce="bbbbbbbb"))
    assert not accepts(driven, 1)
    assert "passed under recipe R2" in detail(driven)
    driven.query(2, "P7")
    driven.change_over(3, "R2")
    assert accepts(driven, 4)


def test_a_change_over_need_not_end_it_where_the_same_parts_are_asked_for() -> None:
    driven = planned(after_change_over=False)
    driven.challenge(1)
    driven.change_over(3, "R2")
    assert accepts(driven, 4)


def test_a_change_over_always_ends_it_where_other_parts_are_asked_for() -> None:
    extra = ChallengePart(name="BAD2", weld="W2", expect="bad", recipe="R2")
    driven = planned(after_change_over=False, parts=(*a_challenge().part, extra))
    driven.challenge(1)
    assert accepts(driven, 3)
    driven.query(4, "P7")
    driven.change_over(5, "R2")
    assert not accepts(driven, 6)
    driven.query(7, "P7")
    driven.red_rabbit(8, part="BAD2", weld="W2")
    assert answer(driven) == ("REJECT", "DEFECT")
    shown(driven, 9, part="GOOD")
    assert answer(driven) == ("REJECT", "CHALLENGE")
    driven.challenge(10)
    assert accepts(driven, 12)


def test_a_part_of_another_recipe_is_no_challenge_under_this_one() -> None:
    extra = ChallengePart(name="BAD2", weld="W2", expect="bad", recipe="R2")
    driven = planned(parts=(*a_challenge().part, extra))
    driven.challenge(1)
    driven.red_rabbit(3, part="BAD2", weld="W2")
    assert answer(driven) == ("REJECT", "CHALLENGE")
    assert accepts(driven, 4)


def test_challenge_parts_are_no_parts_of_production() -> None:
    driven = planned()
    for sequence in range(1, 40, 2):
        driven.challenge(sequence)
    assert answer(driven) == ("ACCEPT", "OK")
    assert driven.session._parts.open == ()
    driven.query(41, "BAD")
    assert driven.part_verdicts[-1].reason is Reason.CHALLENGE
    driven.query(42, "GOOD")
    assert driven.part_verdicts[-1].reason is Reason.CHALLENGE
    assert "a challenge part has no verdict as a whole" in detail(driven)


def test_challenge_parts_need_no_room_among_the_open_parts() -> None:
    driven = planned()
    for sequence in range(1, 17):
        shown(driven, sequence, part=f"P{sequence}")
    assert len(driven.session._parts.open) == 16
    driven.challenge(17)
    shown(driven, 19, part="P1")
    assert answer(driven) == ("ACCEPT", "OK")


def test_a_whole_part_is_not_accepted_when_its_challenge_ended_meanwhile() -> None:
    driven = planned()
    driven.challenge(1)
    shown(driven, 3)
    shown(driven, 4, weld="W2")
    driven.tell(a_state(bundle=OTHER))
    driven.query(5)
    assert (driven.part_verdicts[-1].outcome, driven.part_verdicts[-1].reason) == (Outcome.REJECT, Reason.CHALLENGE)


def test_a_part_does_not_keep_what_was_accepted_before_a_challenge_failed() -> None:
    driven = planned()
    driven.challenge(1)
    shown(driven, 3)
    driven.red_rabbit(4, score=0.1)
    driven.do(driven.session.acknowledged)
    driven.challenge(5)
    shown(driven, 7, weld="W2")
    driven.query(8)
    assert driven.part_verdicts[-1].reason is Reason.WELDS_MISSING
    assert "1 missing: W1 was accepted before a challenge failed" in detail(driven)
    shown(driven, 9)
    shown(driven, 10, weld="W2")
    driven.query(11)
    assert driven.part_verdicts[-1].outcome is Outcome.ACCEPT


def test_a_whole_part_is_accepted_while_the_challenge_counts() -> None:
    driven = planned()
    driven.challenge(1)
    shown(driven, 3)
    shown(driven, 4, weld="W2")
    driven.query(5)
    assert driven.part_verdicts[-1].outcome is Outcome.ACCEPT


def test_a_recipe_that_was_edited_ends_it_and_others_do_not() -> None:
    driven = planned()
    driven.challenge(1)
    same = {"R1": a_recipe("R1"), "R2": a_recipe("R2", W1="T2", W3="T3")}
    driven.do(driven.session.configured, driven.session.settings, same)
    assert accepts(driven, 3)
    driven.query(4, "P7")
    driven.do(driven.session.configured, driven.session.settings, {"R1": a_recipe("R1", W1="T2", W3="T3"), "R2": same["R2"]})
    assert not accepts(driven, 5)
    assert "the recipes were edited" in detail(driven)
    driven.challenge(6)
    assert accepts(driven, 8)


# time


def later(driven: Driven, ns: int, *, wall_ns: int = 0) -> None:
    """Time passes; the wall clock is set by `wall_ns` on top."""
    driven.now += ns
    driven.wall_ahead += wall_ns
    driven.do(driven.session.tick)
    driven.do(driven.session.link_down, "cable pulled")
    driven.ready()


def test_a_challenge_ages() -> None:
    driven = challenged(every_h=8.0, warn_min=15.0)
    driven.challenge(1)
    later(driven, 7 * HOUR + 44 * MIN)
    assert not any("due in" in text for text in told(driven))
    assert accepts(driven, 1)
    later(driven, 1 * MIN)
    assert any("challenge due in 15.0 min: BAD W1 (known bad), GOOD W1 (known good)" in text for text in told(driven))
    later(driven, 15 * MIN - MS)
    assert accepts(driven, 1)
    later(driven, MS)
    assert not accepts(driven, 1)
    assert "overdue since" in detail(driven)
    assert any(text.startswith("challenge due: overdue since") for text in told(driven))
    assert driven.kept[-1] is None
    driven.challenge(2)
    later(driven, 7 * HOUR + 50 * MIN)
    assert sum("challenge due in 1" in text for text in told(driven)) == 2


def test_what_is_overdue_is_rejected_before_any_tick_has_noticed() -> None:
    driven = challenged(every_h=1.0)
    driven.challenge(1)
    driven.wall_ahead += HOUR
    key = driven.trigger(3, part="P7")
    driven.report(key, part="P7")
    assert answer(driven) == ("REJECT", "CHALLENGE")


def test_what_was_overdue_once_stays_so_whatever_the_clock_says_later() -> None:
    driven = challenged(every_h=1.0)
    driven.challenge(1)
    later(driven, 0, wall_ns=HOUR)
    later(driven, 0, wall_ns=-HOUR)
    assert not accepts(driven, 1)


def test_a_shift_that_begins_needs_its_own_challenge() -> None:
    begins_s = (1_000 * MS + WALL) // 10**9 // 60 * 60 + 600
    driven = challenged(shifts=(time.strftime("%H:%M", time.localtime(begins_s)),), warn_min=0.0)
    driven.challenge(1)
    later(driven, begins_s * 10**9 - driven.now - driven.wall_ahead - 1)
    assert accepts(driven, 1)
    later(driven, 1)
    assert not accepts(driven, 1)
    driven.challenge(2)
    later(driven, 23 * HOUR)
    assert accepts(driven, 1)
    later(driven, HOUR)
    assert not accepts(driven, 1)


def test_a_challenge_that_was_begun_before_a_shift_does_not_count_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        driven = Driven(challenge=a_challenge(shifts=("06:00",)))
        six_ns = (WALL // (24 * HOUR) + 1) * 24 * HOUR + 6 * HOUR
        driven.wall_ahead = six_ns - MIN - driven.now
        driven.restore(None)
        driven.ready().red_rabbit(1)
        driven.now += 2 * MIN
        driven.do(driven.session.inspector_up)
        driven.tell(a_state())
        driven.session._robot_ns = driven.now
        shown(driven, 2, part="GOOD")
        assert answer(driven) == ("ACCEPT", "OK")
        assert not accepts(driven, 3)
        assert "overdue" in detail(driven)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("after_ns", "back_ns"), [(0, 31 * MIN), (10 * MIN, 31 * MIN), (20 * MIN, 80 * MIN)])
def test_a_clock_set_back_skips_no_shift(after_ns: int, back_ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        driven = Driven(challenge=a_challenge(shifts=("06:00", "14:00")))
        six_ns = (WALL // (24 * HOUR) + 1) * 24 * HOUR + 6 * HOUR
        driven.wall_ahead = six_ns + MIN - driven.now
        driven.restore(None)
        driven.ready().challenge(1)
        passed_ns = driven.now
        later(driven, after_ns)
        assert accepts(driven, 1)
        driven.wall_ahead -= back_ns
        later(driven, six_ns - MIN - driven.now - driven.wall_ahead)
        assert accepts(driven, 1)
        later(driven, 2 * MIN)
        assert not accepts(driven, 1)
        assert driven.now - passed_ns < 2 * HOUR
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_age_too_short_for_a_clock_is_no_leave_to_go_on_for_ever() -> None:
    driven = challenged(every_h=1e-13)
    driven.challenge(1)
    driven.pass_ms(1)
    assert not accepts(driven, 3)


def test_setting_the_clock_back_wins_no_time() -> None:
    driven = challenged(every_h=1.0)
    driven.challenge(1)
    later(driven, 59 * MIN, wall_ns=-500 * HOUR)
    assert accepts(driven, 1)
    later(driven, 1 * MIN)
    assert not accepts(driven, 1)


def test_within_the_grace_production_goes_on() -> None:
    driven = challenged(every_h=1.0, grace_min=10.0)
    driven.challenge(1)
    later(driven, HOUR)
    assert accepts(driven, 1)
    assert any("challenge due within 10 min: show BAD W1" in text for text in told(driven))
    later(driven, 10 * MIN)
    assert not accepts(driven, 1)


def test_the_grace_is_for_nothing_but_time() -> None:
    driven = challenged(every_h=1.0, grace_min=10.0)
    driven.challenge(1)
    driven.tell(a_state(bundle=OTHER))
    driven.tell(a_state())
    assert not accepts(driven, 3)


def test_its_time_counts_from_the_first_part_that_was_shown() -> None:
    driven = challenged(every_h=1.0)
    driven.red_rabbit(1)
    later_ns = 20 * MIN
    driven.now += later_ns
    driven.tell(a_state())
    shown(driven, 2, part="GOOD")
    assert accepts(driven, 3)
    later(driven, HOUR - later_ns - 100 * MS)
    assert accepts(driven, 1)
    later(driven, 100 * MS)
    assert not accepts(driven, 1)


def test_the_status_says_what_to_do() -> None:
    driven = challenged(every_h=8.0)
    status = driven.session.challenge(driven.now)
    assert (status.accepting, status.due_in_s, status.passed_wall_ns, status.bundle) == (False, None, None, "")
    assert status.missing == ("BAD W1 (known bad)", "GOOD W1 (known good)")
    driven.red_rabbit(1)
    assert driven.session.challenge(driven.now).missing == ("GOOD W1 (known good)",)
    shown(driven, 2, part="GOOD")
    status = driven.session.challenge(driven.now)
    assert (status.accepting, status.why, status.missing, status.bundle) == (True, "", (), BUNDLE)
    assert status.due_in_s == pytest.approx(8 * 3600, abs=1)


# across restarts


def passed(driven: Driven) -> Passed:
    content = next(content for content in reversed(driven.kept) if content is not None)
    return msgspec.json.decode(content, type=Passed)


def restarted(kept: Passed | str | None, driven: Driven, *, ns: int = 0, wall_ns: int = 0, boot: str = "boot", **changes: object) -> Driven:
    """A new process; after `ns` by the monotonic clock, which begins anew when the box did."""
    again = Driven(challenge=a_challenge(**changes), boot=boot)
    again.wall_ahead += driven.wall_ahead - again.wall_ahead + wall_ns
    if boot == "boot":
        again.now = driven.now + ns
    else:
        again.now = 50 * MS
        again.wall_ahead += driven.now + ns - again.now
    again.restore(kept)
    return again.ready()


def test_a_restart_of_the_gate_neither_forces_nor_skips_a_challenge() -> None:
    driven = challenged(every_h=1.0)
    driven.challenge(1)
    kept = passed(driven)
    assert accepts(restarted(kept, driven, ns=50 * MIN, every_h=1.0), 1)
    assert not accepts(restarted(kept, driven, ns=60 * MIN, every_h=1.0), 1)
    assert not accepts(restarted(kept, driven, ns=10 * MIN, wall_ns=50 * MIN, every_h=1.0), 1)
    assert accepts(restarted(kept, driven, ns=10 * MIN, wall_ns=-50 * MIN, every_h=1.0), 1)
    assert not accepts(restarted(None, driven, every_h=1.0), 1)
    assert not accepts(restarted("cannot be read", driven, every_h=1.0), 1)
    assert not accepts(restarted(msgspec.structs.replace(kept, at_ns=driven.now + HOUR), driven, every_h=1.0), 1)


@pytest.mark.parametrize(
    "changes", [{"wall_ns": 10**30}, {"wall_ns": -(10**30)}, {"wall_ns": -1}, {"wall_ns": 1 << 63}, {"at_ns": -1}, {"at_ns": -(10**30)}]
)
@pytest.mark.parametrize("boot", ["boot", "another"])
def test_a_kept_challenge_of_an_impossible_time_counts_for_nothing_and_stops_no_gate(changes: dict[str, int], boot: str) -> None:
    driven = challenged(after_boot=False)
    driven.challenge(1)
    again = restarted(msgspec.structs.replace(passed(driven), **changes), driven, boot=boot, after_boot=False)
    assert not accepts(again, 1)
    again.challenge(2)
    assert accepts(again, 4)


def test_a_recipe_edited_while_the_gate_was_down_needs_a_new_challenge() -> None:
    driven = planned()
    driven.challenge(1)
    kept = passed(driven)

    def again(*recipes: Recipe) -> Driven:
        new = Driven(recipes=recipes, recipe="R1", challenge=a_challenge())
        new.now = driven.now
        new.restore(kept)
        return new.ready()

    assert accepts(again(a_recipe("R1"), a_recipe("R2", W1="T3")), 1)
    assert not accepts(again(a_recipe("R1", W1="T2", W3="T3"), a_recipe("R2")), 1)
    assert not accepts(again(a_recipe("R1", W2="T2", W1="T2"), a_recipe("R2")), 1)


def test_a_recipe_edited_while_another_is_active_ends_what_was_passed_under_it() -> None:
    driven = planned(after_change_over=False)
    driven.challenge(1)
    driven.change_over(3, "R2")
    assert accepts(driven, 4)
    driven.query(5, "P7", recipe="R2")
    driven.do(driven.session.configured, driven.session.settings, {"R1": a_recipe("R1", W1="T2", W3="T3"), "R2": a_recipe("R2")})
    driven.change_over(6, "R1")
    assert not accepts(driven, 7)
    assert "the recipes were edited" in detail(driven)


def test_the_active_recipe_edited_ends_what_was_passed_under_another() -> None:
    driven = planned(after_change_over=False)
    driven.challenge(1)
    driven.change_over(3, "R2")
    assert accepts(driven, 4)
    driven.query(5, "P7", recipe="R2")
    driven.do(driven.session.configured, driven.session.settings, {"R1": a_recipe("R1"), "R2": a_recipe("R2", W1="T2", W3="T3")})
    assert not accepts(driven, 6)
    assert "the recipes were edited" in detail(driven)


def test_a_restart_under_another_bundle_or_rule_needs_a_new_challenge() -> None:
    driven = challenged()
    driven.challenge(1)
    kept = passed(driven)
    assert kept.rule == rule_of(a_challenge())
    assert accepts(restarted(kept, driven), 1)
    assert not accepts(restarted(kept, driven, warn_min=1.0), 1)
    again = restarted(kept, driven)
    again.tell(a_state(bundle=OTHER))
    again.tell(a_state())
    assert not accepts(again, 1)


def test_a_new_start_of_the_box_needs_a_new_challenge() -> None:
    driven = challenged()
    driven.challenge(1)
    assert not accepts(restarted(passed(driven), driven, boot="another"), 1)


@pytest.mark.parametrize(("ns", "wall_ns", "counts"), [(30 * MIN, 0, True), (60 * MIN, 0, False), (30 * MIN, -40 * MIN, False)])
def test_a_challenge_may_outlive_a_new_start_where_the_clock_runs_on(ns: int, wall_ns: int, *, counts: bool) -> None:
    rules = {"every_h": 1.0, "after_boot": False}
    driven = challenged(**rules)
    driven.challenge(1)
    again = restarted(passed(driven), driven, boot="another", ns=ns, wall_ns=wall_ns, **rules)
    assert accepts(again, 1) is counts


def test_a_new_start_shortens_no_time() -> None:
    rules = {"every_h": 1.0, "after_boot": False}
    driven = challenged(**rules)
    driven.challenge(1)
    again = restarted(passed(driven), driven, boot="another", ns=30 * MIN, **rules)
    later(again, 29 * MIN, wall_ns=-100 * HOUR)
    assert accepts(again, 1)
    later(again, 2 * MIN)
    assert not accepts(again, 1)


def test_an_early_frame_of_a_known_bad_part_counts_as_any_other() -> None:
    driven = challenged()
    key = TriggerId(driven.session.session, 1)
    driven.tell(a_report(key, part="BAD", received_ns=driven.now, score=0.9, members=(0.9,)))
    driven.trigger(1, part="BAD")
    assert answer(driven) == ("REJECT", "DEFECT")
    driven.confirm(key, Outcome.REJECT, Done.REJECTED)
    shown(driven, 2, part="GOOD")
    assert answer(driven) == ("ACCEPT", "OK")
