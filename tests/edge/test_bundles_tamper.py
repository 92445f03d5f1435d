"""Tampered bundles and stores by the thousand: none gets through a door, and genuine ones do all the while."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import tamper
from bench.tamper_box import ACCEPTED, BROKEN, REFUSED, Box, Seen
from bench.tamper_make import DOORS, FAMILIES
from bench.tamper_parts import Genuine
from bench.tamper_store import SPOILS
from edge.errors import BundleFormatError, CordonError


@pytest.fixture(scope="module")
def genuine() -> Genuine:
    return Genuine(7)


def test_none_of_two_thousand_is_accepted_and_nothing_stumbles(genuine: Genuine, tmp_path: Path) -> None:
    tally = tamper.tamper(genuine, tmp_path, first=0, count=2_000)
    assert (tally.seen.accepted, tally.seen.broken) == ([], [])
    assert set(tally.families) == {family.name for family in FAMILIES}, "every family had its turn"
    assert set(tally.stores) == set(SPOILS)
    assert all(tally.stores.values())
    assert tally.controls >= 10
    assert sum(tally.seen.refused.values()) == tally.doors + sum(tally.stores.values())


def test_the_same_seed_and_number_give_the_same_bundle_and_no_two_are_equal(genuine: Genuine) -> None:
    one, other = tamper.Source(genuine), tamper.Source(Genuine(7))
    made = [one.make(number)[1] for number in range(300)]
    assert [other.make(number)[1] for number in range(300)] == made
    assert len(set(made)) == 300
    assert not set(made) & genuine.every


def test_a_bundle_that_gets_through_is_counted(genuine: Genuine, tmp_path: Path) -> None:
    seen, box = Seen(), Box(tmp_path, genuine)
    assert [seen.trial(lambda door=door: box.through(door, genuine.active.data), door) for door in DOORS] == [ACCEPTED] * 3
    assert seen.accepted == list(DOORS)


def _raise(error: Exception) -> Callable[[], object]:
    def act() -> object:
        raise error

    return act


def test_an_accident_is_no_refusal() -> None:
    seen = Seen()
    assert seen.trial(_raise(BundleFormatError("x", remedy="y")), "refused") == REFUSED
    assert seen.trial(_raise(KeyError("x")), "an accident") == BROKEN
    assert seen.broken == ["an accident: KeyError: 'x'"]


def test_a_check_that_refuses_everything_is_no_check(genuine: Genuine, tmp_path: Path) -> None:
    box = Box(tmp_path, genuine)
    box.genuine = Genuine(8)
    with pytest.raises(CordonError, match="genuine bundle at verify is not as it was"):
        box.control(0)


def test_a_store_that_took_something_is_noticed(genuine: Genuine, tmp_path: Path) -> None:
    box = Box(tmp_path, genuine)
    box.through("install", genuine.others[0].data)
    with pytest.raises(CordonError, match="the store is not as it was"):
        box.control(0)


def test_the_command_says_what_it_tried_in_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tamper, "RACES_SHARE", 10**9)
    assert tamper.main(["--bundles", "40", "--first", "5", "--seed", "3"]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {name: figures[name] for name in ("bundles", "seed", "accepted", "broken")} == {
        "bundles": 40,
        "seed": 3,
        "accepted": 0,
        "broken": 0,
    }


def test_one_that_is_accepted_makes_the_status_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    honest = tamper.Family(name="honest", make=lambda box, rng: box.make(9, note=f"{rng.random()}").data)
    monkeypatch.setattr(tamper, "FAMILIES", (honest,))
    assert tamper.main(["--bundles", "3"]) == 1
    assert "ACCEPTED bundle 0, honest, at verify" in capsys.readouterr().out
