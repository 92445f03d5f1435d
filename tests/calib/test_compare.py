"""The methods side by side: one command, one table, one plot."""

from pathlib import Path

import numpy as np
import pytest
from tiny_network import H, W, network

from calib.compare import _compared, compare_methods, table
from calib.plot import plot_ranges
from calib.prepare import Prepared
from edge.cli import main as cordon
from edge.errors import DatasetError, ExportError
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, spec_to_json
from scans.folder import Scan


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, H, W), dtype=np.uint8)


def proof(labels: list[str]) -> Prepared:
    scans = tuple(Scan(Path(f"{i}.png"), label, str(i)) for i, label in enumerate(labels))  # type: ignore[arg-type]
    return Prepared(images=frames(len(labels), seed=1), labels=tuple(labels), scans=scans, refused={})


def test_every_method_is_scored_on_the_same_scans() -> None:
    found = compare_methods(network(), frames(16), proof(["bad", "good"] * 5))
    assert [m.method for m in found.methods] == ["max", "entropy", "percentile"]
    assert found.scans == 10
    assert all(0 < m.difference_mean <= m.difference_max < 0.05 for m in found.methods)
    assert all(0 <= m.auroc <= 1 and m.escapes_added <= m.flips for m in found.methods)
    clipped = {m.method: m.clipped for m in found.methods}
    assert clipped["max"] < clipped["percentile"] < 0.001
    lines = table(found).splitlines()
    assert [line.split()[0] for line in lines[1:5]] == ["FP32", "max", "entropy", "percentile"]
    assert f"{found.methods[0].difference_max:.4f}" in lines[2]


def test_an_added_escape_is_a_bad_weld_that_only_int8_calls_good() -> None:
    fp32, int8 = np.array([0.9, 0.9, 0.1, 0.1, 0.2]), np.array([0.9, 0.4, 0.1, 0.7, 0.8])
    observed = compare_methods(network(), frames(16), proof(["bad", "good"]), methods=["max"]).methods[0].ranges
    found = _compared("max", fp32, int8, np.array([True, True, False, False, False]), observed)
    assert (found.flips, found.escapes_added) == (3, 1)
    assert found.difference_max == pytest.approx(0.6)


def test_the_bad_column_turns_the_scores_round() -> None:
    one, other = (compare_methods(network(), frames(16), proof(["bad", "good"] * 5), methods=["max"], bad=bad) for bad in (0, 1))
    assert one.auroc_fp32 == pytest.approx(1 - other.auroc_fp32)
    with pytest.raises(ExportError, match="column 2 of 2"):
        compare_methods(network(), frames(16), proof(["bad", "good"]), methods=["max"], bad=2)


def test_held_out_scans_of_one_label_are_refused() -> None:
    with pytest.raises(DatasetError, match="all of one label"):
        compare_methods(network(), frames(16), proof(["bad"] * 4))


def test_the_plot_shows_every_tensor_and_method_and_repeats_its_bytes() -> None:
    found = compare_methods(network(), frames(16), proof(["bad", "good"] * 2), methods=["max", "entropy"])
    ranges = {m.method: m.ranges for m in found.methods}
    drawn = plot_ranges(ranges, "net.onnx")
    assert drawn == plot_ranges(ranges, "net.onnx")
    text = drawn.decode()
    assert text.lstrip().startswith("<?xml")
    assert all(r.tensor in text for r in found.methods[0].ranges)
    assert all(word in text for word in (">max<", ">entropy<", "net.onnx"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for label, high in (("good", 120), ("bad", 250)):
        (tmp_path / "scans" / label).mkdir(parents=True)
        for number in range(20):
            np.save(tmp_path / "scans" / label / f"{number}.npy", rng.integers(0, high, (H, W), dtype=np.uint8))
    spec = HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=5.0), height=H, width=W)
    (tmp_path / "scans" / "heightmap.json").write_bytes(spec_to_json(spec))
    (tmp_path / "net.onnx").write_bytes(network())
    return tmp_path


def run(folder: Path, *words: str) -> int:
    return cordon(["calib", "compare", str(folder / "scans"), "--onnx", str(folder / "net.onnx"), "--count", "16", *words])


def test_one_command_prints_the_table_and_writes_the_plot(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, "--methods", "percentile,max", "--out", str(folder)) == 0
    shown = capsys.readouterr().out
    assert "16 calibration images" in shown
    assert "8 held-out scans" in shown
    assert "entropy" not in shown
    assert (folder / "ranges.svg").read_bytes().count(b"<svg") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "max,mean"], "this is no calibration method"),
        (["--out", "missing"], "there is no folder for the plot"),
        (["--bad", "7"], "column 7 of 2"),
    ],
)
def test_a_wrong_option_is_named(folder: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folder, *words) == 1
    assert message in capsys.readouterr().err
