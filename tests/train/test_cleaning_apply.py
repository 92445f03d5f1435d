"""Applying and undoing decisions, with a crash at every file operation."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cut_kit
import pytest

from edge.errors import DatasetError
from edge.gate import latch
from scans.folder import find_scans
from train.cleaning import apply as applying
from train.cleaning.apply import apply_review, finish_interrupted, undo_step
from train.cleaning.journal import only_me, read_steps, require_settled, sha256_of

Tree = dict[str, str]


class Crash(BaseException):
    """Nothing of the program runs any more."""


def tree(root: Path) -> Tree:
    """Every file and folder but the journal's, with the files' hashes."""
    paths = [path for path in sorted(root.rglob("*")) if "cleaning" not in path.relative_to(root).parts]
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "" for p in paths}


def write_review(root: Path, path: Path, decisions: dict[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "suggestion", "decision", "sha256"])
        for name, decision in decisions.items():
            writer.writerow([name, "regroup part0", decision, sha256_of(root / name)])
    return path


@pytest.fixture
def folder(tmp_path: Path, make_folder: Any) -> Path:
    root: Path = make_folder(tmp_path / "T2", count=4)
    (root / "bad" / "sub").mkdir()
    (root / "bad" / "3.png").rename(root / "bad" / "sub" / "three.png")
    return root


DECISIONS = {
    "good/0.png": "relabel bad",
    "bad/0.png": "relabel good",
    "bad/sub/three.png": "Remove",
    "good/1.png": "regroup part 9",
    "bad/1.png": "regroup",
    "good/2.png": "keep",
    "good/3.png": "",
}


def test_apply_moves_files_and_updates_groups_without_overwriting(folder: Path, tmp_path: Path) -> None:
    before = {scan.path.name: scan.group for scan in find_scans(folder).scans if scan.label == "good"}
    contents = sorted(value for value in tree(folder).values() if value)
    step = apply_review(folder, write_review(folder, tmp_path / "review.csv", DECISIONS), by="Ana")
    assert step is not None
    assert step.state == "applied"
    assert step.by == "Ana"
    assert {move.file: move.to for move in step.moves} == {
        "good/0.png": "bad/0-2.png",
        "bad/0.png": "good/0-2.png",
        "bad/sub/three.png": "removed/bad/sub/three.png",
    }
    scans = {scan.path.relative_to(folder).as_posix(): scan for scan in find_scans(folder).scans}
    assert len(scans) == 7
    assert "good/0.png" not in scans
    assert scans["bad/0-2.png"].label == "bad"
    assert scans["bad/0-2.png"].group == before["0.png"]
    assert scans["good/1.png"].group == "part 9"
    assert scans["bad/1.png"].group == "part0"
    after = sorted(value for value in tree(folder).values() if value)
    assert sum(value in after for value in contents) == len(contents) - 1  # only the table has changed


def test_undo_restores_every_byte_and_the_log_says_who(folder: Path, tmp_path: Path) -> None:
    before = tree(folder)
    apply_review(folder, write_review(folder, tmp_path / "review.csv", DECISIONS), by="Ana")
    assert tree(folder) != before
    undo_step(folder, by="Eva")
    assert tree(folder) == before
    (step,) = read_steps(folder)
    assert (step.state, step.by, step.undone_by) == ("undone", "Ana", "Eva")
    assert {note.file: note.decision for note in step.notes}["bad/sub/three.png"] == "remove"


def test_a_table_made_by_a_step_is_gone_after_undo(folder: Path, tmp_path: Path) -> None:
    (folder / "groups.csv").unlink()
    before = tree(folder)
    apply_review(folder, write_review(folder, tmp_path / "r.csv", {"good/1.png": "regroup good/2.png", "good/2.png": "relabel bad"}))
    groups = {scan.path.relative_to(folder).as_posix(): scan.group for scan in find_scans(folder).scans}
    assert groups["good/1.png"] == groups["bad/2-2.png"] == "good/2.png"
    undo_step(folder)
    assert tree(folder) == before


CHANGING = [(os, "fsync"), *((Path, name) for name in ("rename", "replace", "mkdir", "unlink", "rmdir"))]


@pytest.mark.parametrize(("settle", "table"), [("apply", True), ("finish", False), ("undo", True), ("undo", False)])
def test_a_crash_at_any_file_operation_of_apply_is_finished_or_taken_back(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settle: str, table: bool
) -> None:
    if not table:
        (folder / "groups.csv").unlink()
    before = tree(folder)
    review = write_review(folder, tmp_path / "review.csv", DECISIONS)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    apply_review(folder, review)
    after = tree(folder)
    undo_step(folder)
    interruptions = 0
    for number in range(200):
        with suppress(cut_kit.Cut), cut_kit.cut_before(number, CHANGING) as done:
            apply_review(folder, review)
            break
        half = read_steps(folder)[-1].state == "applying"
        interruptions += half
        assert len(done) == number
        if half:
            with pytest.raises(DatasetError, match="interrupted"):
                require_settled(folder)
        if settle == "undo":
            if tree(folder) != before:
                undo_step(folder)
        else:
            step = apply_review(folder, review) if settle == "apply" or not half else finish_interrupted(folder)
            assert step is not None
            assert tree(folder) == after
            undo_step(folder)
        assert tree(folder) == before
    else:
        pytest.fail("never came to its end")
    assert interruptions >= 8
    assert tree(folder) == after


@pytest.mark.parametrize("table", [True, False])
def test_a_crash_at_any_file_operation_of_undo_is_finished_by_the_next(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: bool
) -> None:
    if not table:
        (folder / "groups.csv").unlink()
    before = tree(folder)
    review = write_review(folder, tmp_path / "review.csv", DECISIONS)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    for number in range(200):
        apply_review(folder, review)
        with suppress(cut_kit.Cut), cut_kit.cut_before(number, CHANGING):
            undo_step(folder)
            break
        state = read_steps(folder)[-1].state
        if state == "applied" or (state == "undoing" and number % 2):
            undo_step(folder)
        elif state == "undoing":
            finish_interrupted(folder)
        assert tree(folder) == before
    assert number >= 8
    assert tree(folder) == before


def test_nothing_moves_before_the_journal_is_durable(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    durable, rename = latch.replace_durably, Path.rename
    monkeypatch.setattr("train.cleaning.journal.replace_durably", lambda p, c: (durable(p, c), events.append(p.name))[0])
    monkeypatch.setattr(Path, "rename", lambda a, b: (events.append("move"), rename(a, b))[1])
    apply_review(folder, write_review(folder, tmp_path / "review.csv", DECISIONS))
    assert events == ["0001.json", "move", "move", "move", "0001.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: (root / "bad" / "0-2.png").write_bytes(b"other"), "changed"),
        (lambda root: (root / "bad" / "0-2.png").unlink(), "not where it was put"),
        (lambda root: (root / "groups.csv").write_text("file,group\ngood/1.png,x\n"), "changed since"),
        (lambda root: (root / "good" / "0.png").write_bytes(b"new"), "two files"),
    ],
)
def test_undo_refuses_when_files_changed_since(folder: Path, tmp_path: Path, change: Callable[[Path], object], said: str) -> None:
    apply_review(folder, write_review(folder, tmp_path / "review.csv", DECISIONS))
    change(folder)
    before = tree(folder)
    with pytest.raises(DatasetError, match=said):
        undo_step(folder)
    assert tree(folder) == before


def test_an_interrupted_step_keeps_a_table_that_somebody_edited(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    review = write_review(folder, tmp_path / "review.csv", DECISIONS)
    with monkeypatch.context() as patch:
        patch.setattr(applying, "_put_table", _raise)
        with pytest.raises(Crash):
            apply_review(folder, review)
    (folder / "groups.csv").write_text("file,group\ngood/1.png,mine\n")
    for command in (finish_interrupted, undo_step):
        with pytest.raises(DatasetError, match="somebody else"):
            command(folder)
    assert "mine" in (folder / "groups.csv").read_text()


def _raise(*_: object) -> None:
    raise Crash


def test_steps_are_undone_last_first_and_by_number(folder: Path, tmp_path: Path) -> None:
    start = tree(folder)
    apply_review(folder, write_review(folder, tmp_path / "one.csv", {"good/0.png": "remove"}))
    middle = tree(folder)
    apply_review(folder, write_review(folder, tmp_path / "two.csv", {"good/1.png": "remove"}))
    with pytest.raises(DatasetError, match="Undo later steps first"):
        undo_step(folder, 1)
    undo_step(folder)
    assert tree(folder) == middle
    undo_step(folder, 1)
    assert tree(folder) == start
    with pytest.raises(DatasetError, match="no such cleaning step"):
        undo_step(folder)


@pytest.mark.parametrize(
    ("decision", "said"),
    [("relable bad", r"line 3: this decision.*relable bad"), ("relabel good", "line 3.*keep|good already"), ("regroup", "which group")],
)
def test_a_decision_that_makes_no_sense_is_named_with_its_line(folder: Path, tmp_path: Path, decision: str, said: str) -> None:
    review = write_review(folder, tmp_path / "review.csv", {"good/0.png": "remove", "good/1.png": decision})
    review.write_text(review.read_text().replace("regroup part0", "keep"))
    before = tree(folder)
    with pytest.raises(DatasetError, match=said):
        apply_review(folder, review)
    assert tree(folder) == before
    assert not (folder / "cleaning").exists()


def test_a_review_of_another_folder_or_of_changed_or_vanished_files_touches_nothing(folder: Path, tmp_path: Path, make_folder: Any) -> None:
    review = write_review(folder, tmp_path / "review.csv", {"good/0.png": "remove", "bad/sub/three.png": "remove"})
    other = make_folder(tmp_path / "T3", count=2, seed=5)
    (other / "good" / "0.png").rename(other / "good" / "z.png")
    with pytest.raises(DatasetError, match="not of"):
        apply_review(other, review)
    (folder / "good" / "0.png").write_bytes(b"other")
    with pytest.raises(DatasetError, match=r"changed since the review.*line 2"):
        apply_review(folder, review)
    (folder / "good" / "0.png").unlink()
    with pytest.raises(DatasetError, match="no such scan"):
        apply_review(folder, review)
    assert not (folder / "cleaning").exists()
    assert not (folder / "removed").exists()


def test_a_review_saved_by_a_spreadsheet_with_semicolons_is_read(folder: Path, tmp_path: Path) -> None:
    review = write_review(folder, tmp_path / "review.csv", {"good/0.png": "remove"})
    review.write_text(review.read_text().replace(",", ";"), encoding="utf-8-sig")
    step = apply_review(folder, review)
    assert step is not None
    assert step.moves[0].to == "removed/good/0.png"


def test_a_file_outside_the_label_folders_cannot_be_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.png").write_bytes(b"x")
    for name in ("../outside.png", "groups.csv", str(tmp_path / "outside.png")):
        with pytest.raises(DatasetError, match="not of"):
            apply_review(folder, write_review(folder, tmp_path / "review.csv", {name: "remove"}))


def test_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "good" / "link.png").symlink_to("0.png")
    with pytest.raises(DatasetError, match="link"):
        apply_review(folder, write_review(folder, tmp_path / "review.csv", {"good/link.png": "remove"}))


def test_only_one_command_cleans_a_folder_at_a_time(folder: Path, tmp_path: Path) -> None:
    review = write_review(folder, tmp_path / "review.csv", DECISIONS)
    with only_me(folder), pytest.raises(DatasetError, match="another command"):
        apply_review(folder, review)


def test_the_table_keeps_its_dialect_other_columns_and_the_folder_in_front(folder: Path, tmp_path: Path) -> None:
    rows = ["scan,note,file,label", 'p1,"a, b",T2/good/0.png,good', "p2,,T2/bad/0.png,"]
    (folder / "groups.csv").write_bytes("\r\n".join([*rows, ""]).encode())
    apply_review(folder, write_review(folder, tmp_path / "review.csv", {"good/0.png": "relabel bad", "good/1.png": "regroup p1"}))
    assert (folder / "groups.csv").read_bytes().decode().split("\r\n") == [
        "scan,note,file,label",
        'p1,"a, b",T2/bad/0-2.png,bad',
        "p2,,T2/bad/0.png,",
        "p1,,good/1.png,",
        "",
    ]


def test_a_journal_that_cannot_be_read_stops_everything(folder: Path, tmp_path: Path) -> None:
    review = write_review(folder, tmp_path / "review.csv", DECISIONS)
    apply_review(folder, review)
    path = folder / "cleaning" / "0001.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": "cordon-cleaning-9"}))
    with pytest.raises(DatasetError, match="another release"):
        undo_step(folder)


@pytest.mark.parametrize("text", ["file,label,group,defect\n", "\ufefffile,group\r\ngood/0.png,p\r\n"])
def test_a_table_with_columns_only_or_with_a_spreadsheets_mark_takes_the_new_groups(folder: Path, tmp_path: Path, text: str) -> None:
    (folder / "groups.csv").write_text(text, encoding="utf-8", newline="")
    before = tree(folder)
    apply_review(folder, write_review(folder, tmp_path / "review.csv", {"good/1.png": "regroup q"}))
    groups = {scan.path.name: scan.group for scan in find_scans(folder).scans if scan.label == "good"}
    assert groups["1.png"] == "q"
    assert groups["0.png"] == ("p" if "p\r" in text else "good/0.png")
    undo_step(folder)
    assert tree(folder) == before
