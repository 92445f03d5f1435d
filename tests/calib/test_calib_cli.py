from pathlib import Path

import numpy as np
import pytest
from tiny_network import H, W, network

from calib.cli import choose_from_folder
from calib.prepare import join, prepare_scans
from calib.qdq import check_qdq
from calib.quantise import read_model
from edge.cli import main as cordon
from edge.errors import DatasetError
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, spec_to_json
from scans.folder import Scale, Scan, find_scans
from scans.split import split_by_group

SPEC = HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=5.0), height=H, width=W)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, high in (("good", 120), ("bad", 250)):
        (tmp_path / "scans" / label).mkdir(parents=True)
        for number in range(20):
            np.save(tmp_path / "scans" / label / f"{number}.npy", rng.integers(0, high, (H, W), dtype=np.uint8))
    (tmp_path / "scans" / "heightmap.json").write_bytes(spec_to_json(SPEC))
    (tmp_path / "net.onnx").write_bytes(network())
    return tmp_path


def test_one_command_chooses_quantises_and_shows_the_ranges(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "net.int8.onnx"
    assert cordon(["calib", str(folder / "scans"), "--onnx", str(folder / "net.onnx"), "--out", str(out), "--count", "20"]) == 0
    assert check_qdq(read_model(out.read_bytes())) == []
    shown = capsys.readouterr().out
    assert "20 images (10 bad, 10 good) of 32 candidates, 0 duplicates dropped" in shown
    assert "activation → consumers" in shown
    assert "→ Conv" in shown


def test_held_out_groups_are_never_chosen(folder: Path) -> None:
    found = find_scans(folder / "scans")
    chosen = choose_from_folder(found, SPEC, count=32, held_out=0.2, seed=3)
    _, held_out = split_by_group(found.scans, held_out=0.2, seed=3)
    assert len(chosen.scans) == 32
    assert not {s.path for s in held_out} & {s.path for s in chosen.scans}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--onnx", "missing.onnx"], "cannot read the network"),
        (["--spec", "missing.json"], "cannot read the heightmap spec"),
        (["--out", "missing/x.onnx"], "cannot write"),
    ],
)
def test_a_wrong_file_is_named(folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    usual = ["--onnx", str(folder / "net.onnx"), "--out", str(folder / "x.onnx")]
    assert cordon(["calib", str(folder / "scans"), *usual, *words]) == 1
    assert message in capsys.readouterr().err


def test_a_folder_without_a_spec_says_so(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "scans" / "heightmap.json").unlink()
    assert cordon(["calib", str(folder / "scans"), "--onnx", str(folder / "net.onnx"), "--out", str(folder / "x")]) == 1
    assert "has no heightmap.json" in capsys.readouterr().err


def test_scans_the_box_would_refuse_are_counted_not_used(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(H * W, dtype=np.uint16).reshape(H, W).astype(np.uint8))
    np.save(tmp_path / "b.npy", np.full((H, W), 90, np.uint8))
    scans = [Scan(tmp_path / "a.npy", "good", "a"), Scan(tmp_path / "b.npy", "bad", "b")]
    found = prepare_scans(scans, SPEC, Scale())
    assert (found.labels, found.refused, found.images.shape) == (("good",), {"bad": 1}, (1, 1, H, W))
    named = prepare_scans(scans, SPEC, Scale(), label="T3")
    assert (named.labels, named.refused) == (("T3",), {"T3": 1})
    both = join([found, named])
    assert (both.labels, both.refused, len(both.images), len(both.scans)) == (("good", "T3"), {"bad": 1, "T3": 1}, 2, 2)
    with pytest.raises(DatasetError, match="no scan can be prepared"):
        prepare_scans(scans[1:], SPEC, Scale())
