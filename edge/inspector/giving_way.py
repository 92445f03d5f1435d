"""How a thread that loads networks gives way to the one that judges: lowest priority, a frequent change of Python's lock, pauses."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

LOWEST = 19
LOCK_S = 0.0002
"""Another thread may ask for Python's lock after so long; 5 ms is usual, and a frame asks for it a dozen times."""
_TASKS = Path("/proc/self/task")


@contextlib.contextmanager
def giving_way() -> Iterator[None]:
    """The calling thread, and every one that is made meanwhile, comes last; afterwards all are as they were.

    Threads inherit their maker's priority, and those that OpenVINO makes for a network stay to judge with. So nothing is lowered where
    the account could not raise it again (LimitNICE= of the service).
    """
    interval = sys.getswitchinterval()
    sys.setswitchinterval(LOCK_S)
    try:
        with _lowered() if _may_come_back() else contextlib.nullcontext():
            yield
    finally:
        sys.setswitchinterval(interval)


@contextlib.contextmanager
def _lowered() -> Iterator[None]:
    own, before = threading.get_native_id(), _threads()
    usual = os.getpriority(os.PRIO_PROCESS, own)
    os.setpriority(os.PRIO_PROCESS, own, LOWEST)
    try:
        yield
    finally:
        for thread in {own} | (_threads() - before):
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                os.setpriority(os.PRIO_PROCESS, thread, usual)


def _threads() -> set[int]:
    return {int(task.name) for task in _TASKS.iterdir()}


def _may_come_back() -> bool:
    """Tried out by a thread that ends either way."""
    outcome: list[bool] = []

    def attempt() -> None:
        own = threading.get_native_id()
        usual = os.getpriority(os.PRIO_PROCESS, own)
        try:
            os.setpriority(os.PRIO_PROCESS, own, LOWEST)
            os.setpriority(os.PRIO_PROCESS, own, usual)
        except OSError:
            return
        outcome.append(True)

    thread = threading.Thread(target=attempt, name="priority")
    thread.start()
    thread.join()
    return bool(outcome)
