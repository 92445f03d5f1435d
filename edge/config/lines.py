"""Which line of a TOML file each key stands on; the values are the TOML reader's business."""

from __future__ import annotations

import re
from bisect import bisect_right
from contextlib import suppress
from typing import TypeAlias

from edge.toml import parse_toml

KeyPath: TypeAlias = tuple[str | int, ...]
"""`("gate", "budget_ms")`, or `("inspector", "camera", 0, "name")` in the first `[[inspector.camera]]`."""

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACES = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^"\\]|"{1,2}(?!"))*"{3,5}'  # closed by three quotes; two more before them may belong to the text
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\n]+")


def lines_of(text: str) -> dict[KeyPath, int]:
    """Line (from 1) of every key, table and list entry; of a table its header or, without one, the first key that makes it.

    In a text that is not TOML: of what stands before the first thing that cannot be read.
    """
    walk = _Walk(text.replace("\r\n", "\n"))
    with suppress(_UnreadableError, RecursionError):
        walk.whole()
    return walk.found


class _UnreadableError(Exception):
    """The text is no TOML from here on."""


class _Walk:
    def __init__(self, text: str) -> None:
        self.found: dict[KeyPath, int] = {}
        self._text = text
        self._at = 0
        self._line_ends = [match.start() for match in re.finditer("\n", text)]
        self._lengths: dict[KeyPath, int] = {}
        """How many tables each list of tables has so far."""

    def whole(self) -> None:
        table: KeyPath = ()
        self._take(_BLANK)
        while self._at < len(self._text):
            if self._next() == "[":
                table = self._header()
            else:
                self._pair(table)
            self._take(_BLANK)

    def _line(self) -> int:
        return bisect_right(self._line_ends, self._at - 1) + 1

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise _UnreadableError
        return self._text[self._at]

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _UnreadableError
        self._at = match.end()
        return match.group()

    def _demand(self, word: str) -> None:
        if not self._text.startswith(word, self._at):
            raise _UnreadableError
        self._at += len(word)

    # tables and keys

    def _header(self) -> KeyPath:
        """`[a.b]` or `[[a.b]]`, and what the keys after it belong to: the newest table of every list on the way."""
        line = self._line()
        array = self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        *outer, last = self._key()
        self._demand("]]" if array else "]")
        path: KeyPath = ()
        for key in outer:
            path = self._newest((*path, key), line)
        path = (*path, last)
        if not array:
            self.found[path] = line
            return path
        number = self._lengths[path] = self._lengths.get(path, 0) + 1
        self.found.setdefault(path, line)
        newest = (*path, number - 1)
        self.found[newest] = line
        return newest

    def _newest(self, path: KeyPath, line: int) -> KeyPath:
        self.found.setdefault(path, line)
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _pair(self, table: KeyPath) -> None:
        line = self._line()
        path = table
        for key in self._key():
            path = (*path, key)
            self.found.setdefault(path, line)
        self._demand("=")
        self._value(path)

    def _key(self) -> list[str]:
        """A dotted key, up to what follows it."""
        parts = []
        while True:
            self._take(_SPACES)
            parts.append(_unquoted(self._take(_STRING)) if self._next() in "\"'" else self._take(_BARE))
            self._take(_SPACES)
            if self._next() != ".":
                return parts
            self._at += 1

    # values

    def _value(self, path: KeyPath) -> None:
        self._take(_SPACES)
        first = self._next()
        if first == "[":
            self._list(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._take(_STRING if first in "\"'" else _PLAIN)

    def _list(self, path: KeyPath) -> None:
        self._at += 1
        number = 0
        while self._after_blank() != "]":
            entry = (*path, number)
            self.found[entry] = self._line()
            self._value(entry)
            number += 1
            if self._after_blank() == ",":
                self._at += 1
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while self._after_blank() != "}":
            self._pair(path)
            if self._after_blank() == ",":
                self._at += 1
        self._at += 1

    def _after_blank(self) -> str:
        self._take(_BLANK)
        return self._next()


def _unquoted(literal: str) -> str:
    try:
        return str(parse_toml(f"key = {literal}".encode())["key"])
    except ValueError as exc:
        raise _UnreadableError from exc
