"""`[gate.challenge]`: what is refused, and that it names key and value."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import ChallengeConfig, ChallengePart, GateConfig
from edge.errors import ConfigError

GOOD = ChallengePart(name="MASTER", weld="W1", expect="good")
BAD = ChallengePart(name="RED-RABBIT", weld="W1", expect="bad")


def part(name: str = "X", weld: str = "W1", expect: str = "bad", recipe: str = "") -> ChallengePart:
    return ChallengePart(name=name, weld=weld, expect=expect, recipe=recipe)  # type: ignore[arg-type]


def test_two_parts_are_enough() -> None:
    config = ChallengeConfig(part=(GOOD, BAD))
    assert (config.every_h, config.shifts, config.grace_min, config.after_boot) == (8.0, (), 0.0, True)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ((), "no weld with expect = 'good'"),
        ((GOOD,), "no weld with expect = 'bad'"),
        ((BAD,), "no weld with expect = 'good'"),
        ((GOOD, BAD, BAD), "RED-RABBIT W1 2 times"),
        ((GOOD, BAD, part("RED-RABBIT", recipe="R1")), "RED-RABBIT W1 2 times"),
        ((GOOD, BAD, part("BOTH", recipe="R1"), part("BOTH", expect="good", recipe="R2")), "BOTH W1 2 times, good and bad"),
        ((GOOD, BAD, part("Red-Rabbit", weld="W2")), "RED-RABBIT, Red-Rabbit"),
        ((GOOD, *(part(f"B{number}") for number in range(64))), "65 welds"),
    ],
)
def test_parts_that_make_no_challenge_are_refused(parts: tuple[ChallengePart, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=r"gate\.challenge\.part") as caught:
        ChallengeConfig(part=parts)
    assert told in str(caught.value)


def test_a_weld_may_be_asked_for_under_several_recipes_and_a_part_have_good_and_bad_welds() -> None:
    ChallengeConfig(part=(GOOD, BAD, part("ONE", recipe="R1"), part("ONE", recipe="R2"), part("ONE", weld="W2", expect="good")))
    ChallengeConfig(part=(GOOD, *(part(f"B{number}") for number in range(63))))


@pytest.mark.parametrize("name", ["", "-x", "RED RABBIT", "x" * 25, "RED\n"])
def test_a_name_that_no_part_can_have_is_refused(name: str) -> None:
    for field in ("name", "weld"):
        with pytest.raises(ConfigError, match=rf"gate\.challenge\.part\.{field}"):
            part(**{field: name})
    if name:
        with pytest.raises(ConfigError, match=r"gate\.challenge\.part\.recipe"):
            part(recipe=name)


@pytest.mark.parametrize("shift", ["6:00", "24:00", "06:60", "06:00:00", "0600", "", "06:00\n"])
def test_a_shift_that_is_no_time_of_day_is_refused(shift: str) -> None:
    with pytest.raises(ConfigError, match=r"gate\.challenge\.shifts"):
        ChallengeConfig(part=(GOOD, BAD), shifts=("22:00", shift))


def test_shifts_are_given_once_and_are_not_too_many() -> None:
    hours = tuple(f"{hour:02}:00" for hour in range(24))
    assert ChallengeConfig(part=(GOOD, BAD), shifts=hours).shifts == hours
    for shifts in (("06:00", "06:00"), (*hours, "00:30")):
        with pytest.raises(ConfigError, match=r"gate\.challenge\.shifts"):
            ChallengeConfig(part=(GOOD, BAD), shifts=shifts)


@pytest.mark.parametrize(
    ("key", "low", "high"), [("every_h", 0, 8_784), ("warn_min", 0, 1_440), ("grace_min", 0, 240), ("within_min", 0.1, 1_440)]
)
def test_times_have_limits(key: str, low: float, high: float) -> None:
    for value in (low, high):
        assert getattr(ChallengeConfig(part=(GOOD, BAD), **{key: value}), key) == value
    for value in (low - 0.01, high + 0.01, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=rf"gate\.challenge\.{key}"):
            ChallengeConfig(part=(GOOD, BAD), **{key: value})


def test_a_part_of_one_recipe_needs_recipes() -> None:
    gate = {"port": "p", "records": Path("r"), "socket": Path("s"), "challenge": ChallengeConfig(part=(GOOD, BAD, part(recipe="R1")))}
    with pytest.raises(ConfigError, match=r"gate\.challenge\.part\.recipe"):
        GateConfig(**gate)
    GateConfig(**gate, recipes=Path("recipes.toml"))
