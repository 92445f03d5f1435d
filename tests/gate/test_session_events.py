"""Events without a flood: what is a row at once, what is counted, and when the count becomes a row."""

from __future__ import annotations

import pytest

from edge.contract import Reason
from edge.gate.events import EventBook
from edge.gate.rows import EventRow

S = 1_000_000_000


def a_row(detail: str, count: int, first_ns: int, at_ns: int) -> EventRow:
    return EventRow(kind="frame", reason="FRAME_CRC", detail=detail, camera="cam0", count=count, first_ns=first_ns, at_ns=at_ns)


def note(book: EventBook, detail: str, now_ns: int, **changes: int) -> EventRow | None:
    return book.note("frame", Reason.FRAME_CRC, detail, now_ns, camera="cam0", **changes)


def test_the_first_event_is_a_row_at_once_with_its_own_count() -> None:
    assert note(EventBook(), "a", 7, count=3) == a_row("a", 3, 7, 7)
    assert EventBook().note("link", None, "up", 7) == EventRow(kind="link", reason="", detail="up", camera="", count=1, first_ns=7, at_ns=7)


def test_equal_events_within_a_second_share_one_row_that_is_due_exactly_at_its_end() -> None:
    book = EventBook()
    note(book, "a", 100)
    assert note(book, "b", 200, count=2) is None
    assert note(book, "c", 300, count=5) is None
    assert book.due(100 + S - 1) == []
    assert book.due(100 + S) == [a_row("c", 7, 200, 300)]


def test_a_counted_second_is_followed_by_another_one() -> None:
    book = EventBook()
    note(book, "a", 0)
    note(book, "b", 1)
    book.due(S + 5)
    assert note(book, "c", S + 6) is None
    assert book.due(2 * S + 4) == []
    assert book.due(2 * S + 5) == [a_row("c", 1, S + 6, S + 6)]


def test_a_second_without_a_further_event_is_forgotten() -> None:
    book = EventBook()
    note(book, "a", 0)
    assert book.due(S) == []
    assert book.next_ns() is None
    assert note(book, "b", S) == a_row("b", 1, S, S)


def test_at_the_end_everything_counted_is_due_and_nothing_is_counted_on() -> None:
    book = EventBook()
    note(book, "a", 0)
    note(book, "b", 1)
    assert book.due(2, everything=True) == [a_row("b", 1, 1, 1)]
    assert book.next_ns() is None


def test_the_next_due_moment_is_the_earliest() -> None:
    book = EventBook()
    assert book.next_ns() is None
    note(book, "a", 50)
    book.note("link", None, "", 20)
    book.note("link", Reason.OK, "", 70)
    assert book.next_ns() == 20 + S


@pytest.mark.parametrize("other", [("link", Reason.FRAME_CRC, "cam0"), ("frame", None, "cam0"), ("frame", Reason.FRAME_CRC, "cam1")])
def test_events_are_equal_only_in_kind_reason_and_camera(other: tuple[str, Reason | None, str]) -> None:
    book = EventBook()
    note(book, "a", 0)
    kind, reason, camera = other
    assert book.note(kind, reason, "a", 0, camera=camera) is not None


def test_more_kinds_than_fit_into_a_second_share_a_row_and_known_ones_keep_theirs() -> None:
    book = EventBook()
    for number in range(64):
        row = book.note("frame", None, "", 0, camera=f"cam{number}")
        assert row is not None
        assert row.kind == "frame"
    shared = book.note("frame", None, "x", 1, camera="cam64")
    assert shared == EventRow(kind="more", reason="", detail="x", camera="", count=1, first_ns=1, at_ns=1)
    assert book.note("frame", None, "y", 2, camera="cam65", count=4) is None
    assert book.note("frame", None, "z", 3, camera="cam63") is None
    last = {row.kind: (row.count, row.camera) for row in book.due(S + 1)}
    assert last == {"more": (4, ""), "frame": (1, "cam63")}
