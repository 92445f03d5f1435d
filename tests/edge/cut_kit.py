"""The power goes before any call that changes the disk for good, one call after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

Place = TypeVar("Place")
Calls = Sequence[tuple[object, str]]
"""Owner and name of the functions that change the disk."""


class Cut(BaseException):
    """The power went."""


@contextmanager
def cut_before(step: int, calls: Calls) -> Iterator[list[str]]:
    """End the process before its `step`-th of these calls; gives the names of those that were made."""
    done: list[str] = []

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(*arguments: Any, **more: Any) -> Any:
            if len(done) == step:
                raise Cut
            done.append(name)
            return call(*arguments, **more)

        return replaced

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in calls:
            patch.setattr(owner, name, counted(name, getattr(owner, name)))
        yield done


def cuts(begin: Callable[[int], Place], act: Callable[[Place], object], calls: Calls, *, least: int) -> Iterator[Place]:
    """For every step of `act`: a place of its own, in which it was cut off there.

    Ends when a run comes through, which must have made `least` calls or more.
    """
    step = 0
    while True:
        place = begin(step)
        try:
            with cut_before(step, calls) as done:
                act(place)
        except Cut:
            step += 1
            yield place
            continue
        assert step == len(done) >= least
        return
