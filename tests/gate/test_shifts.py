"""When the next shift begins, whatever summer time and the clock do."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.gate.shifts import NS_PER_S, next_shift

YEARS = st.integers(946_684_800, 4_102_444_800)


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str, *, summer: int = -1) -> int:
    return int(time.mktime((*time.strptime(text, "%Y-%m-%d %H:%M:%S")[:8], summer))) * NS_PER_S


def said(moment_ns: int | None) -> str:
    assert moment_ns is not None
    return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(moment_ns // NS_PER_S))


@pytest.mark.parametrize(
    ("after", "following"),
    [
        ("2026-11-21 05:59:59", "2026-11-21 06:00:00 CET"),
        ("2026-11-21 06:00:00", "2026-11-21 14:00:00 CET"),
        ("2026-11-21 22:00:00", "2026-11-22 06:00:00 CET"),
        ("2026-11-30 23:00:00", "2026-12-01 06:00:00 CET"),
        ("2026-12-31 23:00:00", "2027-01-01 06:00:00 CET"),
        ("2028-02-28 23:00:00", "2028-02-29 06:00:00 CET"),
        ("2026-03-28 23:00:00", "2026-03-29 06:00:00 CEST"),
        ("2026-10-24 23:00:00", "2026-10-25 06:00:00 CET"),
    ],
)
def test_a_shift_begins_at_its_local_time(after: str, following: str) -> None:
    assert said(next_shift(at(after), ("22:00", "06:00", "14:00"))) == following


def test_a_nanosecond_before_its_start_a_shift_has_not_begun() -> None:
    assert next_shift(at("2026-11-21 06:00:00") - 1, ("06:00",)) == at("2026-11-21 06:00:00")


def test_a_start_in_the_hour_that_is_left_out_counts_at_the_earliest_it_could_mean() -> None:
    assert said(next_shift(at("2026-03-29 00:00:00"), ("02:30",))) == "2026-03-29 01:30:00 CET"


def test_a_start_in_the_hour_that_comes_twice_counts_both_times() -> None:
    first = next_shift(at("2026-10-25 00:00:00"), ("02:30",))
    second = next_shift(first or 0, ("02:30",))
    assert [said(first), said(second)] == ["2026-10-25 02:30:00 CEST", "2026-10-25 02:30:00 CET"]
    assert said(next_shift(second or 0, ("02:30",))) == "2026-10-26 02:30:00 CET"


def test_without_shifts_there_is_no_start() -> None:
    assert next_shift(at("2026-11-21 06:00:00"), ()) is None


@pytest.mark.parametrize("moment", [10**30, -(10**30), (2**63 - 1) * NS_PER_S])
def test_a_clock_outside_every_calendar_makes_it_due_at_once(moment: int) -> None:
    assert next_shift(moment, ("06:00",)) == moment


@given(YEARS, st.integers(0, 23), st.integers(0, 59))
def test_no_start_is_missed_in_any_second_of_the_century(after_s: int, hour: int, minute: int) -> None:
    """Against a clock that is looked at every minute."""
    found = next_shift(after_s * NS_PER_S, (f"{hour:02}:{minute:02}",))
    assert found is not None
    shown = [
        moment for moment in range(after_s - after_s % 60 + 60, after_s + 27 * 3600, 60) if time.localtime(moment)[3:5] == (hour, minute)
    ]
    assert after_s * NS_PER_S < found
    if shown:
        assert found <= shown[0] * NS_PER_S
        assert time.localtime(found // NS_PER_S)[3:5] == (hour, minute) or found < shown[0] * NS_PER_S


def test_times_are_nanoseconds_of_the_wall_clock() -> None:
    assert next_shift(1_795_000_000 * 10**9, ["06:00"]) == 1_795_064_400 * 10**9


def test_a_shift_that_is_no_time_of_day_is_due_at_once() -> None:
    assert next_shift(1_795_000_000 * 10**9, ["nonsense"]) == 1_795_000_000 * 10**9
