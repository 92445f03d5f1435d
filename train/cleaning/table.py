"""The folder's table of groups: found as `scans.folder` finds it, and rewritten so that all it does not have to change stays."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.errors import DatasetError
from scans.folder import GROUP_COLUMNS

NEW_COLUMNS = ("file", "label", "group", "defect")


@dataclass(frozen=True, kw_only=True)
class GroupTable:
    """A CSV with the columns file and group (or scan), as text."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    newline: str = "\n"
    exists: bool = True

    @property
    def group_column(self) -> str:
        """Which column names the group."""
        return next(name for name in GROUP_COLUMNS if name in self.columns)

    def rewritten(self, root: Path, *, moved: Mapping[str, str], label: Mapping[str, str], group: Mapping[str, str]) -> bytes:
        """The table with new names, labels and groups, each by the file's old name; a file without a row gets one for its group."""
        column, rows, seen = self.group_column, [], set()
        for row in self.rows:
            bare = row["file"].strip().removeprefix(f"{root.name}/")
            seen.add(bare)
            changed = dict(row)
            if bare in moved:
                changed["file"] = row["file"].strip().removesuffix(bare) + moved[bare]
            if bare in label and (row.get("label") or "").strip():
                changed["label"] = label[bare]
            if bare in group:
                changed[column] = group[bare]
            rows.append(changed)
        # A file without a row is a group called like the file: it keeps that name when it moves, because others may have joined it.
        unlisted = sorted((moved.keys() | group.keys()) - seen)
        return self._text(rows + [self._new_row(moved.get(file, file), group.get(file, file)) for file in unlisted])

    def _new_row(self, file: str, group: str) -> dict[str, str]:
        return dict.fromkeys(self.columns, "") | {"file": file, self.group_column: group}

    def _text(self, rows: list[dict[str, str]]) -> bytes:
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, self.columns, restval="", extrasaction="ignore", lineterminator=self.newline)
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue().encode()


def table_of(root: Path, given: Path | None = None) -> GroupTable:
    """The table that `find_scans(root, table=given)` reads; one that is still to be made as groups.csv if there is none.

    Raises DatasetError for a table that cannot be read, or a given one that names no groups.
    """
    for path in [given] if given is not None else sorted(root.glob("*.csv")):
        table = _read(path)
        if table is not None and table.rows:
            return table
    if given is not None:
        raise DatasetError(f"{given} names no groups", seen="no usable columns", remedy="Columns must be file and group or scan")
    path = root / "groups.csv"
    if path.exists():
        table = _read(path)
        if table is not None:  # an import that was undone leaves the line of columns
            return table
        raise DatasetError(f"{path} names no groups", seen="no usable columns", remedy="Correct it, or move it away")
    return GroupTable(path=path, columns=NEW_COLUMNS, rows=(), exists=False)


def _read(path: Path) -> GroupTable | None:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval="")
        rows = tuple({name: value for name, value in row.items() if name} for row in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DatasetError(f"cannot read the table {path}", seen=exc, remedy="Give a UTF-8 CSV with a header line") from exc
    columns = tuple(reader.fieldnames or ())
    if "file" not in columns or not any(name in columns for name in GROUP_COLUMNS):
        return None
    return GroupTable(path=path, columns=columns, rows=rows, newline="\r\n" if "\r\n" in text else "\n")
