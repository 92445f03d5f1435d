"""A camera program of the tests as a process."""

from __future__ import annotations

import time
from pathlib import Path

START_S = 20.0


def await_socket(path: Path) -> None:
    """Until the program has bound its Unix socket: how long it takes to start is not what the acceptance is about."""
    until_s = time.monotonic() + START_S
    while not path.is_socket():
        assert time.monotonic() < until_s, f"no camera program at {path} within {START_S:g} s"
        time.sleep(0.01)
