"""What a person probably meant: near-miss names, values of the wrong type, values in the wrong unit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from edge.config.checks import Refusal, number
from edge.config.toml_text import toml_value

UNITS: dict[str, tuple[tuple[float, str], ...]] = {
    "_ms": ((1000.0, "that would be seconds"), (0.001, "that would be microseconds")),
    "_s": ((0.001, "that would be milliseconds"), (60.0, "that would be minutes")),
    "_mb": ((2.0**-20, "that would be bytes"), (1024.0, "that would be gigabytes")),
    "_days": ((1 / 24, "that would be hours"), (7.0, "that would be weeks")),
}
"""By the end of a key: factors that turn another unit into the key's, and what the value would then be in."""
_NUMBER_AND_UNIT = re.compile(r"\s*([+-]?[0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z%]*)\s*\Z")


def struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """The table that a field holds: itself, or the one it may be absent from; None for plain values and lists."""
    for part in (kind, *_members(kind)):
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            return part
    return None


def entry_of(kind: Any) -> Any:
    """What a list holds one of, or None where the field is no list."""
    for part in (kind, *_members(kind)):
        if get_origin(part) is tuple:
            return get_args(part)[0]
    return None


def near(name: str, names: Iterable[str]) -> str:
    """`Did you mean ...?` for a name that resembles one of these, else empty."""
    found = difflib.get_close_matches(name.lower(), {known.lower(): known for known in names}, n=1, cutoff=0.6)
    known = next((known for known in names if found and known.lower() == found[0]), "")
    return f"Did you mean {known}?" if known else ""


def wanted(kind: Any) -> str:
    """What a field takes, in words."""
    choices = _choices(kind)
    if choices:
        return f"one of {', '.join(toml_value(choice) for choice in choices)}"
    if (entry := entry_of(kind)) is not None:
        return f"a list of {'tables' if struct_in(entry) else 'texts in quotes'}"
    if struct_in(kind) is not None:
        return "a table"
    kinds = {part for part in (kind, *_members(kind)) if isinstance(part, type)}
    for known, words in ((bool, "true or false"), (Path, "a path in quotes"), (str, "a text in quotes")):
        if known in kinds:
            return words
    return "a number" if float in kinds else "a whole number"


def remedy_for(kind: Any, name: str, raw: object) -> str:
    """What to write instead of a value of the wrong type, or of none of the allowed ones."""
    choices = _choices(kind)
    if isinstance(raw, str) and choices and (text := near(raw, [c for c in choices if isinstance(c, str)])):
        return text.replace("mean ", 'mean "').replace("?", '"?')
    if entry_of(kind) is not None and isinstance(raw, str) and struct_in(entry_of(kind)) is None:
        return f"Put it into brackets: {name} = [{toml_value(raw)}]"
    if entry_of(kind) is not None and struct_in(entry_of(kind)) is not None:
        return f"Write [[...{name}]], with double brackets, and its keys below; one for each"
    if not name:  # one of a list
        return f'Put it into quotes: "{raw}"' if type(raw) is int and abs(raw) < 2**60 else "Correct the value"
    if raw == "":
        return "Give a name, or leave the key out where it has a default"
    return _rewritten({part for part in (kind, *_members(kind)) if isinstance(part, type)}, name, raw)


def unit_hint(refusal: Refusal) -> str:
    """`. 0.2 is too small: ... did you mean 200?` where a value out of range is in range in a neighbouring unit, else empty.

    Nothing is said of one that is hardly too large: it was meant in this unit.
    """
    value, low, high = refusal.seen, refusal.low, refusal.high
    if low is None or high is None or not isinstance(value, int | float) or not 0 < abs(value) < 2**60 or high < value < 2 * high:
        return ""
    near_units = next((factors for ending, factors in UNITS.items() if refusal.key.endswith(ending)), ())
    for factor, words in near_units:
        if low <= value * factor <= high:
            meant = number(float(f"{value * factor:.6g}"))
            return f". {number(value)} is too {'small' if value < low else 'large'}: {words}; did you mean {meant}?"
    return ""


def _rewritten(kinds: set[type], name: str, raw: object) -> str:
    numeric = bool({int, float} & kinds) and bool not in kinds
    if isinstance(raw, str) and numeric and (match := _NUMBER_AND_UNIT.match(raw)):
        return f"Write {name} = {match[1]}, without quotes" + (f" and without a unit (it is {_unit(name)})" if match[2] else "")
    if isinstance(raw, str) and bool in kinds and raw.lower() in ("true", "false"):
        return f"Write {name} = {raw.lower()}, without quotes"
    if isinstance(raw, bool) and numeric:
        return "Write a number"
    if isinstance(raw, float) and int in kinds and float not in kinds and abs(raw) < 2**60 and raw == int(raw):
        return f"Write {name} = {int(raw)}, without a decimal point"
    if isinstance(raw, int | float) and {str, Path} & kinds:
        return f'Put it into quotes: {name} = "{raw}"' if abs(raw) < 2**60 else "Put it into quotes"
    if isinstance(raw, list) and len(raw) == 1:
        return "Write it without brackets"
    return "Correct the value"


def _unit(name: str) -> str:
    words = {"ms": "in milliseconds", "s": "in seconds", "mb": "in megabytes", "days": "in days", "bytes": "in bytes"}
    return words.get(name.rpartition("_")[2], "a plain number")


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else ()


def _choices(kind: Any) -> tuple[object, ...]:
    for part in (kind, *_members(kind)):
        if get_origin(part) is Literal:
            return get_args(part)
    return ()
