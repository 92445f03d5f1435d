"""TOML from bytes, by the standard library or, before Python 3.11, by the package it came from."""

from __future__ import annotations

import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def parse_toml(data: bytes) -> dict[str, Any]:
    """The tables of a file. Raises ValueError (no UTF-8, no TOML) or, nested too deep, RecursionError."""
    tables: dict[str, Any] = tomllib.loads(data.decode("utf-8"))
    return tables
