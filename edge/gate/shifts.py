"""When the next shift begins, by the box's clock and time zone; pure but for the system's table of time zones."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

NS_PER_S = 1_000_000_000
_DST = (0, 1, -1)
"""Winter time, summer time, and whatever the system takes it for."""


def next_shift(after_ns: int, shifts: Sequence[str]) -> int | None:
    """Wall clock (ns since 1970) of the first start strictly after this moment; None without shifts.

    A start in the hour that summer time leaves out counts at the earliest moment it could mean, one in the hour that comes
    twice counts both times. A clock that stands outside every calendar gives the moment itself: due at once.
    """
    if not shifts:
        return None
    try:
        return min(start_ns for start_ns in _starts(after_ns // NS_PER_S, shifts) if start_ns > after_ns)
    except (OverflowError, ValueError, OSError):
        return after_ns


def _starts(after_s: int, shifts: Iterable[str]) -> Iterator[int]:
    year, month, day = time.localtime(after_s)[:3]
    for later in range(-1, 4):
        for shift in shifts:
            yield from _moments((year, month, day + later, int(shift[:2]), int(shift[3:])))


def _moments(local: tuple[int, int, int, int, int]) -> Iterator[int]:
    """Every moment at which the local clock shows this."""
    # Asked for noon, the calendar puts the day right where it lies outside the month; no time zone changes then.
    noon = time.localtime(time.mktime((*local[:3], 12, 0, 0, 0, 0, -1)))
    wanted = (*noon[:3], *local[3:])
    found = {int(time.mktime((*wanted, 0, 0, 0, dst))) for dst in _DST}
    shown = {moment for moment in found if time.localtime(moment)[:5] == wanted}
    for moment in shown or {min(found)}:
        yield moment * NS_PER_S
