"""When a challenge is due, said once each and in which words; what is an alarm; and how far a clock may be set back unnoticed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from challenge_kit import SESSION, Rule
from gate_kit import BUNDLE, WALL

from edge.gate.challenge import Said, rule_of
from edge.gate.shifts import NS_PER_S

MIN_NS, HOUR_NS = 60 * NS_PER_S, 3_600 * NS_PER_S
BOTH = "BAD W1 (known bad), GOOD W1 (known good)"
SIX_NS = (WALL // (24 * HOUR_NS) + 1) * 24 * HOUR_NS + 6 * HOUR_NS
"""At six in the morning, UTC."""


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at_six(**changes: object) -> Rule:
    """A challenge that was passed at six."""
    it = Rule(**changes)
    it.wall = SIX_NS
    it.pass_challenge()
    return it


def local(clock: str) -> str:
    return time.strftime(f"%Y-%m-%dT{clock}+0000", time.gmtime(SIX_NS // NS_PER_S))


def test_the_warning_and_the_grace_are_said_once_each_and_only_what_stops_production_is_an_alarm() -> None:
    it = at_six(every_h=1.0, warn_min=15.0, grace_min=10.0)
    told = []
    for _ in range(75):
        it.pass_ns(MIN_NS)
        told.append(it.tick())
    assert told[44] == [Said(f"challenge due in 15.0 min: {BOTH}")]
    assert told[59] == [Said(f"challenge due within 10 min: show {BOTH}", alarm=True)]
    overdue = f"overdue since {local('07:10:00')}, the last one was passed {local('06:00:00')}"
    assert told[69] == [Said(f"challenge due: {overdue}; nothing is accepted before {BOTH}", alarm=True)]
    assert sum(bool(said) for said in told) == 3


def test_a_gate_that_slept_through_the_warning_says_that_the_grace_has_begun() -> None:
    it = at_six(every_h=1.0, warn_min=15.0, grace_min=10.0)
    it.pass_ns(HOUR_NS)
    assert [said.alarm for said in it.tick()] == [True]
    assert it.tick() == []


def test_the_next_challenge_is_warned_of_again() -> None:
    it = at_six(every_h=1.0, warn_min=15.0, grace_min=10.0)
    for sequence in (3, 5):
        it.pass_ns(HOUR_NS)
        assert len(it.tick()) == 1
        it.pass_challenge(sequence)
        it.pass_ns(50 * MIN_NS)
        assert [said.text for said in it.tick()] == [f"challenge due in 10.0 min: {BOTH}"]


@pytest.mark.parametrize(
    ("recipe", "every_h", "ending"),
    [("", 8.0, f"due again {local('14:00:00')}"), ("", 0.0, "not due again by time"), ("R1", 0.0, "not due again by time")],
)
def test_each_step_says_what_it_proved_and_a_pass_when_it_is_due_again(recipe: str, every_h: float, ending: str) -> None:
    it = at_six(every_h=every_h, recipe=recipe)
    under = f", recipe {recipe}" if recipe else ""
    assert it.heard() == [
        Said("BAD W1 is as it should be; show GOOD W1 (known good)"),
        Said(f"challenge passed by bundle {BUNDLE}{under}, {ending}; session {SESSION}: BAD W1 #1, GOOD W1 #2"),
    ]


def test_a_failed_challenge_alarms_and_latches() -> None:
    it = Rule()
    it.rule.announced(BUNDLE)
    case = it.open("BAD", 7)
    case.judged_good = True
    it.rule.judged(case)
    why = f"known-bad BAD W1 was judged good in session {SESSION}, trigger 7"
    assert it.heard() == [
        Said(f"challenge due: the last challenge failed: {why}; nothing is accepted before {BOTH}", alarm=True),
        Said(f"challenge failed: {why}", alarm=True, latch=True),
    ]


def test_what_says_nothing_of_alarms_and_latches_is_neither() -> None:
    assert Said("all is well") == ("all is well", False, False)


def test_a_challenge_that_still_counts_is_named_by_its_time_and_the_first_twelve_digits_of_its_bundle() -> None:
    bundle = "0123456789abcdef" * 4
    first = Rule()
    first.wall = SIX_NS
    first.rule.announced(bundle)
    first.weld("BAD", 1)
    first.weld("GOOD", 2)
    kept = first.rule._passed
    again = Rule()
    again.wall = SIX_NS
    again.rule.restore(kept, again.now)
    assert again.heard() == [Said(f"the challenge passed {local('06:00:00')} by bundle 0123456789ab still counts")]
    assert kept is not None
    assert len(kept.rule) == 16
    assert kept.rule == rule_of(first.rule._config)


# the status


def test_the_status_counts_down_into_the_grace() -> None:
    it = at_six(every_h=1.0, grace_min=10.0)
    for elapsed_min, due_in_s in ((0, 3_600.0), (20, 2_400.0), (40, 0.0), (5, -300.0)):
        it.pass_ns(elapsed_min * MIN_NS)
        assert (it.accepting, it.rule.status(it.now).due_in_s) == (True, due_in_s)


def test_the_status_counts_down_to_nothing_where_the_age_does_not_matter_or_nothing_counts() -> None:
    assert at_six().rule.status(1).due_in_s is None
    it = at_six(every_h=1.0)
    it.pass_ns(HOUR_NS)
    assert not it.accepting, "no tick has noticed yet"
    assert it.rule.status(it.now).due_in_s is None
    it.tick()
    assert it.rule.status(it.now).due_in_s is None


# limits


@pytest.mark.parametrize(("every_h", "age_ns"), [(1e-13, 1), (1.0, HOUR_NS)])
def test_a_challenge_counts_for_its_age_and_not_a_nanosecond_longer(every_h: float, age_ns: int) -> None:
    it = at_six(every_h=every_h)
    it.pass_ns(age_ns - 1)
    assert it.accepting
    it.pass_ns(1)
    assert not it.accepting


def test_where_the_age_does_not_matter_a_clock_that_jumps_a_century_ends_nothing() -> None:
    it = at_six()
    it.pass_ns(0, set_ns=100 * 365 * 24 * HOUR_NS)
    assert it.tick() == []
    assert it.accepting


@pytest.mark.parametrize("after_ns", [0, 10 * NS_PER_S])
@pytest.mark.parametrize(("back_ns", "counts"), [(0, True), (NS_PER_S, True), (NS_PER_S + 1, False)])
def test_a_clock_that_is_set_back_by_more_than_a_second_is_set_back(after_ns: int, back_ns: int, *, counts: bool) -> None:
    it = at_six(shifts=("06:00",))
    it.pass_ns(after_ns)
    assert it.accepting
    it.pass_ns(NS_PER_S, set_ns=-back_ns)
    it.pass_ns(2 * NS_PER_S)
    assert it.accepting is counts, "by the clock as it is now, the shift began again"


def test_a_clock_that_is_set_back_little_by_little_is_set_back_all_the_same() -> None:
    it = at_six(shifts=("06:00", "06:10"))
    for _ in range(3):
        it.pass_ns(NS_PER_S, set_ns=-NS_PER_S // 2)
    assert not it.accepting
