"""The inspector's side of the service manager: READY once every engine proved itself, fed by every step of its loop and by nothing else."""

from __future__ import annotations

import time

from edge.inspector.watch import Watch
from edge.notify import Notifier

STEP_S = 300.0
"""A single step of loading (one network read, compiled and proved) may take this long before the service manager gives up."""


class Alive:
    """Hears of every step after loading: an engine call that does not return is a step that never ends."""

    def __init__(self, notifier: Notifier, watch: Watch) -> None:
        self._notifier = notifier
        self._watch = watch
        self._seen: bool | None = None

    def step(self, *, cameras: bool) -> None:
        """The loop got round. `cameras`: is every one of them heard?"""
        self._watch.feed()
        if cameras is not self._seen:
            first, self._seen = self._seen is None, cameras
            status = "judging" if cameras else "engines proved, waiting for a camera"
            (self._notifier.ready if first else self._notifier.status)(status)
        self._notifier.alive(time.monotonic_ns())
