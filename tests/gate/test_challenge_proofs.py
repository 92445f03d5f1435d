"""A weld that was shown before something ended the challenge proves nothing after it, even when its trigger is closed only then."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from challenge_kit import RECIPES, Rule
from gate_kit import BUNDLE, a_recipe

from edge.gate.case import Shown
from edge.gate.challenge import Passed, Said

BAD, GOOD = "BAD W1 (known bad)", "GOOD W1 (known good)"
ENDS: dict[str, Callable[[Rule], None]] = {
    "another bundle": lambda it: it.rule.announced("c" * 64),
    "a change-over": lambda it: it.rule.recipe_is("R2", changed_over=True),
    "back to the preset recipe": lambda it: it.rule.recipe_is("R2", changed_over=False),
    "an edited recipe": lambda it: it.rule.recipe_edited("R1"),
    "the end of the session": lambda it: it.rule.session_ended(),
    "nothing was kept": lambda it: it.rule.restore(None, it.now),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_weld_shown_before_something_ended_the_challenge_proves_nothing_after_it(end: str) -> None:
    it = Rule(recipe="R1")
    it.rule.announced(BUNDLE)
    before = it.open("BAD", 1)
    ENDS[end](it)
    it.heard()
    it.close(before)
    assert it.heard() == [Said("BAD W1, trigger 1, proves nothing (REJECTED): show it again")]
    assert it.missing == (BAD, GOOD)


@pytest.mark.parametrize("end", ENDS)
def test_what_was_proved_before_something_ended_the_challenge_must_be_proved_again(end: str) -> None:
    it = Rule(recipe="R1")
    it.rule.announced(BUNDLE)
    it.weld("BAD", 1)
    assert it.missing == (GOOD,)
    ENDS[end](it)
    assert it.missing == (BAD, GOOD)


@pytest.mark.parametrize("end", ["nothing yet", *ENDS])
def test_a_trigger_that_was_refused_as_busy_proves_nothing_whatever_ended_before(end: str) -> None:
    it = Rule(recipe="R1")
    ENDS.get(end, lambda _: None)(it)
    busy = it.open("BAD", 1)
    busy.shown = Shown(role="bad", epoch=-1, wall_ns=0)
    it.close(busy)
    assert it.missing == (BAD, GOOD)


def test_a_trigger_that_was_refused_as_busy_proves_nothing_after_a_pass() -> None:
    it = Rule()
    it.weld("BAD", 1)
    busy = it.open("BAD", 2)
    busy.shown = Shown(role="bad", epoch=-1, wall_ns=0)
    it.weld("BAD", 3)
    it.weld("GOOD", 4)
    it.heard()
    it.close(busy)
    assert it.heard() == [Said("BAD W1, trigger 2, proves nothing (REJECTED): show it again")]


def test_a_weld_of_the_challenge_that_passed_proves_nothing_for_the_next() -> None:
    it = Rule()
    it.rule.announced(BUNDLE)
    late = it.open("BAD", 1)
    it.weld("BAD", 2)
    it.weld("GOOD", 3)
    assert it.accepting
    it.close(late)
    assert it.heard()[-1] == Said("BAD W1, trigger 1, proves nothing (REJECTED): show it again")
    assert it.missing == ()
    it.rule.session_ended()
    it.open("BAD", 4)
    assert it.missing == (BAD, GOOD)


def test_a_pass_leaves_no_proof_behind() -> None:
    it = Rule()
    it.pass_challenge()
    assert (it.accepting, it.missing) == (True, ())
    it.open("BAD", 3)
    it.weld("GOOD", 4)
    assert not it.accepting
    assert it.missing == (BAD,)


def test_an_edited_recipe_ends_what_was_passed_and_names_itself() -> None:
    it = Rule(recipe="R1")
    it.pass_challenge()
    it.heard()
    it.rule.recipe_edited("R2")
    assert not it.accepting
    assert it.heard() == [Said(f"challenge due: the recipes were edited; nothing is accepted before {BAD}, {GOOD}", alarm=True)]
    it.pass_challenge(3)
    assert "recipe R2" in it.heard()[-1].text


def test_recipes_edited_before_any_challenge_end_nothing_and_stop_no_gate() -> None:
    it = Rule(recipe="R1")
    it.rule.recipe_edited("R1")
    assert it.heard() == []
    it.rule.recipes_are({**RECIPES, "R1": a_recipe("R1", W1="T3")})
    assert it.heard() == []


# what an earlier process left


@pytest.mark.parametrize(("at_ns", "wall_ns"), [(0, 0), (1, (1 << 63) - 1)])
def test_the_first_and_the_last_moment_that_a_clock_can_show_are_believed(at_ns: int, wall_ns: int) -> None:
    it, kept = Rule(), _kept()
    it.wall = wall_ns
    it.rule.restore(msgspec.structs.replace(kept, at_ns=at_ns, wall_ns=wall_ns), it.now)
    assert it.accepting


@pytest.mark.parametrize(("ahead_ns", "counts"), [(0, True), (1, False)])
def test_a_challenge_of_this_very_moment_is_not_of_the_future(ahead_ns: int, *, counts: bool) -> None:
    for boot in ("boot", "another"):
        it, kept = Rule(after_boot=False), _kept(after_boot=False)
        it.rule.restore(msgspec.structs.replace(kept, boot=boot, at_ns=it.now + ahead_ns, wall_ns=it.wall + ahead_ns), it.now)
        assert it.accepting is counts


def _kept(**changes: object) -> Passed:
    it = Rule(**changes)
    it.pass_challenge()
    content = [kept.content for kept in it.rule.take() if not isinstance(kept, Said)][-1]
    assert content is not None
    return msgspec.json.decode(content, type=Passed)
