"""What the gate needs to know about the machine it runs on."""

from __future__ import annotations

from pathlib import Path


def boot_id() -> str:
    """The kernel's random identity of this boot: CLOCK_MONOTONIC values may only be compared within one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
