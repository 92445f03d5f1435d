"""Where in a file something stands: key paths as a person reads them, and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from edge.config.hints import entry_of, struct_in
from edge.config.lines import KeyPath

_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def dotted(path: KeyPath, *, numbers: bool = False) -> str:
    """`inspector.camera.name`, or with numbers `inspector.camera[0].name`."""
    text = ""
    for part in path:
        if isinstance(part, str):
            text += f".{part}" if text else part
        elif numbers:
            text += f"[{part}]"
    return text


def resolved(key: str, path: KeyPath) -> KeyPath:
    """The path of a key that a check of the table at `path` names: there, or wherever its dots and numbers lead."""
    where: KeyPath = tuple(name or int(number) for name, number in _PART.findall(key))
    strings = tuple(part for part in path if isinstance(part, str))
    return (*path, *where[len(strings) :]) if where[: len(strings)] == strings and len(where) > len(strings) else where


def found_at(raw: Any, path: KeyPath) -> tuple[bool, Any]:
    """Is there a value at this path, and which?"""
    for part in path:
        table = isinstance(part, str) and isinstance(raw, Mapping) and part in raw
        entry = isinstance(part, int) and isinstance(raw, list) and part < len(raw)
        if not table and not entry:
            return False, None
        raw = raw[part]
    return True, raw


def spoken(path: KeyPath, raw: Mapping[str, Any]) -> str:
    """`inspector.camera.endpoint of "cam1" (table 2)`, `inspector.trusted_keys, entry 2,`."""
    text = dotted(path)
    for end in range(len(path), 0, -1):
        part = path[end - 1]
        if isinstance(part, str):
            continue
        value = found_at(raw, path[:end])[1]
        name = value.get("name") if isinstance(value, Mapping) else None
        if isinstance(name, str) and len(name) <= 24 and name.isprintable():
            text += f' of "{name}" (table {part + 1})'
        else:
            text += f" of table {part + 1}" if isinstance(value, Mapping) else f", entry {part + 1},"
    return text


@cache
def fields_of(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a table; remembered, because their types are worked out anew each time."""
    return msgspec.structs.fields(kind)


def tables_of(root: type[msgspec.Struct], path: str = "") -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Every table of a file of this form with its dotted name, the root's own being empty."""
    yield path, root
    for field in fields_of(root):
        entry = entry_of(field.type)
        below = struct_in(field.type) or (struct_in(entry) if entry is not None else None)
        if below is not None:
            yield from tables_of(below, f"{path}.{field.encode_name}" if path else field.encode_name)


@cache
def homes(root: type[msgspec.Struct]) -> Mapping[str, list[str]]:
    """The tables that have a key, by the key's name."""
    found: dict[str, list[str]] = {}
    for path, table in tables_of(root):
        for name in table.__struct_fields__ if path else ():
            found.setdefault(name, []).append(path)
    return found
