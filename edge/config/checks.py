"""What every table of the configuration is checked with: each refusal names key, value and remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from edge.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}\Z")
"""Part, weld, typology and camera names: at most 24 characters that are safe on the serial line, in files and in logs."""


class Refusal(NamedTuple):
    """A value that no table may have. `key` is dotted, with `[0]` where it lies in a list; the range is given where there is one."""

    key: str
    seen: object
    remedy: str
    low: float | None = None
    high: float | None = None


_collected: ContextVar[list[Refusal] | None] = ContextVar("collected", default=None)


@contextmanager
def collecting() -> Iterator[list[Refusal]]:
    """Within it the checks below raise nothing, but say everything they refuse in the list."""
    found: list[Refusal] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


def refuse(refusal: Refusal) -> None:
    """Raises ConfigError, unless refusals are being collected."""
    found = _collected.get()
    if found is None:
        raise ConfigError(f"{refusal.key} is not usable", seen=refusal.seen, remedy=refusal.remedy)
    found.append(refusal)


def require(condition: bool, key: str, seen: object, remedy: str) -> None:
    """Raises ConfigError unless the condition holds."""
    if not condition:
        refuse(Refusal(key, seen, remedy))


def between(key: str, value: float, low: float, high: float) -> bool:
    """Raises ConfigError unless low <= value <= high; where refusals are collected, says whether."""
    # False for NaN and infinities too; an integer beyond every float must not be made one.
    within = low <= value <= high
    if not within:
        refuse(Refusal(key, value, f"Choose a value from {number(low)} to {number(high)}", low, high))
    return within


def number(value: float) -> str:
    """As a person writes it: no exponent, no decimals that say nothing."""
    return str(int(value)) if -(2**63) < value < 2**63 and value == int(value) else f"{value:g}"


def keys(key: str, values: tuple[str, ...], remedy: str) -> None:
    """At least one key, each of 64 hex digits. Raises ConfigError."""
    require(bool(values), key, values, remedy)
    hex_digits(key, values)


def hex_digits(key: str, values: tuple[str, ...]) -> None:
    """Keys or hashes of 64 hex digits each. Raises ConfigError."""
    for place, value in enumerate(values):
        ok = re.fullmatch(r"[0-9a-f]{64}", value) is not None
        require(ok, f"{key}[{place}]", value, "A key or a bundle's hash is 64 lower-case hex digits")


def plain_name(key: str, value: str) -> None:
    """A part, weld, typology or camera name. Raises ConfigError."""
    require(NAME.match(value) is not None, key, value, "Use 1 to 24 of A-Z a-z 0-9 . _ - and start with a letter or digit")
