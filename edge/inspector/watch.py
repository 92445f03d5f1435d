"""Ends a process that stands still: a driver's call that never returns holds Python itself up, its timers and signals included."""

from __future__ import annotations

import faulthandler
import sys
import time

STILL_S = 30.0
"""Far longer than any step that will still end."""
LOADING_S = 600.0
"""Far longer than loading takes, even where a GPU's driver compiles every network first."""
RENEW_S = 1.0
"""The watch is renewed no more often: that takes 0.1 ms, and a frame may be waiting."""


class Watch:
    """After `limit_s` without a `feed`, a thread that needs no Python writes where the process stood and ends it with status 1."""

    def __init__(self, limit_s: float = STILL_S) -> None:
        self._limit_s = limit_s
        self._renewed = float("-inf")

    def feed(self) -> None:
        """The process is alive; the first call begins the watch."""
        now = time.monotonic()
        # Without a standard error there is nowhere to write, and the gate sees a process that is silent anyway.
        if now - self._renewed >= RENEW_S and sys.__stderr__ is not None:
            self._renewed = now
            faulthandler.dump_traceback_later(self._limit_s, exit=True, file=sys.__stderr__)

    def end(self) -> None:
        """Nobody is watched any more."""
        faulthandler.cancel_dump_traceback_later()
