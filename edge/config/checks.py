"""What every table of the configuration is checked with: each refusal names key, value and remedy."""

from __future__ import annotations

import re

from edge.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,23}\Z")
"""Part, weld, typology and camera names: at most 24 characters that are safe on the serial line, in files and in logs."""


def require(condition: bool, key: str, seen: object, remedy: str) -> None:
    """Raises ConfigError unless the condition holds."""
    if not condition:
        raise ConfigError(f"{key} is not usable", seen=seen, remedy=remedy)


def between(key: str, value: float, low: float, high: float) -> None:
    """Raises ConfigError unless low <= value <= high."""
    # False for NaN and infinities too; an integer beyond every float must not be made one.
    require(low <= value <= high, key, value, f"Choose a value from {low:g} to {high:g}")


def keys(key: str, values: tuple[str, ...], remedy: str) -> None:
    """At least one key, each of 64 hex digits. Raises ConfigError."""
    require(bool(values), key, values, remedy)
    hex_digits(key, values)


def hex_digits(key: str, values: tuple[str, ...]) -> None:
    """Keys or hashes of 64 hex digits each. Raises ConfigError."""
    for value in values:
        require(re.fullmatch(r"[0-9a-f]{64}", value) is not None, key, value, "A key or a bundle's hash is 64 lower-case hex digits")


def plain_name(key: str, value: str) -> None:
    """A part, weld, typology or camera name. Raises ConfigError."""
    require(NAME.match(value) is not None, key, value, "Use 1 to 24 of A-Z a-z 0-9 . _ - and start with a letter or digit")
