"""What a camera's frame counter says: next, some lost, seen before, or the camera started again; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FIRST_COUNTERS = (0, 1)
"""A frame with one of these after a higher one means that the camera was restarted."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """How one message follows the one before."""

    kind: Literal["next", "gap", "restart", "duplicate"]
    missed: int = 0
    before: int | None = None


NEXT = Step(kind="next")


class FrameSequence:
    """The counter of one camera. Its first message sets the start; what was sent before we listened is not counted as lost."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._captured_ns = -1

    def frame(self, counter: int, captured_ns: int) -> Step:
        """A frame arrived; a duplicate leaves the sequence as it was."""
        step = self._step(counter, captured_ns)
        if step.kind != "duplicate":
            self._last, self._captured_ns = counter, captured_ns
        return step

    def _step(self, counter: int, captured_ns: int) -> Step:
        last = self._last
        if last is None or counter == last + 1:
            return NEXT
        if counter > last:
            return Step(kind="gap", missed=counter - last - 1, before=last)
        repeated = counter == last and captured_ns == self._captured_ns
        if counter in FIRST_COUNTERS and not repeated:
            return Step(kind="restart", before=last)
        return Step(kind="duplicate", before=last)

    def alive(self, counter: int) -> Step:
        """An alive message arrived; it repeats the counter of the last frame sent, so it tells of frames lost and of restarts."""
        last, self._last = self._last, counter
        if last is None or counter == last:
            return NEXT
        if counter > last:
            return Step(kind="gap", missed=counter - last, before=last)
        return Step(kind="restart", before=last)
