"""From a reviewed table to a step that can be carried out: everything is checked before anything is touched."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from msgspec.structs import replace

from edge.errors import DatasetError
from scans.folder import LABEL_FOLDERS, Scan, find_scans
from train.cleaning.journal import Move, Note, Step, TableChange, sha256_of
from train.cleaning.table import GroupTable, table_of

REMOVED = "removed"
"""Folder below the root for scans that are taken out; no tool takes its name for a label."""
Action = Literal["keep", "relabel good", "relabel bad", "remove", "regroup"]
ACTIONS: tuple[Action, ...] = ("keep", "relabel good", "relabel bad", "remove", "regroup")
COLUMNS = ("file", "decision", "sha256")
"""Columns a review must have; others are for people."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""A cell that begins so is written with an apostrophe before it: a spreadsheet would run it as a formula."""
KNOWN = "Decisions are: keep (or empty), relabel good, relabel bad, remove, regroup NAME"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One line of a review on which somebody decided something."""

    line: int
    file: str
    sha256: str
    action: Action
    group: str = ""

    def __str__(self) -> str:
        return f"{self.action} {self.group}".strip()


def read_review(path: Path) -> tuple[Decision, ...]:
    """The decisions that change something. Raises DatasetError naming the line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        head = text.partition("\n")[0]
        # Spreadsheets of countries with a decimal comma save semicolons.
        reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", delimiter=";" if head.count(";") > head.count(",") else ",")
        rows = [(reader.line_num, row) for row in reader]
        columns = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise DatasetError(f"cannot read the review {path}", seen=exc, remedy="Give the review.csv, saved as UTF-8 text") from exc
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise DatasetError(f"{path} is not a review", seen=f"no column {missing[0]}", remedy="Give what `cordon train clean find` wrote")
    decisions: dict[str, Decision] = {}
    for line, row in rows:
        decision = _decision(path, line, {name: (row[name] or "").strip() for name in COLUMNS}, (row.get("suggestion") or "").strip())
        before = decisions.setdefault(decision.file, decision)
        if str(before) != str(decision):
            raise DatasetError(
                f"{path} line {line} decides otherwise than line {before.line}",
                seen=f"{decision.file}: {decision}",
                remedy="Keep one of them",
            )
    return tuple(decision for decision in decisions.values() if decision.action != "keep")


def _decision(path: Path, line: int, row: dict[str, str], suggestion: str) -> Decision:
    text = " ".join(row["decision"].removeprefix("'").split())
    word, _, rest = text.partition(" ")
    file, sha256 = row["file"].removeprefix("'"), row["sha256"]
    if word.lower() == "regroup":
        suggested = suggestion.partition(" ")[2].strip() if suggestion.startswith("regroup ") else ""
        if not (rest or suggested):
            raise DatasetError(f"{path} line {line} does not say which group", seen=text, remedy="Write: regroup NAME")
        return Decision(line=line, file=file, sha256=sha256, action="regroup", group=rest or suggested)
    action = next((known for known in ACTIONS if known == (text.lower() or "keep")), None)
    if action is None:
        raise DatasetError(f"{path} line {line}: this decision is not known", seen=text, remedy=KNOWN)
    return Decision(line=line, file=file, sha256=sha256, action=action)


def plan_step(root: Path, decisions: tuple[Decision, ...], *, table: Path | None, draft: Step) -> tuple[Step, bytes | None]:
    """`draft` with its moves and its table's change, and the new table's bytes. Nothing is touched.

    Raises DatasetError for a file that is not a scan of this folder any more or has changed since the review.
    """
    found = find_scans(root, table=table)
    scans = {scan.path.relative_to(root).as_posix(): scan for scan in found.scans}
    _check(root, decisions, scans)
    moves, folders = _moves(root, decisions, scans)
    notes = tuple(Note(file=d.file, decision=str(d), label=scans[d.file].label, group=scans[d.file].group) for d in decisions)
    groups = table_of(root, table)
    planned = replace(draft, notes=notes, moves=moves, folders=folders)
    if not groups.exists and not any(d.action == "regroup" for d in decisions):
        return planned, None
    content = _new_table(root, groups, decisions, moves)
    before = sha256_of(groups.path) if groups.exists else None
    change = TableChange(path=_place(root, groups.path), before=before, after=hashlib.sha256(content).hexdigest())
    return (planned, None) if change.after == before else (replace(planned, table=change), content)


def _check(root: Path, decisions: tuple[Decision, ...], scans: dict[str, Scan]) -> None:
    unknown = [d for d in decisions if d.file not in scans]
    if decisions and len(unknown) == len(decisions):
        raise DatasetError(f"this review is not of {root}", seen=f"none of its {len(decisions)} files is here", remedy="Check both paths")
    if unknown:
        first = f"line {unknown[0].line}: {unknown[0].file}"
        raise DatasetError(f"{root} has no such scan any more", seen=f"{first}, {len(unknown)} in all", remedy="Make a new review")
    for decision in decisions:
        scan = scans[decision.file]
        if scan.path.is_symlink() or not scan.path.resolve().is_relative_to(root.resolve()):
            raise DatasetError("a link cannot be moved", seen=f"line {decision.line}: {decision.file}", remedy="Put the file itself there")
        if sha256_of(scan.path) != decision.sha256:
            raise DatasetError(
                "a scan has changed since the review", seen=f"line {decision.line}: {decision.file}", remedy="Make a new one"
            )
        if str(decision) == f"relabel {scan.label}":
            raise DatasetError(f"this scan is {scan.label} already", seen=f"line {decision.line}: {decision.file}", remedy="Write keep")


def _moves(root: Path, decisions: tuple[Decision, ...], scans: dict[str, Scan]) -> tuple[tuple[Move, ...], tuple[str, ...]]:
    taken, moves, folders = set(scans), [], []
    for decision in decisions:
        if decision.action == "regroup":
            continue
        target = _free(root, _target(root, decision), taken)
        taken.add(target)
        moves.append(Move(file=decision.file, to=target, sha256=decision.sha256))
        above = [str(parent) for parent in PurePosixPath(target).parents][:-1]
        folders += [name for name in reversed(above) if not (root / name).exists() and name not in folders]
    return tuple(moves), tuple(folders)


def _target(root: Path, decision: Decision) -> PurePosixPath:
    path = PurePosixPath(decision.file)
    if decision.action == "remove":
        return REMOVED / path
    label = decision.action.removeprefix("relabel ")
    folder = next(f.name for f in sorted(root.iterdir()) if f.is_dir() and LABEL_FOLDERS.get(f.name.lower()) == label)
    return PurePosixPath(folder, *path.parts[1:])


def _free(root: Path, wanted: PurePosixPath, taken: set[str]) -> str:
    """`wanted`, or name-2, name-3 ... where something lies there already or will."""
    target, number = wanted, 2
    while str(target) in taken or (root / target).exists() or (root / target).is_symlink():
        target = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        number += 1
    return str(target)


def _new_table(root: Path, table: GroupTable, decisions: tuple[Decision, ...], moves: tuple[Move, ...]) -> bytes:
    moved = {move.file: move.to for move in moves}
    label = {d.file: d.action.removeprefix("relabel ") for d in decisions if d.action.startswith("relabel ")}
    group = {d.file: d.group for d in decisions if d.action == "regroup"}
    return table.rewritten(root, moved=moved, label=label, group=group)


def _place(root: Path, path: Path) -> str:
    inside = path.resolve().is_relative_to(root.resolve())
    return str(path.resolve().relative_to(root.resolve()) if inside else path.resolve())
