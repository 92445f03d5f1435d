"""The words of `cordon bundle`, their output and their exit status."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundle_kit import certificate, signed_bytes
from tiny import PUBLIC, TinyBundle, cloud_image, frame_image

from edge.bundle import save_bundle
from edge.bundle_similar import pack_similar
from edge.cli import main

KEY = ["--key", PUBLIC]


@pytest.fixture
def file(tmp_path: Path) -> str:
    save_bundle(signed_bytes(paper=certificate()), tmp_path / "line.cordon")
    return str(tmp_path / "line.cordon")


@pytest.fixture
def known(tmp_path: Path) -> str:
    """A bundle whose T2 knows three welds: one dark and level, two that rise to the left or to the right."""
    ramp = np.arange(24, dtype=np.float32)
    embeddings = np.stack([np.full(24, 40, np.float32), 40 + 3 * ramp, 40 + 3 * ramp[::-1]])
    similar = pack_similar(["good/level.png", "bad/right.png", "bad/left.png"], ["good", "bad", "bad"], embeddings)
    TinyBundle(members=2, embedding=True, similar={"T2": similar}).save(tmp_path / "known.cordon")
    return str(tmp_path / "known.cordon")


def test_a_genuine_bundle_is_told_apart_from_an_altered_one(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "verify", file, *KEY]) == 0
    assert capsys.readouterr().out.startswith("genuine: tiny version 1\nhash   ")
    path = Path(file)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert main(["bundle", "verify", file, *KEY]) == 1
    assert "BundleContentError" in capsys.readouterr().err


def test_show_explains_and_its_json_is_one_object(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "show", file, *KEY]) == 0
    assert "T2: good when the score is at most 0.5" in capsys.readouterr().out
    assert main(["bundle", "show", "--json", file, *KEY]) == 0
    assert json.loads(capsys.readouterr().out)["certificate"]["format"] == 2


def test_a_key_may_be_given_as_people_write_it(file: str) -> None:
    assert main(["bundle", "verify", file, "--key", f" {PUBLIC.upper()}\n"]) == 0


def test_diff_ends_as_diff_does(file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = str(TinyBundle(version=2).save(tmp_path / "other.cordon"))
    assert main(["bundle", "diff", file, file, *KEY]) == 0
    assert capsys.readouterr().out.startswith("identical: tiny version 1, ")
    assert main(["bundle", "diff", file, other, *KEY]) == 1
    assert "bundle: version 1 -> 2\n" in capsys.readouterr().out
    assert main(["bundle", "diff", file, str(tmp_path / "none"), *KEY]) == 2
    assert "BundleFormatError" in capsys.readouterr().err
    assert main(["bundle", "diff", file, other, "--key", "ab" * 32]) == 2


@pytest.mark.parametrize(("slope", "first"), [(0, "good/level.png"), (3, "bad/right.png"), (-3, "bad/left.png")])
def test_the_weld_that_looks_most_alike_comes_first(
    known: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], slope: int, first: str
) -> None:
    columns = np.arange(24, dtype=np.uint8)[:: -1 if slope < 0 else 1] * np.uint8(abs(slope))
    cv2.imwrite(str(tmp_path / "scan.png"), frame_image(40, seed=8) + columns)
    assert main(["bundle", "similar", known, *KEY, "--typology", "T2", str(tmp_path / "scan.png"), "--count", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[-1] == first
    assert len(lines) == 4
    assert lines[-1].endswith("this is no verdict")


def test_a_range_image_goes_through_the_boxs_window(known: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heights = (np.tile(np.arange(24, dtype=np.float32), (16, 1)) * 3 + 40) / 25.4
    heights[3, 4] = np.nan
    np.save(tmp_path / "scan.npy", heights)
    assert main(["bundle", "similar", known, *KEY, "--typology", "T2", str(tmp_path / "scan.npy")]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[1:] == ["bad", "bad/right.png"]
    assert main(["bundle", "similar", known, *KEY, "--typology", "T2", str(tmp_path / "scan.npy"), "--z-offset-mm", "100"]) == 1
    assert "FrameError" in capsys.readouterr().err


@pytest.mark.parametrize("organised", [True, False])
def test_a_cloud_falls_into_the_bundles_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str], organised: bool) -> None:
    similar = pack_similar(
        ["good/left.png", "bad/level.png"], ["good", "bad"], np.stack([np.arange(24), np.full(24, 40)]).astype(np.float32)
    )
    TinyBundle(clouds=True, embedding=True, similar={"T2": similar}).save(tmp_path / "known.cordon")
    cloud = cloud_image(40, organised=organised)
    missing = np.full((cloud.shape[0], 1, 3), np.nan, np.float32)
    np.save(tmp_path / "scan.npy", np.concatenate([cloud, missing], axis=1))
    assert main(["bundle", "similar", str(tmp_path / "known.cordon"), *KEY, "--typology", "T2", str(tmp_path / "scan.npy")]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[1:] == ["bad", "bad/level.png"]


@pytest.mark.parametrize(
    ("typology", "scan", "words"),
    [
        ("T5", "scan.png", "no known welds for T5"),
        ("T9", "scan.png", "It has T2, T5"),
        ("T2", "none.png", "cannot read the scan"),
        ("T2", "none.npy", "cannot read the scan"),
        ("T2", "colour.png", "not a height image"),
        ("T2", "black.png", "FrameError"),
    ],
)
def test_what_cannot_be_looked_up_says_why(  # noqa: PLR0917
    known: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], typology: str, scan: str, words: str
) -> None:
    cv2.imwrite(str(tmp_path / "scan.png"), frame_image(40))
    cv2.imwrite(str(tmp_path / "colour.png"), np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "black.png"), np.zeros((16, 24), np.uint8))
    assert main(["bundle", "similar", known, *KEY, "--typology", typology, str(tmp_path / scan)]) == 1
    assert words in capsys.readouterr().err
