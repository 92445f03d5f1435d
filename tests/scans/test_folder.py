from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.errors import DatasetError
from scans.folder import Scale, find_scans, kind_of, read_image
from scans.split import folds_by_group, split_by_group


def _folder(root: Path, good: str = "good", bad: str = "bad", count: int = 10) -> Path:
    for name in (good, bad):
        (root / name).mkdir(parents=True)
        for i in range(count):
            cv2.imwrite(str(root / name / f"{i}.png"), np.full((8, 12), i + 1, np.uint8))
    return root


@pytest.mark.parametrize(("good", "bad"), [("good", "bad"), ("Soldadura_Buena", "Soldadura_Mala")])
def test_english_and_spanish_folders_are_found(tmp_path: Path, good: str, bad: str) -> None:
    found = find_scans(_folder(tmp_path, good, bad))
    assert [len(found.labelled("good")), len(found.labelled("bad"))] == [10, 10]


def test_a_folder_of_one_label_is_refused(tmp_path: Path) -> None:
    _folder(tmp_path)
    for file in (tmp_path / "bad").iterdir():
        file.unlink()
    with pytest.raises(DatasetError, match="no bad scans"):
        find_scans(tmp_path)


def test_a_folder_without_label_folders_is_refused(tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    with pytest.raises(DatasetError, match="others"):
        find_scans(tmp_path)


def test_groups_come_from_the_table(tmp_path: Path) -> None:
    _folder(tmp_path)
    rows = [f"{label}/{i}.png,{label},part{i // 2}" for label in ("good", "bad") for i in range(10)]
    (tmp_path / "tiles.csv").write_text("file,label,scan\n" + "\n".join(rows))
    assert {scan.group for scan in find_scans(tmp_path).scans} == {f"part{i}" for i in range(5)}


def test_a_table_that_contradicts_the_folder_is_refused(tmp_path: Path) -> None:
    _folder(tmp_path)
    (tmp_path / "t.csv").write_text("file,label,scan\ngood/0.png,bad,p\n")
    with pytest.raises(DatasetError, match="says bad"):
        find_scans(tmp_path)


def test_no_group_lies_on_both_sides_and_every_scan_is_tested_once(tmp_path: Path) -> None:
    _folder(tmp_path)
    (tmp_path / "t.csv").write_text(
        "file,label,scan\n" + "\n".join(f"{label}/{i}.png,{label},{label}{i // 2}" for label in ("good", "bad") for i in range(10))
    )
    scans = find_scans(tmp_path).scans
    folds = folds_by_group(scans, folds=5, seed=3)
    assert sorted(s.path for _, test in folds for s in test) == sorted(s.path for s in scans)
    for train, test in folds:
        assert not {s.group for s in train} & {s.group for s in test}


def test_a_split_holds_both_labels_on_both_sides(tmp_path: Path) -> None:
    train, held_out = split_by_group(find_scans(_folder(tmp_path)).scans, held_out=0.2, seed=1)
    assert [len(train), len(held_out)] == [16, 4]
    assert {s.label for s in held_out} == {"good", "bad"}


def test_too_few_groups_for_the_folds_are_refused(tmp_path: Path) -> None:
    scans = find_scans(_folder(tmp_path, count=2)).scans
    with pytest.raises(DatasetError, match="5 folds"):
        folds_by_group(scans, folds=5, seed=1)


@pytest.mark.parametrize(("dtype", "kind"), [(np.uint8, "heightmap"), (np.uint16, "range"), (np.float32, "range")])
def test_images_keep_their_type(tmp_path: Path, dtype: type, kind: str) -> None:
    image = np.arange(12, dtype=dtype).reshape(3, 4)
    np.save(tmp_path / "a.npy", image)
    assert kind_of(read_image(tmp_path / "a.npy")) == kind
    cv2.imwrite(str(tmp_path / "a.tiff"), image)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tiff"), image)


@pytest.mark.parametrize("shape", [(3, 4, 3), (1, 12, 3)])
def test_a_cloud_is_read_from_npy_alone(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    cloud = np.full(shape, 7, np.float32)  # equal channels, yet no gray saved as colour
    np.save(tmp_path / "a.npy", cloud)
    read = read_image(tmp_path / "a.npy")
    np.testing.assert_array_equal(read, cloud)
    assert kind_of(read) == "cloud"
    cloud[0, 0, 0] = 8
    cv2.imwrite(str(tmp_path / "a.tiff"), cloud)
    with pytest.raises(DatasetError, match="not a height image"):
        read_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("stored", [np.zeros((3, 4, 2), np.float32), np.eye(3)[None], np.zeros((2, 3, 4, 3), np.float32)])
def test_other_arrays_are_no_clouds(tmp_path: Path, stored: Any) -> None:
    stored.flat[0] = 5
    np.save(tmp_path / "a.npy", stored)
    with pytest.raises(DatasetError, match="not a height image"):
        read_image(tmp_path / "a.npy")


def test_colour_and_pickles_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "c.png"), np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8))
    with pytest.raises(DatasetError, match="not a height image"):
        read_image(tmp_path / "c.png")
    np.save(tmp_path / "p.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(DatasetError, match="cannot read"):
        read_image(tmp_path / "p.npy")


def test_the_scale_is_read_and_checked(tmp_path: Path) -> None:
    _folder(tmp_path)
    (tmp_path / "scan.toml").write_text("pitch_mm = [0.2, 0.2]\nz_scale_mm = 0.005\n")
    assert find_scans(tmp_path).scale == Scale(pitch_mm=(0.2, 0.2), z_scale_mm=0.005)
    (tmp_path / "scan.toml").write_text("z_scale = 1\n")
    with pytest.raises(DatasetError, match="z_scale"):
        find_scans(tmp_path)


def test_scans_kept_aside_are_left_out_and_unknown_ones_refused(tmp_path: Path) -> None:
    folder = find_scans(_folder(tmp_path))
    (tmp_path / "aside.csv").write_text("file\ngood/3.png\nbad/0.png\n")
    left = folder.without(tmp_path / "aside.csv").scans
    assert {s.path.relative_to(tmp_path).as_posix() for s in set(folder.scans) - set(left)} == {"good/3.png", "bad/0.png"}
    (tmp_path / "aside.csv").write_text("file\ngood/99.png\n")
    with pytest.raises(DatasetError, match=r"good/99\.png"):
        folder.without(tmp_path / "aside.csv")


def test_more_than_half_may_be_held_out(tmp_path: Path) -> None:
    training, held_out = split_by_group(find_scans(_folder(tmp_path)).scans, held_out=0.8, seed=1)
    assert [len(training), len(held_out)] == [4, 16]


def test_a_table_saved_by_a_spreadsheet_with_a_mark_still_groups(tmp_path: Path) -> None:
    _folder(tmp_path)
    (tmp_path / "groups.csv").write_text("file,group\ngood/0.png,p\nbad/0.png,p\n", encoding="utf-8-sig")
    assert sum(scan.group == "p" for scan in find_scans(tmp_path).scans) == 2


def test_a_scan_whose_group_is_left_empty_is_a_group_of_its_own(tmp_path: Path) -> None:
    _folder(tmp_path)
    (tmp_path / "groups.csv").write_text("file,group\ngood/0.png,\ngood/1.png\n", encoding="utf-8")
    assert len({scan.group for scan in find_scans(tmp_path).scans}) == 20


@pytest.mark.parametrize("text", ["file;group\ngood/0.png;p\n", "name,weld\ngood/0.png,p\n"])
def test_groups_that_cannot_be_used_are_refused_and_not_passed_over(tmp_path: Path, text: str) -> None:
    _folder(tmp_path)
    (tmp_path / "groups.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"groups\.csv names no groups"):
        find_scans(tmp_path)
