"""What is wrong with a text that is not TOML, in words for whoever wrote it; loaded only when a file was refused."""

from __future__ import annotations

import re
from pathlib import Path

from edge.config.lines import lines_of
from edge.config.toml_text import LONGEST
from edge.errors import ConfigFileError, Mistake

_WHERE = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)\s*\Z")
_TWICE = re.compile(r"Cannot (declare|overwrite|mutate)|already|Duplicate")
REMEDIES = (
    (r"Invalid value", 'Texts stand in quotes ("..."), truth is true or false, a decimal point needs a digit on both sides'),
    (r"Unterminated|Illegal character '\\n'|Found invalid character '\\n'", "Close the quotes on the same line"),
    (r"Unclosed array", "Close the list with ]"),
    (r"Expected '=' after|after a key", "Write `key = value`; a table's name stands in brackets: [gate]"),
    (r"Expected '\]", "Close the table's name: [gate], or [[inspector.camera]] for one of several"),
    (r"Expected newline or end", "One key a line: what follows the value must be a comment, which begins with #"),
    (r"[Ee]scape|backslash", r"Write \\ for a backslash, or put the text into single quotes"),
    (r"Invalid statement", "Write `key = value` or [table]; a comment begins with #"),
)
"""By what the reader says of a text: what to do."""


def unreadable(path: Path, data: bytes, cause: Exception) -> ConfigFileError:
    """The one mistake that stopped the reader: the file as it was read, and what the reader raised."""
    if data.startswith(b"\xef\xbb\xbf"):
        return _one(path, 1, "it begins with a byte-order mark", None, "Save the file as UTF-8 without one")
    if isinstance(cause, UnicodeDecodeError):
        return _one(
            path,
            data.count(b"\n", 0, cause.start) + 1,
            "a character is not UTF-8",
            f"byte 0x{data[cause.start]:02x}",
            "Save the file as UTF-8",
        )
    if isinstance(cause, RecursionError):
        return _one(path, None, "brackets are nested too deep", None, "Write lists of texts only")
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    where = _WHERE.search(str(cause))
    last = text.count("\n", 0, len(text.rstrip())) + 1
    at = None if where is None else int(where[1] or last)
    words = _WHERE.sub("", str(cause))[:200]
    lines = text.split("\n")
    seen = re.sub(r"\s+#.*", "", lines[at - 1]).strip()[:LONGEST] if at is not None and at <= len(lines) else None
    return _one(path, at, words[:1].lower() + words[1:], seen, _twice(text, at, words) or _remedy(words))


def _one(path: Path, line: int | None, what: str, seen: str | None, remedy: str) -> ConfigFileError:
    return ConfigFileError(path, [Mistake(line, "", f"not valid TOML: {what}", seen, remedy)])


def _remedy(words: str) -> str:
    return next((remedy for pattern, remedy in REMEDIES if re.search(pattern, words)), "Correct this line")


def _twice(text: str, line: int | None, words: str) -> str:
    """Where a table or key was written first, when this line writes it again."""
    if line is None or _TWICE.search(words) is None:
        return ""
    lines = text.split("\n")
    before = lines_of("\n".join(lines[: line - 1]))
    table = next((found for number in range(line - 1, -1, -1) if (found := _header(lines[number]))), "")
    if number_of := _header(lines[line - 1]):
        first = next((at for path, at in before.items() if ".".join(map(str, path)) == number_of), None)
        return f"[{number_of}] is on line {first} already: put its keys together there" if first else ""
    key = lines[line - 1].partition("=")[0].strip()
    wanted = f"{table}.{key}" if table else key
    first = max((at for path, at in before.items() if ".".join(str(p) for p in path if isinstance(p, str)) == wanted), default=None)
    return f"{wanted} is on line {first} already: keep one of the two" if first else ""


def _header(line: str) -> str:
    match = re.match(r"\s*\[\[?\s*([A-Za-z0-9_.\- ]+?)\s*\]", line)
    return match[1] if match else ""
