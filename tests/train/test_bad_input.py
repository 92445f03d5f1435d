"""Every command that reads a folder of scans, on every folder it cannot use: status 1, which file, what to do, nothing written."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.cli import main
from nets.architectures import build
from nets.checkpoint import Checkpoint, save_checkpoint
from scans.folder import read_spec

Spoil = Callable[[Path], str]
"""Spoils a sound folder; returns what the message must name."""


def _missing(root: Path) -> str:
    shutil.rmtree(root)
    return root.name


def _empty(root: Path) -> str:
    for path in root.rglob("*.png"):
        path.unlink()
    return f"{root.name} has no"


def _one_class(root: Path) -> str:
    for path in (root / "bad").glob("*.png"):
        path.unlink()
    return f"{root.name} has no bad scans"


def _unreadable(root: Path) -> str:
    (root / "good" / "2.png").write_bytes((root / "good" / "2.png").read_bytes()[:60])
    return "good/2.png"


def _mixed_sizes(root: Path) -> str:
    cv2.imwrite(str(root / "good" / "wide.png"), np.full((64, 128), 40, np.uint8))
    return "wide.png"


def _mixed_depths(root: Path) -> str:
    image = cv2.imread(str(root / "good" / "1.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(root / "good" / "deep.png"), np.asarray(image).astype(np.uint16) * 257)
    return "deep.png"


def _both_labels(root: Path) -> str:
    shutil.copy(root / "good" / "3.png", root / "bad" / "copy.png")
    return "good/3.png = bad/copy.png"


def _table_contradicts(root: Path) -> str:
    (root / "groups.csv").write_text("file,label,group\ngood/4.png,bad,p\n", encoding="utf-8")
    return "good/4.png"


def _table_of_another_kind(root: Path) -> str:
    (root / "groups.csv").write_text("file;group\ngood/4.png;p\n", encoding="utf-8")
    return "groups.csv"


def _broken_scale(root: Path) -> str:
    (root / "scan.toml").write_text("pitch = 3\n", encoding="utf-8")
    return "scan.toml"


def _broken_spec(root: Path) -> str:
    (root / "heightmap.json").write_text("{", encoding="utf-8")
    return "heightmap.json"


FOLDER: tuple[Spoil, ...] = (_missing, _empty, _one_class, _table_contradicts, _table_of_another_kind, _broken_scale, _broken_spec)
"""What no command takes."""
FILES: tuple[Spoil, ...] = (_unreadable, _mixed_sizes, _mixed_depths, _both_labels)
"""What no training takes; `clean find` is there to show it."""
TRAINING = "--epochs 1 --threads 1"
COMMANDS: dict[str, tuple[str, tuple[Spoil, ...]]] = {
    "train": (f"train {{root}} --out {{out}}/net.safetensors {TRAINING}", FOLDER + FILES),
    "folds": (f"train {{root}} --folds 2 --out {{out}}/folds {TRAINING}", FOLDER + FILES),
    "router": (f"train {{above}} --router --out {{out}}/net.safetensors {TRAINING}", FOLDER[1:] + FILES),
    "run": ("train run {above}/classifier.toml {above}/anomaly.toml --data {above} --out {out} --threads 1", FOLDER + FILES),
    "clean find": (f"train clean find {{root}} --out {{out}} {TRAINING}", FOLDER),
    "clean apply": ("train clean apply {root} --review {above}/review.csv", FOLDER),
    "explain": ("train explain {above}/net.safetensors {root} --out {out}", (*FOLDER, _unreadable)),
    "export": ("export {above}/net.safetensors --scans {root} --name T --key {above}/key --out {out}/T.cordon", FOLDER + FILES),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, make_folder: Any) -> Path:
    """Everything that the commands above name, in order."""
    above: Path = tmp_path_factory.mktemp("sound") / "above"
    root, _ = make_folder(above / "T", count=24), make_folder(above / "U", seed=1)
    spec = read_spec(root / "heightmap.json")
    network = build("small", 2, size=(64, 96))
    save_checkpoint(Checkpoint(architecture="small", classes=("bad", "good"), heightmap=spec, model=network), above / "net.safetensors")
    for kind in ("classifier", "anomaly"):
        (above / f"{kind}.toml").write_text(f'name = "{kind}"\nkind = "{kind}"\ndata = "T"\n', encoding="utf-8")
    digest = hashlib.sha256((root / "good" / "0.png").read_bytes()).hexdigest()
    (above / "review.csv").write_text(f"file,decision,sha256\ngood/0.png,remove,{digest}\n", encoding="utf-8")
    assert main(["keys", "new", str(above / "key")]) == 0
    return above


def _content(folder: Path) -> dict[str, bytes]:
    """Every file below, but for the locks of commands that let nobody else write meanwhile."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


CASES = [pytest.param(words, spoil, id=f"{name}{spoil.__name__}") for name, (words, spoils) in COMMANDS.items() for spoil in spoils]


@pytest.mark.parametrize(("words", "spoil"), CASES)
def test_a_folder_that_cannot_be_used(words: str, spoil: Spoil, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    above, out = tmp_path / "above", tmp_path / "out"
    shutil.copytree(sound, above)
    out.mkdir()
    named = spoil(above / "T")
    before = _content(above)
    status = main(words.format(root=above / "T", above=above, out=out).split())
    said = capsys.readouterr().err
    assert (status, named in said) == (1, True), said
    problem, _, remedy = said.rpartition(". ")
    assert problem, said
    assert remedy.strip(), said
    assert _content(out) == {}
    assert _content(above) == before
