"""IProgressMonitor, and a build's phases as the monitor hears of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from trt_standin.binding import Overridable, pure


class IProgressMonitor(Overridable):
    """What the user derives a monitor from."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise pure("IProgressMonitor::phase_start", phase_name, parent_phase, num_steps)

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise pure("IProgressMonitor::step_complete", phase_name, step)

    def phase_finish(self, phase_name: str) -> None:
        raise pure("IProgressMonitor::phase_finish", phase_name)


class CancelledBuildError(Exception):
    """The monitor did not answer True."""

    def __init__(self) -> None:
        super().__init__("Error Code 7: BuildCanceled (Build canceled by user)")


_ROOT = "Building engine"


def run_phases(monitor: Any, layers: tuple[str, ...]) -> None:
    """Tell `monitor` of a build. Raises CancelledBuildError once step_complete answers anything but True, or raises."""
    if monitor is None:
        return
    inner = (("Cloning network graph", len(layers) + 2), ("Preparing graph for optimization", 4), ("Selecting tactics", len(layers)))
    open_phases: list[str] = []

    def start(name: str, parent: str | None, steps: int) -> None:
        _heard("phase_start", lambda: monitor.phase_start(name, parent, steps))
        open_phases.append(name)

    def step(name: str, number: int) -> None:
        if _heard("step_complete", lambda: monitor.step_complete(name, number)) in (None, False):
            raise CancelledBuildError

    def finish() -> None:
        name = open_phases.pop()
        _heard("phase_finish", lambda: monitor.phase_finish(name))

    try:
        start(_ROOT, None, len(inner))
        for number, (name, steps) in enumerate(inner):
            start(name, _ROOT, steps)
            for index in range(steps):
                step(name, index)
            finish()
            step(_ROOT, number)
    finally:
        while open_phases:
            finish()


def _heard(what: str, call: Callable[[], Any]) -> Any:
    """What the monitor answers; what it raises is printed, and counts as no answer."""
    try:
        return call()
    except Exception as exc:  # noqa: BLE001 -- the bindings swallow it too
        print(f"[ERROR] Exception caught in {what}(): {type(exc).__name__}: {exc}", file=sys.stderr)
        return None
