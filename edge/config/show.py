"""The configuration that is in effect: every key with its value, where that comes from, and what it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from edge.config.example import described, ranges
from edge.config.keys import Key, Table, tables
from edge.config.lines import KeyPath, lines_of
from edge.config.load import Config, checked
from edge.config.reload import LIVE
from edge.config.toml_text import toml_value


class Shown(NamedTuple):
    """One key in effect. `line` is where the file gives it; None: `value` is the default (or None: absent)."""

    path: KeyPath
    key: Key
    value: object
    line: int | None
    text: str

    @property
    def name(self) -> str:
        """Dotted, with `[0]` for the first of a list."""
        return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)[1:]

    @property
    def origin(self) -> str:
        """`line 12`, or `default`."""
        return "default" if self.line is None else f"line {self.line}"


class ShownTable(NamedTuple):
    """One table in effect; `keys` is empty where an optional one is absent."""

    table: Table
    present: bool
    keys: tuple[Shown, ...]


def in_effect(path: Path, data: bytes) -> list[ShownTable]:
    """Every table of the file's form, in its order. Raises ConfigFileError."""
    config, lines = checked(path, data, Config), lines_of(data.decode("utf-8"))
    return [shown for table in tables() for shown in _shown(table, config, lines)]


def as_toml(shown: list[ShownTable], *, everything: bool) -> str:
    """As a file that reads back to the same configuration; without `everything` only what the file gives."""
    return "\n\n".join(block for table in shown if (block := _block(table, everything=everything))) + "\n"


def as_json(shown: list[ShownTable], *, everything: bool) -> bytes:
    """The same as a JSON list of keys."""
    rows = [
        {
            "key": key.name,
            "value": _plain(key.value),
            "origin": "default" if key.line is None else "file",
            "line": key.line,
            "reload": ".".join(part for part in key.path if isinstance(part, str)) in LIVE,
            "text": key.text,
        }
        for table in shown
        for key in table.keys
        if everything or key.line is not None
    ]
    return msgspec.json.format(msgspec.json.encode(rows), indent=1)


def _shown(table: Table, config: Config, lines: Mapping[KeyPath, int]) -> Iterator[ShownTable]:
    found = list(_found(config, tuple(table.path.split(".")), ()))
    if not found:
        yield ShownTable(table, False, ())
    limits = ranges(table)
    for path, value in found:
        keys = tuple(
            Shown((*path, key.name), key, getattr(value, key.name), lines.get((*path, key.name)), described(key, limits.get(key.name, "")))
            for key in table.keys
        )
        yield ShownTable(table, True, keys)


def _found(value: Any, rest: tuple[str, ...], path: KeyPath) -> Iterator[tuple[KeyPath, msgspec.Struct]]:
    if isinstance(value, tuple):
        for number, entry in enumerate(value):
            yield from _found(entry, rest, (*path, number))
    elif value is not None and not rest:
        yield path, value
    elif value is not None:
        yield from _found(getattr(value, rest[0]), rest[1:], (*path, rest[0]))


def _block(shown: ShownTable, *, everything: bool) -> str:
    table = shown.table
    header = f"[[{table.path}]]" if table.many else f"[{table.path}]"
    if not shown.present:
        return f"# {header} is not given." if everything and table.optional else ""
    lines = [header]
    for key in shown.keys:
        if key.line is None and not everything:
            continue
        if everything and key.text:
            lines.append(f"# {key.text}")
        lines.append(f"# {key.key.name} is not given" if key.value is None else f"{key.key.name} = {toml_value(key.value)}  # {key.origin}")
    given = table.path in ("gate", "inspector") or table.many or table.optional
    return "\n".join(lines) if len(lines) > 1 or given else ""


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value
