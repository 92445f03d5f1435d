"""What the gate needs to know about the machine it runs on."""

from __future__ import annotations

import functools
import os
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LENGTH = 36
"""Characters of a UUID."""


@functools.cache
def boot_id(path: Path = BOOT_ID) -> str:
    """The kernel's random identity of this boot: CLOCK_MONOTONIC values may only be compared within one.

    Where it cannot be read, an identity that no other process has: nothing may be taken for something of the same boot.
    """
    found, _ = _read(path)
    return found or f"unknown-{os.urandom(4).hex()}"


def boot_problem(path: Path = BOOT_ID) -> str:
    """Why the boot's identity cannot be read; "" where it can."""
    found, seen = _read(path)
    if found:
        return ""
    told = f"the identity of this boot cannot be read (seen: {seen}), so every start of the gate counts as one of another boot"
    return f"{told}. Let the gate read {path}: mount /proc without hidepid or subset for it"


def _read(path: Path) -> tuple[str, str]:
    """The identity, or "" and what was seen in its place."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        return "", str(exc)
    return (text, "") if len(text) == LENGTH else ("", repr(text[:LENGTH]))
