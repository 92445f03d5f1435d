"""What counts of a series of runs: the worst of an attempt, and the best of three attempts."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from itertools import chain, cycle, repeat
from types import SimpleNamespace
from typing import Any

import pytest

from edge.inspector import startup_runs


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup_runs, "PAUSES_S", (0.0, 0.0))


def runs(taken: Iterator[float]) -> Callable[[], float]:
    return lambda: next(taken)


def worst_of(*arguments: Any, **more: Any) -> tuple[float, int, int]:
    seen, attempts = startup_runs.worst_of(*arguments, **more)
    return seen.needed_ms, seen.runs, attempts


def test_twenty_runs_are_enough_where_the_worst_is_far_from_the_limit() -> None:
    assert worst_of(runs(chain([50.0], repeat(1.0))), 100.0) == (50.0, 20, 1)


def test_fifty_are_looked_at_where_it_is_near() -> None:
    assert worst_of(runs(chain([51.0], repeat(1.0))), 100.0) == (51.0, 50, 1)


def test_one_hiccup_of_the_machine_refuses_nothing() -> None:
    assert worst_of(runs(chain([1.0] * 5, [900.0], repeat(1.0))), 100.0) == (1.0, 20, 2)


def test_two_hiccups_refuse_nothing() -> None:
    assert worst_of(runs(chain([900.0], repeat(1.0, 49), [900.0], repeat(1.0))), 100.0) == (1.0, 20, 3)


@pytest.mark.parametrize(("frame_s", "runs_wanted"), [(0.1, 20), (0.6, 9), (3.0, 5)])
def test_frames_that_take_seconds_do_not_make_the_start_take_minutes(
    frame_s: float, runs_wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now_s=1_000.0)

    def timed() -> float:
        clock.now_s += frame_s
        return frame_s * 1_000.0

    monkeypatch.setattr(startup_runs, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    assert worst_of(timed, frame_s * 1_500.0) == (frame_s * 1_000.0, runs_wanted, 1)


def test_what_is_late_now_and_then_is_late_in_every_attempt() -> None:
    worst_ms, _, attempts = worst_of(runs(cycle([40.0] * 19 + [130.0])), 100.0)
    assert (worst_ms, attempts) == (130.0, 3)


def test_the_best_of_three_attempts_counts_whichever_it_was() -> None:
    assert worst_of(runs(chain(repeat(110.0, 5), repeat(130.0, 5), repeat(120.0, 5))), 100.0) == (110.0, 5, 3)


def test_no_collection_falls_into_a_run_and_it_goes_on_afterwards() -> None:
    assert gc.isenabled()
    with startup_runs._collector_off():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_never_fits_is_known_after_five_runs() -> None:
    seen: list[float] = []
    assert worst_of(runs(repeat(101.0)), 100.0, between=lambda: seen.append(1)) == (101.0, 5, 3)
    assert len(seen) == 15


def test_the_fastest_of_five_must_not_fit_either_before_it_is_given_up() -> None:
    assert worst_of(runs(chain([900.0] * 4, repeat(1.0))), 100.0)[2] == 2


def test_every_golden_input_is_run_however_many_there_are() -> None:
    assert worst_of(runs(repeat(1.0)), 100.0, least=27)[1] == 27


@pytest.mark.parametrize("limit_ms", [0.0, -40.0])
def test_nothing_fits_where_nothing_is_left(limit_ms: float) -> None:
    worst_ms, _, attempts = worst_of(runs(repeat(0.2)), limit_ms)
    assert (worst_ms, attempts) == (0.2, 1)


def test_the_wait_before_a_run_counts_and_a_hiccup_does_not_lengthen_it() -> None:
    assert worst_of(runs(chain([40.0], repeat(10.0))), 100.0, wait=lambda fastest_ms: fastest_ms - 2.0) == (48.0, 20, 1)
    assert worst_of(runs(repeat(60.0)), 100.0, wait=lambda fastest_ms: fastest_ms) == (120.0, 5, 3)
