"""The training folder's table of groups: rows added and removed, everything else in it kept."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from edge.errors import DatasetError
from edge.gate.latch import replace_durably
from scans.folder import GROUP_COLUMNS

NEW = ("file", "label", "group", "defect")


def table_path(root: Path) -> Path:
    """The one CSV in `root` that names groups, as `find_scans` chooses it; groups.csv where there is none."""
    for path in sorted(root.glob("*.csv")):
        header = next(iter(_read(path)), [])
        if "file" in header and any(name in header for name in GROUP_COLUMNS):
            return path
    return root / "groups.csv"


def add_rows(root: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Add rows with file, label, group and defect, durably; a row of the same file is replaced. Raises DatasetError, OSError."""
    _change(root, [row["file"] for row in rows], rows)


def drop_rows(root: Path, files: Sequence[str]) -> None:
    """Remove the rows of these files. Raises DatasetError, OSError."""
    if table_path(root).is_file():
        _change(root, files, ())


def _change(root: Path, dropped: Collection[str], added: Sequence[Mapping[str, str]]) -> None:
    path, gone = table_path(root), frozenset(dropped)
    old = _read(path) if path.is_file() else [list(NEW)]
    if not old or "file" not in old[0]:
        raise DatasetError(f"{path} names no files", seen=old[:1], remedy="Give it the columns file and group, or remove it")
    header = old[0]
    header += [name for name in ("label", "defect") if added and name not in header]
    group, at = next(name for name in GROUP_COLUMNS if name in header), header.index("file")
    kept = [line for line in old[1:] if len(line) <= at or line[at].strip().removeprefix(f"{root.name}/") not in gone]
    new = [[{**row, group: row["group"]}.get(name, "") for name in header] for row in added]
    if len(kept) == len(old) - 1 and not new:
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([*line, *[""] * (len(header) - len(line))] for line in kept)
    writer.writerows(new)
    replace_durably(path, text.getvalue().encode())


def _read(path: Path) -> list[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DatasetError(f"cannot read the table {path}", seen=exc, remedy="Give a UTF-8 CSV with a header line") from exc
