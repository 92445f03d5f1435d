"""Runs inside the box: kills or freezes a unit's main process again and again, and tells how long it took until systemd had it serving."""

# ruff: noqa: INP001 - copied into the box and run by its Python

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

LIMIT_S = 60.0


def main(unit: str, name: str, count: int) -> int:
    """Print one JSON object: milliseconds from the signal to the unit's READY, one per round."""
    found = [round_trip(unit, signal.Signals[name]) for _ in range(count)]
    print(json.dumps({"unit": unit, "signal": name, "ms": [round(value, 1) for value in found]}))
    return 0


def round_trip(unit: str, number: signal.Signals) -> float:
    """One signal. Raises TimeoutError when the unit does not come back."""
    # The limit of restarts within a minute is another subject.
    subprocess.run(["systemctl", "reset-failed", unit], check=True)
    before = shown(unit)
    time.sleep(0.3)
    sent_us = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    os.kill(int(before["MainPID"]), number)
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        now = shown(unit)
        if now["ActiveState"] == "active" and now["MainPID"] not in ("0", before["MainPID"]):
            return (int(now["ActiveEnterTimestampMonotonic"]) - sent_us) / 1_000
        time.sleep(0.02)
    raise TimeoutError(f"{unit} did not come back: {shown(unit)}")


def shown(unit: str) -> dict[str, str]:
    """What systemd says of it."""
    words = ["systemctl", "show", unit, "--property=MainPID,ActiveState,ActiveEnterTimestampMonotonic"]
    return dict(line.split("=", 1) for line in subprocess.run(words, check=True, capture_output=True, text=True).stdout.split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
