"""`cordon train defects` from folder to folder: formats, groups, counts, determinism, and every kind of unusable input."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from defects_kit import small_folder

from edge.errors import DatasetError
from scans.folder import find_scans, read_image
from scans.split import folds_by_group
from train.defects.cli import main
from train.defects.source import read_good_folder, to_image, to_mm


def defects(folder: Path, out: Path, *words: str) -> Path:
    assert main([str(folder), "--typology", "T10", "--out", str(out), *words]) == 0
    return out


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def table(root: Path) -> list[dict[str, str]]:
    with (root / "groups.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_folder(tmp_path_factory.mktemp("good") / "scans")


@pytest.fixture(scope="module")
def made(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "out"
    return defects(good, out, "--good", "9", "--bad", "16", "--masks", "--sheet")


def test_the_folder_is_one_to_train_on(made: Path, good: Path) -> None:
    found = find_scans(made)
    labels = [scan.label for scan in found.scans]
    assert (labels.count("good"), labels.count("bad")) == (9, 16)
    assert found.scale == read_good_folder(good).scale
    assert found.spec is not None
    assert {scan.defect for scan in found.scans if scan.label == "bad"} >= {"cut", "ball", "pore", "missing", "excess"}
    shapes = {(read_image(scan.path).shape, str(read_image(scan.path).dtype)) for scan in found.scans}
    assert shapes == {((80, 132), "uint8")}


def test_a_derived_scan_is_of_its_sources_group_so_that_no_split_parts_them(made: Path, good: Path) -> None:
    groups = {row["file"]: row["group"] for row in table(good)}
    for row in table(made):
        assert row["group"] == groups[row["source"]]
    for training, test in folds_by_group(find_scans(made).scans, folds=2, seed=1):
        assert not {scan.group for scan in training} & {scan.group for scan in test}


def test_good_scans_are_copied_byte_by_byte_and_masks_show_the_difference(made: Path, good: Path) -> None:
    for row in table(made):
        if row["defect"] == "none":
            assert (made / row["file"]).read_bytes() == (good / row["source"]).read_bytes()
    taken_otherwise = {"gain", "dropout", "move_mm"}
    cut = next(row for row in table(made) if row["label"] == "bad" and not taken_otherwise & set(json.loads(row["parameters"])))
    mask = cv2.imread(str(made / "masks" / cut["file"]), cv2.IMREAD_UNCHANGED) > 0
    before, after = read_image(good / cut["source"]), read_image(made / cut["file"])
    assert mask.any()
    assert np.array_equal(before[~mask], after[~mask])
    assert cv2.imread(str(made / "sheet.png")).shape[1] > 1000


def test_provenance_names_seed_standard_and_counts(made: Path) -> None:
    said = json.loads((made / "provenance.json").read_text(encoding="utf-8"))
    assert said["seed"] == 1
    assert said["standard"]["cut_limit_mm"] == 2.5
    assert sum(said["written"].values()) == 25
    assert not any("/" in str(value) for value in said["source"].values())


def test_equal_seeds_give_equal_bytes_and_others_do_not(good: Path, tmp_path: Path) -> None:
    words = ("--good", "4", "--bad", "5")
    one, two, three = (
        contents(defects(good, tmp_path / name, *words, "--seed", seed)) for name, seed in (("a", "5"), ("b", "5"), ("c", "6"))
    )
    assert one == two
    assert one != three


@pytest.mark.parametrize("dtype", ["u16", "f32"])
def test_derived_scans_have_the_sources_format_and_depth(dtype: str, tmp_path: Path) -> None:
    good = small_folder(tmp_path / "good_scans", count=1, dtype=dtype)
    out = defects(good, tmp_path / "out", "--good", "2", "--bad", "3", "--only", "cut,excess")
    source = read_image(next((good / "good").iterdir()))
    assert {row["defect"] for row in table(out)} == {"none", "sound", "cut", "excess"}
    for row in table(out):
        image = read_image(out / row["file"])
        assert image.dtype == source.dtype
        assert image.shape == source.shape
        assert Path(row["file"]).suffix == {"u16": ".tiff", "f32": ".npy"}[dtype]


@pytest.mark.parametrize("dtype", ["u8", "u16", "f32"])
def test_heights_survive_the_way_to_pixels_and_back(dtype: str, tmp_path: Path) -> None:
    folder = read_good_folder(small_folder(tmp_path / "scans", count=1, dtype=dtype))
    image = read_image(folder.sources[0].path)
    assert np.array_equal(to_image(to_mm(image, folder.scale), folder.scale, folder.dtype), image, equal_nan=dtype == "f32")


def test_heights_outside_the_pixels_range_are_clipped_and_never_become_no_data(good: Path) -> None:
    folder = read_good_folder(good)
    ends = np.array([[-99.0, 99.0, np.nan]], np.float32)
    assert to_image(ends, folder.scale, folder.dtype).tolist() == [[1, 255, 0]]


def test_a_folder_called_good_takes_the_files_beside_it(good: Path, tmp_path: Path) -> None:
    inner = read_good_folder(good / "good")
    assert [s.group for s in inner.sources] == [s.group for s in read_good_folder(good).sources]
    flat = tmp_path / "flat"
    shutil.copytree(good / "good", flat)
    shutil.copy(good / "scan.toml", flat)
    assert [s.group for s in read_good_folder(flat).sources] == ["scan0.png", "scan1.png", "scan2.png"]


def test_nothing_is_overwritten_and_nothing_half_written_stays(good: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("kept", encoding="utf-8")
    with pytest.raises(DatasetError, match="not empty"):
        defects(good, out)
    with pytest.raises(DatasetError, match="same few welds"):
        defects(good, tmp_path / "many", "--bad", "5000")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert (out / "mine.txt").read_text(encoding="utf-8") == "kept"


def spoilt(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "spoilt")
    return tmp_path / "spoilt"


def test_constant_and_beadless_scans_are_named_skipped_and_counted(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = spoilt(good, tmp_path)
    cv2.imwrite(str(folder / "good" / "black.png"), np.zeros((80, 132), np.uint8))
    noise = np.random.default_rng(1).integers(90, 96, (80, 132)).astype(np.uint8)
    cv2.imwrite(str(folder / "good" / "sheet.png"), noise)
    out = defects(folder, tmp_path / "out", "--good", "3", "--bad", "2")
    said = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert set(said["skipped"]) == {"good/black.png", "good/sheet.png"}
    printed = capsys.readouterr().out
    assert "constant image" in printed
    assert "2 scans gave nothing" in printed
    assert not {"good/black.png", "good/sheet.png"} & {row["source"] for row in table(out)}


def test_a_defect_that_no_bead_has_room_for_is_counted_not_fatal(good: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    standard = tmp_path / "standard.toml"
    packaged = (Path(__file__).parents[2] / "train" / "defects" / "standards.toml").read_text(encoding="utf-8")
    standard.write_text(packaged.replace("rejectable_mm = [3.3, 6.0]", "rejectable_mm = [40.0, 50.0]"), encoding="utf-8")
    out = defects(good, tmp_path / "out", "--good", "3", "--bad", "2", "--only", "cut", "--standard", str(standard))
    said = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    assert said["unmade"] == {"cut": 2}
    assert "NOT MADE: 2 x cut" in capsys.readouterr().out


def _break(folder: Path, how: str) -> None:
    first = folder / "good" / "scan0.png"
    if how == "empty":
        for path in (folder / "good").iterdir():
            path.unlink()
    elif how == "unreadable":
        first.write_bytes(b"no image")
    elif how == "other size":
        cv2.imwrite(str(first), read_image(first)[:-2])
    elif how == "other depth":
        cv2.imwrite(str(first), read_image(first).astype(np.uint16))
    elif how == "bad scans":
        (folder / "bad").mkdir()
        shutil.copy(first, folder / "bad")
    elif how == "no scale":
        (folder / "scan.toml").unlink()
    elif how == "no pitch":
        (folder / "scan.toml").write_text("z_scale_mm = 1.0\n", encoding="utf-8")
    elif how == "cloud":
        for path in (folder / "good").iterdir():
            path.unlink()
        np.save(folder / "good" / "cloud.npy", np.zeros((8, 9, 3), np.float32))
    elif how == "all black":
        for path in (folder / "good").iterdir():
            cv2.imwrite(str(path), np.zeros((80, 132), np.uint8))


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ("empty", "has no scans"),
        ("unreadable", r"scan0\.png is not an image"),
        ("other size", r"scan1\.png differs"),
        ("other depth", r"scan1\.png differs"),
        ("bad scans", "has bad scans already"),
        ("no scale", r"no scan\.toml: sizes in mm need the pixel pitch.*Write pitch_mm"),
        ("no pitch", "does not say pitch_mm"),
        ("cloud", r"cloud\.npy is a point cloud.*Project"),
        ("all black", "no scan shows a bead"),
    ],
)
def test_unusable_folders_are_refused_by_name_with_a_remedy(how: str, match: str, good: Path, tmp_path: Path) -> None:
    folder = spoilt(good, tmp_path)
    _break(folder, how)
    with pytest.raises(DatasetError, match=match):
        defects(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_folders_bad_folders_and_unknown_names_are_refused(good: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no folder"):
        defects(tmp_path / "none", tmp_path / "out")
    (tmp_path / "Soldadura_Mala").mkdir()
    with pytest.raises(DatasetError, match="folder of bad scans"):
        defects(tmp_path / "Soldadura_Mala", tmp_path / "out")
    with pytest.raises(DatasetError, match="no such defect"):
        defects(good, tmp_path / "out", "--only", "cut,rust")
    with pytest.raises(DatasetError, match="--bad is not negative"):
        defects(good, tmp_path / "out", "--bad", "-1")
