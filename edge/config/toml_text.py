"""Values as TOML writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

LONGEST = 80
"""Characters of a value that an error shows."""


def toml_value(value: object) -> str:
    """One value of a configuration on one line; reads back equal. Numbers must be finite."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        # JSON's escapes are TOML's, but for DEL, which TOML wants escaped.
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml_value(entry) for entry in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{json.dumps(key)} = {toml_value(entry)}' for key, entry in value.items())}}}"
    return str(value)


def shown(value: object) -> str:
    """The same for an error: whatever the file holds, cut when it is long."""
    try:
        text = toml_value(value)
    except (ValueError, RecursionError):  # a number of thousands of digits; brackets hundreds deep
        text = f"a {type(value).__name__} too long to show"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
