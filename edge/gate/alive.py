"""The gate's side of the service manager: READY once it serves, fed only while both its loop and its recorder get on."""

from __future__ import annotations

from edge.gate.records import Recorder
from edge.notify import Notifier

RECORDER_STILL_NS = 30 * 10**9
"""A recorder that ended no step for so long is stuck: an idle one ends one every ten seconds, checking a file takes one for seconds."""


class Alive:
    """Hears of every step of the gate's loop, after it."""

    def __init__(self, notifier: Notifier, recorder: Recorder, status: str, now_ns: int) -> None:
        """`status` is what `systemctl status` shows once the gate serves."""
        self._notifier = notifier
        self._recorder = recorder
        self._status = status
        self._steps, self._moved_ns = 0, now_ns

    def step(self, now_ns: int) -> None:
        """The loop got round; says nothing while the recorder does not."""
        steps = self._recorder.steps
        if steps != self._steps:
            if self._steps == 0:
                self._notifier.ready(self._status)
            self._steps, self._moved_ns = steps, now_ns
        if self._steps and now_ns - self._moved_ns < RECORDER_STILL_NS:
            self._notifier.alive(now_ns)

    def stopping(self) -> None:
        """The gate ends."""
        self._notifier.stopping()

    def close(self) -> None:
        """Nothing follows."""
        self._notifier.close()
