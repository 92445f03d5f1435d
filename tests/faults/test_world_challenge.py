"""Challenge parts in the simulated cell: no rule breaks, parts do pass, and each planted defect of the rule is found."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from edge.gate import verdict
from edge.gate.case import Shown
from edge.gate.challenge import Challenges
from edge.gate.verdict import Asked
from faults.world.disk import Disk
from faults.world.world import Profile, World

RUNS, CYCLES = 40, 300
Plant = Callable[[pytest.MonkeyPatch], None]


def found_by(profile: Profile, *, runs: int = RUNS) -> str:
    """The first violation in a few runs."""
    for seed in range(runs):
        violation = World(seed, profile).run(CYCLES).violation
        if violation is not None:
            return str(violation)
    return ""


@pytest.mark.parametrize("profile", ["handshake-challenge", "parts-challenge"])
def test_challenges_are_passed_and_nothing_is_accepted_without_them(profile: Profile) -> None:
    outcomes = [World(seed, profile).run(CYCLES) for seed in range(4)]
    assert [outcome.violation for outcome in outcomes] == [None] * 4
    assert sum(outcome.accepted for outcome in outcomes) > 100
    assert sum(outcome.events["challenge"] for outcome in outcomes) > 100


def without(name: str) -> Plant:
    """A condition is left out."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        for conditions in ("BEFORE_FRAME", "AFTER_FRAME"):
            kept = tuple(condition for condition in getattr(verdict, conditions) if condition.name != name)
            monkeypatch.setattr(verdict, conditions, kept)

    return plant


def idle(name: str) -> Plant:
    """A method of the rule does nothing."""
    return lambda monkeypatch: monkeypatch.setattr(Challenges, name, lambda *_arguments, **_named: None)


def not_void(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known-bad part that is shown leaves the last challenge in force."""
    show = Challenges.show

    def lenient(self: Challenges, asked: Asked) -> Shown | None:
        passed = self._passed
        shown = show(self, asked)
        self._passed = passed
        return shown

    monkeypatch.setattr(Challenges, "show", lenient)


def any_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was passed by one bundle counts for another, once that was announced."""

    def announced(self: Challenges, bundle: str) -> None:
        self._bundle = bundle
        self._passed = self._passed and msgspec.structs.replace(self._passed, bundle=bundle)

    monkeypatch.setattr(Challenges, "announced", announced)


def good_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known-good part is accepted in any order."""
    monkeypatch.setattr(Challenges, "_good_lack", lambda *_: "")


def monotonic_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the wall clock."""
    monkeypatch.setattr(Challenges, "_elapsed_ns", lambda self, now_ns: now_ns - self._passed.at_ns)


def kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A challenge that counts no more does so again after a restart."""
    monkeypatch.setattr(Disk, "_forget_challenge", lambda _self: None)


def any_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """A REJECT for any reason proves a known-bad part."""
    judged = Challenges.judged

    def lenient(self: Challenges, case: object) -> None:
        judged(self, case)
        if case.shown.role == "bad" and case.judged_good is None:
            case.judged_good = False

    monkeypatch.setattr(Challenges, "judged", lenient)


@pytest.mark.parametrize(
    ("plant", "profile"),
    [
        (without("challenge parts passed"), "handshake-challenge"),
        (without("challenge parts passed"), "parts-challenge"),
        (without("not a known-bad part"), "handshake-challenge"),
        (any_bundle, "handshake-challenge"),
        (idle("session_ended"), "handshake-challenge"),
        (idle("recipe_is"), "parts-challenge"),
        (not_void, "handshake-challenge"),
        (good_first, "handshake-challenge"),
        (monotonic_only, "handshake-challenge"),
        (kept_for_ever, "handshake-challenge"),
        (any_report, "handshake-challenge"),
    ],
)
def test_a_defect_of_the_rule_is_found(plant: Plant, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    assert found_by(profile)
