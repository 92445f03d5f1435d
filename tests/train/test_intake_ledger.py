"""An import counts as a whole or not at all, wherever it is cut off."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cut_kit
import cv2
import pytest
from intake_kit import Box, dataset, gray, label, state

from edge.errors import DatasetError
from scans.folder import find_scans
from train.cli import main as train
from train.intake.table import add_rows, drop_rows, table_path

CHANGING = [(os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "unlink")]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    made = Box(tmp_path_factory.mktemp("ledger") / "box")
    for number in range(3):
        made.weld(gray(number), part=f"P{number}")
    made.close()
    made.export()
    return made


def take(box: Box, root: Path, *options: str) -> int:
    labels = label(root.parent / "l.csv", (1, "good"), (2, "bad"), (3, "good"))
    source = [str(box.folder / "export"), "--images", str(box.images), "--labels", str(labels)]
    return train(["import", *source, "--into", str(root), *options])


def undo(root: Path, number: int = 1) -> int:
    return train(["import", "--undo", str(number), "--into", str(root)])


def seen(root: Path) -> set[tuple[str, ...]]:
    """What training sees."""
    return {(s.path.relative_to(root).as_posix(), s.label, s.group, s.defect) for s in find_scans(root).scans}


def cuts(folder: Path, begin: Callable[[Path], Path], act: Callable[[Path], int]) -> Iterator[Path]:
    """For every step of `act`: a folder in which it was cut off there; ends when a run comes through."""
    return cut_kit.cuts(lambda step: begin(folder / str(step) / "T2"), act, CHANGING, least=6)


def test_an_import_cut_off_anywhere_trains_as_before_or_as_after_and_is_finished_by_the_next(box: Box, tmp_path: Path) -> None:
    before = seen(dataset(tmp_path / "whole" / "T2"))
    take(box, tmp_path / "whole" / "T2")
    after = seen(tmp_path / "whole" / "T2")
    assert len(after) == len(before) + 3
    met = set()
    for root in cuts(tmp_path, dataset, lambda root: take(box, root)):
        assert seen(root) in (before, after), root
        met.add(len(seen(root)))
        assert take(box, root) == 0
        assert seen(root) == after
        whole, again = state(tmp_path / "whole" / "T2"), state(root)
        assert {n: b for n, b in whole.items() if "provenance" not in n} == {n: b for n, b in again.items() if "provenance" not in n}
        assert sorted(whole) == sorted(again)
    assert met == {len(before), len(after)}


def test_an_undo_cut_off_anywhere_leaves_before_or_after_and_is_finished_by_the_next(box: Box, tmp_path: Path) -> None:
    def imported(root: Path) -> Path:
        dataset(root)
        take(box, root)
        return root

    before = seen(dataset(tmp_path / "bare" / "T2"))
    for root in cuts(tmp_path, imported, undo):
        now = len(seen(root)) - len(before)
        assert now in (0, 3)
        if now or list((root / "provenance").glob("*.pending.json")):
            assert undo(root) == 0
        assert seen(root) == before
        assert list((root / "provenance").glob("*.json")) == []


def test_undo_takes_back_exactly_one_import(box: Box, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = dataset(tmp_path / "T2")
    before = state(root)
    take(box, root)
    assert undo(root) == 0
    assert "3 scans of import 1 removed" in capsys.readouterr().out
    left = state(root)
    rows = before.pop("groups.csv").splitlines()
    assert left.pop("groups.csv").splitlines() == [rows[0] + b",label,defect", *(row + b",," for row in rows[1:])]
    assert left == before
    with pytest.raises(DatasetError, match=r"no import 1 .*none"):
        undo(root)
    assert take(box, root) == 0


def test_files_changed_or_moved_since_are_not_undone(box: Box, tmp_path: Path) -> None:
    root = dataset(tmp_path / "T2")
    take(box, root)
    first, second, _ = sorted(root.rglob("line_*.png"))
    cv2.imwrite(str(first), gray(77))
    second.rename(root / "bad" / "moved.png")
    before = state(root)
    with pytest.raises(DatasetError, match=r"2 files of import 1 were changed, moved or removed since"):
        undo(root)
    assert state(root) == before


def test_only_one_import_at_a_time(box: Box, tmp_path: Path) -> None:
    root = dataset(tmp_path / "T2")
    (root / "provenance").mkdir()
    with (root / "provenance" / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match="another import"):
            take(box, root)


def test_a_full_disk_is_told_and_nothing_counts(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    root = dataset(tmp_path / "T2")
    before = seen(root)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DatasetError, match="No space left"):
        take(box, root)
    monkeypatch.undo()
    assert seen(root) == before


def test_a_file_that_has_the_name_already_is_never_overwritten(box: Box, tmp_path: Path) -> None:
    root = dataset(tmp_path / "T2")
    take(box, root)
    (path, *_) = sorted((root / "good").glob("line_*.png"))
    undo(root)
    cv2.imwrite(str(path), gray(99))
    with pytest.raises(DatasetError, match="files of these names"):
        take(box, root)
    assert (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) == gray(99)).all()


@pytest.mark.parametrize("name", ["../outside.png", "/tmp/outside.png", "groups.csv", "good/x.txt"])  # noqa: S108 - a hostile name
def test_a_pending_ledger_cannot_remove_what_no_import_writes(name: str, box: Box, tmp_path: Path) -> None:
    root = dataset(tmp_path / "T2")
    take(box, root)
    done = root / "provenance" / "0001.json"
    told = json.loads(done.read_bytes())
    told["scans"][0]["file"] = name
    (root / "provenance" / "0002.pending.json").write_text(json.dumps(told))
    (tmp_path / "outside.png").write_text("x")
    with pytest.raises(DatasetError, match="a file that no import writes"):
        take(box, root)
    assert (tmp_path / "outside.png").exists()
    assert (root / "groups.csv").exists()


def test_a_ledger_that_cannot_be_read_stops_training_and_import(box: Box, tmp_path: Path) -> None:
    root = dataset(tmp_path / "T2")
    (root / "provenance").mkdir()
    (root / "provenance" / "0001.pending.json").write_text("{")
    with pytest.raises(DatasetError, match="unfinished import cannot be read"):
        find_scans(root)
    with pytest.raises(DatasetError, match="cannot be read"):
        take(box, root)


def test_the_table_of_groups_keeps_what_it_has(tmp_path: Path) -> None:
    rows = [{"file": "good/b.png", "label": "good", "group": "g,1", "defect": ""}]
    (tmp_path / "a.csv").write_text("file,fold\nx,1\n")
    tiles = tmp_path / "tiles.csv"
    tiles.write_text('scan,file,"operator, first"\r\ns1,T2/good/a.png,"a ""b"""\r\n')
    assert table_path(tmp_path) == tiles, "as find_scans chooses it"
    add_rows(tmp_path, rows)
    add_rows(tmp_path, rows)
    text = tiles.read_text()
    assert text == 'scan,file,"operator, first",label,defect\ns1,T2/good/a.png,"a ""b""",,\n"g,1",good/b.png,,good,\n'
    drop_rows(tmp_path, ["good/b.png"])
    assert tiles.read_text().count("\n") == 2
    assert (tmp_path / "a.csv").read_text() == "file,fold\nx,1\n"
    assert table_path(tmp_path / "none") == tmp_path / "none" / "groups.csv"
