"""What an export refuses, and that a refused or interrupted one leaves everything as it was."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from export_workshop import Workshop

from edge.cli import main as cordon
from edge.commands import new_key
from nets.checkpoint import load_checkpoint


@pytest.fixture
def scans(workshop: Workshop, tmp_path: Path) -> Path:
    """A copy of T3's scans that a test may spoil."""
    folder = tmp_path / "scans"
    shutil.copytree(workshop.order.typology[0].scans, folder)
    return folder


def export(folder: Path, scans: Path, source: Path | None, *more: str) -> int:
    """`cordon export` of T3's network; the key is made on first use."""
    if not (folder / "key").exists():
        new_key(folder / "key")
    words = [str(source), "--scans", str(scans), "--name", "T3", "--key", str(folder / "key"), "--out", str(folder / "T3.cordon")]
    return cordon(["export", *words, *more])


def spoil_image(scans: Path) -> None:
    (scans / "good" / "003.png").write_bytes(b"no image")


def other_size(scans: Path) -> None:
    cv2.imwrite(str(scans / "bad" / "005.png"), np.full((48, 64), 200, np.uint8))


def wrong_folders(scans: Path) -> None:
    (scans / "bad").rename(scans / "broken")


def no_bad_scans(scans: Path) -> None:
    shutil.rmtree(scans / "bad")
    (scans / "bad").mkdir()


BAD_SCANS = {
    "an unreadable image": (spoil_image, r"003\.png is not an image"),
    "mixed sizes": (other_size, r"005\.png"),
    "a folder of no label": (wrong_folders, "does not have a folder for each label"),
    "one label only": (no_bad_scans, "has no bad scans"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD_SCANS)
def test_scans_that_cannot_prove_anything_are_refused_by_name(
    case: str, workshop: Workshop, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, message = BAD_SCANS[case]
    spoil(scans)
    assert export(tmp_path, scans, workshop.order.typology[0].source) == 1
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert not (tmp_path / "T3.cordon").exists()


@pytest.mark.slow
def test_nan_weights_are_refused_by_tensor(workshop: Workshop, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = workshop.order.typology[0].source
    assert source is not None
    weights = load_checkpoint(source).model.state_dict()
    weights["head.1.weight"][0, 0] = torch.nan
    torch.save(weights, tmp_path / "net.pth")
    assert export(tmp_path, scans, tmp_path / "net.pth", "--arch", "small", "--classes", "bad,good") == 1
    assert "head.1.weight" in capsys.readouterr().err


@pytest.mark.slow
def test_json_prints_one_object_and_nothing_else(
    workshop: Workshop, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(tmp_path, scans, workshop.order.typology[0].source, "--json", "--held-out", "0.5") == 0
    said = capsys.readouterr()
    flat = json.loads(said.out)
    assert (flat["escapes_fp32"], flat["escapes_int8"], flat["flips"], flat["precision"]) == (0, 0, 0, ["int8"])
    assert flat["latency_ms"]["int8"] > 0
    assert "prove" in said.err
    beside = json.loads((tmp_path / "T3.certificate.json").read_text())
    assert beside["bundle"] == flat["bundle"]
    assert flat["bundle"] in (tmp_path / "T3.certificate.html").read_text()


@pytest.mark.slow
def test_an_existing_bundle_is_replaced_only_with_force(
    workshop: Workshop, scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "T3.cordon").write_text("old")
    source = workshop.order.typology[0].source
    assert export(tmp_path, scans, source) == 1
    assert "--force" in capsys.readouterr().err
    assert export(tmp_path, scans, source, "--force", "--escape-bound", "0.01") == 1
    assert (tmp_path / "T3.cordon").read_text() == "old"
    assert export(tmp_path, scans, source, "--force") == 0
    assert (tmp_path / "T3.cordon").read_bytes().startswith(b"CORDON")


INTERRUPTIBLE = """
import signal, sys
from edge.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job, which this may be, starts with it ignored
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_export_leaves_the_old_bundle_as_it_was(
    workshop: Workshop, scans: Path, tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "T3.cordon"
    out.write_text("old")
    new_key(tmp_path / "key")
    words = [str(workshop.order.typology[0].source), "--scans", str(scans), "--name", "T3", "--key", str(tmp_path / "key")]
    command = [sys.executable, "-c", INTERRUPTIBLE, "export", *words]
    with subprocess.Popen([*command, "--out", str(out), "--force"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.split()[1:2] == ["quantise"]:
                break
        os.kill(process.pid, how)
        process.stdout.read()
    assert process.returncode == (130 if how is signal.SIGINT else -how)
    assert out.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["T3.cordon", "key", "scans"]
