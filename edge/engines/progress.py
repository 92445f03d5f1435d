"""How far a build is, and how it is stopped: the builder's progress monitor behind a small interface."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol


class Progress(Protocol):
    """Hears of a build's phases; they nest, may come from several threads, and names may repeat."""

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase of `steps` steps begins; `parent` is None for the whole build."""

    def step(self, phase: str, step: int) -> bool:
        """Step `step` is done; False stops the build."""

    def finish(self, phase: str) -> None:
        """The phase has ended, also when the build was stopped."""


class Cancel:
    """Whether a build is to stop; set from anywhere, heard at the builder's next step."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.cause: Exception | None = None
        """What a Progress raised, for the caller: the builder would swallow it."""

    def set(self, cause: Exception | None = None) -> None:
        """Stop at the next step."""
        self.cause = self.cause or cause
        self._event.set()

    @property
    def asked(self) -> bool:
        """Was a stop asked for?"""
        return self._event.is_set()


def monitor_for(trt: Any, cancel: Cancel, progress: Progress | None) -> Any:
    """An IProgressMonitor that reports to `progress` and stops the build once `cancel` is set or `progress.step` is False."""
    base: Any = trt.IProgressMonitor

    def tell(event: Callable[[Progress], bool | None]) -> bool | None:
        try:
            return None if progress is None else event(progress)
        except Exception as exc:  # noqa: BLE001 -- raised again by the build
            cancel.set(exc)
            return None

    class Monitor(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            tell(lambda to: to.start(phase_name, parent_phase, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            # Anything but True stops the build, None too.
            if tell(lambda to: to.step(phase_name, step)) is False:
                cancel.set()
            return not cancel.asked

        def phase_finish(self, phase_name: str) -> None:
            tell(lambda to: to.finish(phase_name))

    return Monitor()
