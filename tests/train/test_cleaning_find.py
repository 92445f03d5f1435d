"""From a small folder with planted mistakes to review.csv and a page that is safe to open."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import DatasetError
from scans.folder import find_scans
from train.cleaning.cli import main

EVIL = "<script>alert(1)<&'\".png"
EVIL_GROUP = '"><img src=x onerror=alert(2)>'
ARGUMENTS = ["--splits", "2", "--folds", "2", "--epochs", "1", "--seed", "3", "--threads", "1"]


class Tags(HTMLParser):
    """Every start tag with its attributes, and the text of every script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: Any, make_folder: Any) -> Path:
    root: Path = make_folder(tmp_path_factory.mktemp("clean") / "T2", count=8)
    shutil.copy(root / "bad" / "1.png", root / "good" / EVIL)
    shutil.copy(root / "good" / "2.png", root / "good" / "=copy.png")
    brighter = cv2.imread(str(root / "good" / "5.png"), cv2.IMREAD_UNCHANGED).astype(int) + 9
    np.save(root / "good" / "again.npy", brighter.astype(np.uint8))
    (root / "good" / "torn.png").write_bytes(b"not an image")
    cv2.imwrite(str(root / "bad" / "empty.png"), np.zeros((64, 96), np.uint8))
    with (root / "groups.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "group", "defect"])
        writer.writerows(
            [f"{label}/{n}.png", label, f"part{n // 2}-{label}", {"bad": "cut"}.get(label, "")]
            for label in ("good", "bad")
            for n in range(8)
        )
        writer.writerow([f"good/{EVIL}", "good", EVIL_GROUP, "=<b>odd</b>"])
    return root


@pytest.fixture(scope="module")
def reviewed(folder: Path, tmp_path_factory: Any) -> Path:
    out: Path = tmp_path_factory.mktemp("review")
    before = sorted(path for path in folder.rglob("*"))
    assert main(["find", str(folder), "--out", str(out), *ARGUMENTS]) == 0
    assert sorted(path for path in folder.rglob("*")) == before
    return out


def rows_of(reviewed: Path) -> dict[str, dict[str, str]]:
    with (reviewed / "review.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def test_the_review_starts_with_the_weld_that_is_in_both_labels(reviewed: Path) -> None:
    rows = rows_of(reviewed)
    assert set(list(rows)[:2]) == {f"good/{EVIL}", "bad/1.png"}
    assert rows["bad/1.png"]["reasons"].startswith(f"in both labels: same bytes as good/{EVIL}")
    assert "remove" in [rows[name]["suggestion"] for name in list(rows)[:2]]
    assert all(row["decision"] == "" and len(row["sha256"]) == 64 for row in rows.values())


def test_copies_unreadable_files_and_groups_to_join_are_listed(reviewed: Path, folder: Path) -> None:
    rows = rows_of(reviewed)
    assert rows["good/torn.png"]["suggestion"] == "remove"
    assert "not an image" in rows["good/torn.png"]["reasons"]
    copy = next(row for name, row in rows.items() if name.endswith(("=copy.png", "good/2.png")) and "same bytes" in row["reasons"])
    assert copy["suggestion"] == "remove"
    assert "same weld as good/5.png of group part2-good" in rows["good/again.npy"]["reasons"]
    assert rows["good/again.npy"]["suggestion"] in ("regroup part2-good", "relabel bad")
    assert "bad/empty.png" not in rows  # the box refuses it, which is right for a bad one
    assert len(rows) < len(find_scans(folder).scans)


def test_confusion_counts_every_judged_scan_once_per_split_seed(reviewed: Path) -> None:
    with (reviewed / "confusion.csv").open(newline="") as file:
        rows = {(row["label"], row["defect"]): row for row in csv.DictReader(file)}
    cut = rows["bad", "cut"]
    assert cut["scans"] == "8"
    assert all(int(cut[f"judged_bad_{seed}"]) + int(cut[f"judged_good_{seed}"]) == 8 for seed in (3, 4))
    with (reviewed / "losses.csv").open(newline="") as file:
        losses = [float(row["mean_loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 19
    assert losses == sorted(losses, reverse=True)


def test_no_name_becomes_markup_and_only_the_page_s_own_script_may_run(reviewed: Path) -> None:
    text = (reviewed / "index.html").read_text(encoding="utf-8")
    found = Tags(text)
    assert [attributes.get("type") for tag, attributes in found.tags if tag == "script"] == ["application/json", None]
    assert not [name for _, attributes in found.tags for name in attributes if name.startswith("on")]
    assert not [tag for tag, _ in found.tags if tag == "b"]
    cards = {attributes["data-file"] for tag, attributes in found.tags if tag == "section"}
    assert f"good/{EVIL}" in cards
    assert EVIL_GROUP in {attributes["data-group"] for tag, attributes in found.tags if tag == "section"}
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    policy = next(a["content"] for tag, a in found.tags if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_the_page_needs_nothing_from_elsewhere_and_holds_the_whole_review(reviewed: Path) -> None:
    found = Tags((reviewed / "index.html").read_text(encoding="utf-8"))
    sources = [attributes["src"] or "" for tag, attributes in found.tags if tag == "img"]
    assert len(set(sources)) > 6
    assert all(re.fullmatch(r"images/[\d-]+\.png", source) and (reviewed / source).is_file() for source in sources)
    assert not [attributes for _, attributes in found.tags if "href" in attributes]
    data = json.loads(found.scripts[0])
    with (reviewed / "review.csv").open(newline="", encoding="utf-8") as file:
        assert [data["columns"], *data["rows"]] == list(csv.reader(file))


def test_no_cell_is_a_formula(reviewed: Path) -> None:
    text = (reviewed / "review.csv").read_text(encoding="utf-8")
    assert not re.search(r"(^|,)[=+@]", text, re.MULTILINE)
    assert rows_of(reviewed)[f"good/{EVIL}"]["defect"] == "'=<b>odd</b>"


def test_finished_folds_are_not_trained_again(reviewed: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    before = (reviewed / "review.csv").read_bytes()
    monkeypatch.setattr("train.cleaning.outoffold.fit", fail)
    main(["find", str(folder), "--out", str(reviewed), *ARGUMENTS])
    assert (reviewed / "review.csv").read_bytes() == before
    with pytest.raises(AssertionError, match="trained again"):
        main(["find", str(folder), "--out", str(reviewed), *ARGUMENTS, "--epochs", "2"])


def test_decisions_are_applied_listed_and_undone_by_command(
    reviewed: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "T2"
    shutil.copytree(folder, root)
    with (reviewed / "review.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "review.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({**row, "decision": row["suggestion"]} for row in rows)
    assert main(["apply", str(root), "--review", str(tmp_path / "review.csv"), "--by", "Ana"]) == 0
    assert not (root / "good" / "torn.png").exists()
    assert main(["log", str(root)]) == 0
    assert "good/torn.png (good, group good/torn.png): remove -> removed/good/torn.png" in capsys.readouterr().out
    assert main(["undo", str(root)]) == 0
    kept = [path for path in sorted(root.rglob("*")) if path.is_file() and "cleaning" not in path.parts]
    assert [path.relative_to(root) for path in kept] == [p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file()]
    assert all(path.read_bytes() == (folder / path.relative_to(root)).read_bytes() for path in kept)
    assert "undone by" in capsys.readouterr().out


def test_too_few_groups_a_review_inside_the_folder_and_one_label_are_refused(tmp_path: Path, make_folder: Any) -> None:
    root = make_folder(tmp_path / "T2", count=2)
    with pytest.raises(DatasetError, match="3 folds of whole groups"):
        main(["find", str(root), "--out", str(tmp_path / "r"), "--folds", "3", "--epochs", "1"])
    with pytest.raises(DatasetError, match="another --out"):
        main(["find", str(root), "--out", str(root / "review")])
    for path in (root / "bad").iterdir():
        path.write_bytes(b"torn")
    with pytest.raises(DatasetError, match="one label only"):
        main(["find", str(root), "--out", str(tmp_path / "r")])
    shutil.rmtree(root / "bad")
    with pytest.raises(DatasetError, match="folder for each label"):
        main(["find", str(root), "--out", str(tmp_path / "r")])


def test_a_size_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["find", "x", "--out", "y", "--size", "large"])
    assert "64x176" in capsys.readouterr().err
