"""Counts who was not let in, and tells it seldom: however many strangers come, log and record get one line in ten seconds."""

from __future__ import annotations

import logging

from edge.contract import FrameEvent, Reason

EVERY_NS = 10_000_000_000

log = logging.getLogger("cordon.inspector")


class Refusals:
    """One camera's: `note` counts, `told` gives an event when one is due."""

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self.total = 0
        """Since the start."""
        self.last = ""
        """Who was refused last, and why."""
        self._untold, self._due_ns = 0, 0

    def note(self, what: str) -> None:
        """Somebody was refused; `what` says who and why."""
        self.total += 1
        self._untold += 1
        self.last = what

    def told(self, now_ns: int) -> FrameEvent | None:
        """The refusals since the last event, at most one every ten seconds (CLOCK_MONOTONIC); the last one is described."""
        if not self._untold or now_ns < self._due_ns:
            return None
        self._due_ns = now_ns + EVERY_NS
        event = FrameEvent(self._camera, None, Reason.CAMERA_REFUSED, self.last, self._untold)
        log.warning("camera %s: %d refused, the last: %s", self._camera, self._untold, self.last)
        self._untold = 0
        return event
