"""Every mistake of a TOML file at once, each with its line, key, value and remedy; loaded only when a file was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from edge.config.checks import Refusal, collecting
from edge.config.hints import entry_of, near, remedy_for, struct_in, unit_hint, wanted
from edge.config.lines import KeyPath, lines_of
from edge.config.places import dotted, fields_of, found_at, homes, resolved, spoken
from edge.config.toml_text import shown
from edge.errors import ConfigError, ConfigFileError, Mistake

PLACEHOLDERS: tuple[tuple[type, object], ...] = ((str, "-"), (Path, Path("-")), (bool, False), (int, 0), (float, 0.0))
"""Stand in for values that are missing or of the wrong type, so that the rest of their table can be checked all the same."""
MOST_HINTS = 30
"""So many mistakes are looked at for names that resemble theirs; who has more has another kind of file."""
DecHook = Callable[[type[Any], Any], Any]


def explained(path: Path, text: str, raw: Mapping[str, Any], root: type[msgspec.Struct], dec_hook: DecHook) -> ConfigFileError | None:
    """What is wrong with `raw`, the tables of `text`, as a file of `root`'s form; None when nothing is found."""
    walk = _Walk(raw, lines_of(text), dec_hook, root)
    walk.table(root, raw, ())
    found = sorted(walk.found, key=lambda mistake: mistake.line or 0)
    return ConfigFileError(path, found) if found else None


class _Walk:
    def __init__(self, raw: Mapping[str, Any], lines: Mapping[KeyPath, int], dec_hook: DecHook, root: type[msgspec.Struct]) -> None:
        self.found: list[Mistake] = []
        self._raw, self._lines, self._dec_hook, self._root = raw, lines, dec_hook, root
        self._named: set[KeyPath] = set()

    def table(self, kind: type[msgspec.Struct], raw: object, path: KeyPath) -> msgspec.Struct | None:
        """Check one table and those below it; None where it cannot be built even with placeholders."""
        if not isinstance(raw, Mapping):
            self._add(path, "must be a table", f"Write [{dotted(path)}] and its keys below", seen=shown(raw))
            return None
        fields = {field.encode_name: field for field in fields_of(kind)}
        for name in raw:
            if name not in fields:
                self._unknown(name, fields, path)
        values: dict[str, Any] = {}
        bad: set[str] = set()
        for name, field in fields.items():
            if name in raw:
                value, ok = self._value(field.type, raw[name], (*path, name))
            elif field.required:
                value, ok = self._missing(field.type, (*path, name)), False
            else:
                continue
            if not ok:
                bad.add(name)
            if ok or field.required:
                values[field.name] = value
        return self._built(kind, values, bad, path)

    def _value(self, kind: Any, raw: object, path: KeyPath) -> tuple[Any, bool]:
        """The value converted, or what may stand for it and False."""
        before = len(self.found)
        table, entry = struct_in(kind), entry_of(kind)
        if table is not None:
            built = self.table(table, raw, path)
            return built, len(self.found) == before
        if entry is not None and isinstance(raw, list):
            entries = [self._value(entry, value, (*path, number))[0] for number, value in enumerate(raw)]
            # Plain entries keep their places, so that the others of the list are checked too.
            return tuple(value for value in entries if value is not None), len(self.found) == before or struct_in(entry) is None
        try:
            return msgspec.convert(raw, kind, dec_hook=self._dec_hook), True
        except (msgspec.ValidationError, OverflowError):
            name = path[-1] if isinstance(path[-1], str) else ""
            self._add(path, f"must be {wanted(kind)}", remedy_for(kind, name, raw), seen=shown(raw))
            return placeholder(kind), False

    def _missing(self, kind: Any, path: KeyPath) -> object:
        entry = entry_of(kind)
        remedy = f"Add `{path[-1]} = ...` below [{dotted(path[:-1])}]"
        if struct_in(kind) is not None:
            remedy = f"Add the table [{dotted(path)}]"
        elif entry is not None and struct_in(entry) is not None:
            remedy = f"Add one [[{dotted(path)}]] for each"
        self._add(path, f"is missing; it is {wanted(kind)}", remedy)
        return placeholder(kind)

    def _built(self, kind: type[msgspec.Struct], values: dict[str, Any], bad: set[str], path: KeyPath) -> msgspec.Struct | None:
        built = None
        with collecting() as refusals:
            try:
                built = kind(**values)
            except ConfigError as exc:
                self._add(path, f": {exc.what}", exc.remedy, seen=None if exc.seen is None else str(exc.seen))
            except (TypeError, AttributeError, ValueError):
                # What stands for a value of the wrong type may break a check; without any, it is this program's mistake.
                if not bad:
                    raise
        for refusal in refusals:
            self._refused(refusal, bad, path)
        return built

    def _refused(self, refusal: Refusal, bad: set[str], path: KeyPath) -> None:
        where = resolved(refusal.key, path)
        if where[: len(path)] == path and str(where[len(path)]) in bad:
            return
        given, raw = found_at(self._raw, where)
        if given:
            same = raw == refusal.seen or isinstance(refusal.seen, tuple | list | Path)
            self._add(where, "is not usable", refusal.remedy + unit_hint(refusal), seen=shown(raw) if same else str(refusal.seen))
        elif refusal.low is None:
            self._add(where, "is missing", refusal.remedy)
        elif not any(found.key.startswith(f"{dotted(path)}.") for found in self.found):
            # With another mistake in its table, a default may be out of range for that one's sake.
            self._add(where, "is not usable", refusal.remedy, seen=f"{shown(refusal.seen)}, the default")

    def _unknown(self, name: str, known: Iterable[str], path: KeyPath) -> None:
        tables = homes(self._root).get(name, [])
        hint = near(name, known) if len(self.found) < MOST_HINTS else ""
        if tables and not hint:
            hint = f"It belongs into [{tables[0]}]" if len(tables) == 1 else f"It belongs into one of: {', '.join(tables)}"
        kind = f"is no key of [{dotted(path)}]" if path else "is no table of this file"
        self._add((*path, name), kind, hint or "See docs/configuration.md for every key", seen=shown(found_at(self._raw, (*path, name))[1]))

    def _add(self, path: KeyPath, what: str, remedy: str, *, seen: str | None = None) -> None:
        if path in self._named:
            return
        self._named.add(path)
        line = next((self._lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._lines), None)
        self.found.append(Mistake(line, dotted(path, numbers=True), f"{spoken(path, self._raw)} {what}", seen, remedy))


def placeholder(kind: Any) -> object:
    """A value of this type, in place of one that is missing."""
    if entry_of(kind) is not None:
        return ()
    return next((value for known, value in PLACEHOLDERS if kind is known), None)
