"""The operators' table of labels, however their spreadsheet saved it."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.errors import DatasetError
from scans.folder import LABEL_FOLDERS, Label

COLUMNS = ("session", "sequence", "part", "weld", "label", "defect", "by", "when", "comment")
"""`label`, and `session` with `sequence` or `part` with `weld`, must be there; the rest may be, and so may any other column."""
SEPARATORS = (",", ";", "\t")
SESSION = re.compile("[0-9a-f]{16}")
NAMED = 10
"""Rows that one message names at most."""


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """What one row of the table says; texts are empty where it says nothing, `line` is its number in the file."""

    line: int
    label: Label
    session: str = ""
    sequence: int | None = None
    part: str = ""
    weld: str = ""
    defect: str = ""
    by: str = ""
    when: str = ""
    comment: str = ""

    @property
    def name(self) -> str:
        """How a message names it."""
        which = f"session {self.session} sequence {self.sequence}" if self.session else f"part {self.part} weld {self.weld}"
        return f"line {self.line}: {which} {self.label}"


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """The rows that have a label, and how many have none."""

    path: Path
    sha256: str
    rows: tuple[LabelRow, ...]
    unlabelled: int


def read_labels(path: Path) -> LabelTable:
    """Read UTF-8 (with or without mark), UTF-16 or Windows-1252; commas, semicolons or tabs; any case; Spanish labels.

    Raises DatasetError for a table that cannot be read, lacks a column, or has rows that say nothing usable (named).
    """
    data = _bytes(path)
    lines = _lines(path, _text(path, data))
    rows, wrong, unlabelled = [], [], 0
    for number, cells in lines:
        if not cells.get("label"):
            unlabelled += 1
            continue
        try:
            rows.append(_row(number, cells))
        except ValueError as exc:
            wrong.append(f"line {number}: {exc}")
    if wrong:
        remedy = f"Correct them; labels are {', '.join(LABEL_FOLDERS)}, in any case"
        raise DatasetError(f"{path} has {len(wrong)} rows that cannot be used", seen=named(wrong), remedy=remedy)
    if not rows:
        raise DatasetError(f"{path} has no labels", seen=f"{unlabelled} rows without one", remedy="Write good or bad in column label")
    return LabelTable(path=path, sha256=hashlib.sha256(data).hexdigest(), rows=tuple(rows), unlabelled=unlabelled)


def named(items: list[str]) -> str:
    """The first of a list, and how many more there are."""
    more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    return "; ".join(items[:NAMED]) + more


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise DatasetError(f"cannot read the table {path}", seen=exc.strerror, remedy="Check --labels") from exc


def _lines(path: Path, text: str) -> list[tuple[int, dict[str, str]]]:
    first = text.split("\n", 1)[0].strip()
    hinted = first.lower().startswith("sep=") and len(first) == 5
    # Excel's own hint of the separator, on a line before the header.
    separator = first[4] if hinted else max(SEPARATORS, key=first.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        if hinted:
            next(reader)
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(path, header)
        kept = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as exc:
        raise DatasetError(f"the table {path} cannot be read", seen=exc, remedy="Save it from the spreadsheet as CSV UTF-8") from exc
    return [(number, {name: _cell(cell) for name, cell in zip(header, cells, strict=False)}) for number, cells in kept]


def _text(path: Path, data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        raise DatasetError(
            f"{path} is no CSV", seen="zero bytes in it", remedy="Save it from the spreadsheet as CSV UTF-8, not as a workbook"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # What Excel writes as plain "CSV" on a Western European Windows; five of its bytes mean nothing.
        return data.decode("cp1252", errors="replace")


def _check_header(path: Path, header: list[str]) -> None:
    twice = sorted({name for name in COLUMNS if header.count(name) > 1})
    if twice:
        raise DatasetError(f"{path} has a column twice", seen=twice, remedy="Keep one of each")
    if "label" not in header or not ({"session", "sequence"} <= set(header) or {"part", "weld"} <= set(header)):
        remedy = "Columns must be label, and session with sequence or part with weld; --template writes such a table"
        raise DatasetError(f"{path} lacks columns", seen=header[:20], remedy=remedy)


def _cell(text: str) -> str:
    # Templates and exports put an apostrophe before what a spreadsheet would calculate or round.
    return text.strip().removeprefix("'").strip()


def _row(line: int, cells: Mapping[str, str]) -> LabelRow:
    said = {name: cells.get(name, "") for name in COLUMNS}
    label = LABEL_FOLDERS.get(said["label"].lower().replace(" ", "_"))
    if label is None:
        raise ValueError(f"label {said['label']!r} is none")
    session, sequence = said["session"].lower(), said["sequence"]
    if bool(session) != bool(sequence):
        raise ValueError("session and sequence go together")
    if session and SESSION.fullmatch(session) is None:
        raise ValueError(f"session {session!r} is not 16 of 0-9 a-f; a spreadsheet may have changed it: format the column as text")
    if not session and not (said["part"] and said["weld"]):
        raise ValueError("it names neither session and sequence nor part and weld")
    texts = {name: said[name] for name in ("part", "weld", "defect", "by", "when", "comment")}
    return LabelRow(line=line, label=label, session=session, sequence=_whole_number(sequence) if sequence else None, **texts)


def _whole_number(text: str) -> int:
    number = text.removesuffix(".0").removesuffix(",0")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        raise ValueError(f"sequence {text!r} is no number")
    return int(number)
