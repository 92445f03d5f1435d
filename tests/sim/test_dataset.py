"""Data sets and line-ups on disk: what training, calibration, camera and robot read."""

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.config import NAME
from edge.errors import SimulationError
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.spec import HeightmapSpec
from scans.folder import find_scans, kind_of, read_image
from scans.split import folds_by_group
from sim.dataset import main, write_dataset, write_line_up
from sim.shots import CaptureRequest, WeldTable
from sim.welds import TYPOLOGIES, cloud_spec, defects_of, make_weld, spec_of, to_heightmap


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_data_set_is_a_labelled_folder_with_spec_scale_and_groups(tmp_path: Path) -> None:
    write_dataset(tmp_path, "T10", good=20, bad=28, seed=3)
    folder = find_scans(tmp_path)
    assert (len(folder.labelled("good")), len(folder.labelled("bad"))) == (20, 28)
    assert folder.spec == spec_of("T10")
    assert folder.scale.pitch_mm == (0.2, 0.2)
    assert len({scan.group for scan in folder.scans}) == 12
    assert len(folds_by_group(folder.scans, folds=3, seed=1)) == 3


def test_every_kind_of_defect_is_in_a_data_set_and_in_the_file_name(tmp_path: Path) -> None:
    write_dataset(tmp_path, "T9", good=20, bad=28, seed=3)
    rows = rows_of(tmp_path / "groups.csv")
    assert {row["defect"] for row in rows} == set(defects_of("T9"))
    for row in rows:
        assert (tmp_path / row["file"]).is_file()
        assert row["file"].startswith(f"{row['label']}/T9_{row['defect']}_")


def test_a_part_has_good_and_bad_welds(tmp_path: Path) -> None:
    write_dataset(tmp_path, "T9", good=16, bad=16, seed=3)
    labels: dict[str, set[str]] = {}
    for row in rows_of(tmp_path / "groups.csv"):
        labels.setdefault(row["group"], set()).add(row["label"])
    assert sum(len(both) == 2 for both in labels.values()) > 4


def test_a_file_holds_the_weld_that_its_name_says(tmp_path: Path) -> None:
    write_dataset(tmp_path, "T3", good=2, bad=0, seed=3)
    path = next((tmp_path / "good").glob("*.png"))
    typology, *defect, seed = path.stem.split("_")
    assert np.array_equal(read_image(path), to_heightmap(make_weld(typology, "_".join(defect), int(seed))))


def heightmaps_of(folder: Path, spec: HeightmapSpec | None = None) -> list[NDArray[np.uint8]]:
    """What the box makes of every scan, by the folder's own spec (or `spec`) and scale."""
    found = find_scans(folder)
    assert found.spec is not None
    preparer, scale, outs = Preparer(spec or found.spec), found.scale, []
    for scan in found.scans:
        image = read_image(scan.path)
        outs.append(out := np.empty((128, 352), np.uint8))
        preparer.prepare(
            image, kind=kind_of(image), z_scale_mm=scale.z_scale_mm, z_offset_mm=scale.z_offset_mm, no_data=scale.no_data, out=out
        )
    return outs


def test_clouds_give_the_same_heightmaps_and_in_no_order_only_narrow_gaps_differ(tmp_path: Path) -> None:
    for kind in ("heightmap", "cloud", "unorganised"):
        write_dataset(tmp_path / kind, "T4", good=2, bad=2, seed=3, kind=kind)
    direct = [read_image(scan.path) for scan in find_scans(tmp_path / "heightmap").scans]
    assert np.array_equal(heightmaps_of(tmp_path / "cloud"), direct)
    fallen = heightmaps_of(tmp_path / "unorganised")
    assert np.array_equal(fallen, heightmaps_of(tmp_path / "cloud", cloud_spec("T4")))
    assert all((out == expected)[expected > 0].all() for out, expected in zip(fallen, direct, strict=True))
    clouds = [read_image(scan.path) for scan in find_scans(tmp_path / "unorganised").scans]
    assert {cloud.shape[0] for cloud in clouds} == {1}
    assert len({cloud.shape[1] for cloud in clouds}) > 1, "missing points are left out"


def test_a_line_up_of_clouds_is_read_by_the_camera(tmp_path: Path) -> None:
    table = write_line_up(tmp_path, ["T4", "T5"], welds=2, seed=3, kind="unorganised")
    request = CaptureRequest(session="0" * 16, sequence=1, part="P00001", weld="W2")
    shot = WeldTable(table).shot(request, name_typology=True)
    assert (shot.image.ndim, shot.image.shape[0], shot.typology) == (3, 1, "T5")
    assert np.isnan(shot.scale.no_data)
    with pytest.raises(SimulationError, match="already holds"):
        write_line_up(tmp_path, ["T4"], welds=2, seed=3)


def test_range_images_with_their_scale_give_the_same_heightmaps(tmp_path: Path) -> None:
    write_dataset(tmp_path / "gray", "T4", good=2, bad=2, seed=3)
    write_dataset(tmp_path / "range", "T4", good=2, bad=2, seed=3, kind="range")
    gray, metric = find_scans(tmp_path / "gray"), find_scans(tmp_path / "range")
    preparer, out, scale = Preparer(spec_of("T4")), np.empty((128, 352), np.uint8), metric.scale
    for scan, other in zip(gray.scans, metric.scans, strict=True):
        image = read_image(other.path)
        assert image.dtype == np.uint16
        preparer.prepare(image, kind="range", z_scale_mm=scale.z_scale_mm, z_offset_mm=scale.z_offset_mm, no_data=scale.no_data, out=out)
        assert np.abs(out.astype(int) - read_image(scan.path)).max() <= 1


def test_the_scale_of_gray_heightmaps_gives_back_millimetres(tmp_path: Path) -> None:
    write_dataset(tmp_path, "T4", good=1, bad=1, seed=3)
    scale = find_scans(tmp_path).scale
    weld = make_weld("T4", "none", 1)
    error = to_heightmap(weld) * scale.z_scale_mm + scale.z_offset_mm - weld.height_mm
    assert np.nanmax(np.abs(error)) < scale.z_scale_mm


def test_data_sets_of_other_seeds_share_no_weld(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_dataset(tmp_path / str(seed), "T3", good=4, bad=4, seed=seed)
    first, second = ({int(path.stem.split("_")[-1]) for path in (tmp_path / str(seed)).rglob("*.png")} for seed in (1, 2))
    assert len(first) == len(second) == 8
    assert not first & second


def test_a_line_up_names_every_weld_once_with_its_truth_and_an_existing_file(tmp_path: Path) -> None:
    table = write_line_up(tmp_path, list(TYPOLOGIES), welds=40, seed=5)
    rows = rows_of(table)
    assert list(rows[0]) == ["part", "weld", "typology", "truth", "defect", "file"]
    assert len({(row["part"], row["weld"]) for row in rows}) == len(rows) == 40
    assert [row["typology"] for row in rows[:9]] == list(TYPOLOGIES)
    assert {row["part"] for row in rows[:9]} == {"P00001"}
    assert {row["truth"] for row in rows} == {"good", "bad"}
    assert all(NAME.match(row["part"]) and NAME.match(row["weld"]) for row in rows)
    assert all(Path(row["file"]).is_absolute() and Path(row["file"]).is_file() for row in rows)


def test_a_weld_position_has_the_same_typology_on_every_part(tmp_path: Path) -> None:
    rows = rows_of(write_line_up(tmp_path, list(TYPOLOGIES), welds=27, seed=5))
    assert len({(row["weld"], row["typology"]) for row in rows}) == 9


def test_the_command_writes_every_typology_and_the_line_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--good", "1", "--bad", "1", "--line-up", "9", "--kind", "range"]) == 0
    assert {path.parent.name for path in tmp_path.glob("*/groups.csv")} == set(TYPOLOGIES)
    assert len(rows_of(tmp_path / "welds.csv")) == 9
    assert (tmp_path / "line" / "scan.toml").is_file()
    assert "T11 range: 2 welds" in capsys.readouterr().err


def test_one_typology_is_written_into_the_folder_itself_and_a_line_up_alone_writes_no_data_set(tmp_path: Path) -> None:
    main([str(tmp_path / "one"), "--typology", "T7", "--good", "1", "--bad", "1"])
    main([str(tmp_path / "line"), "--line-up", "2"])
    assert (tmp_path / "one" / "heightmap.json").is_file()
    assert {path.name for path in (tmp_path / "line").iterdir()} == {"line", "welds.csv"}


def test_scans_are_never_mixed_with_older_ones(tmp_path: Path) -> None:
    write_dataset(tmp_path, "T3", good=1, bad=1, seed=3)
    with pytest.raises(SimulationError, match="already holds scans"):
        write_dataset(tmp_path, "T4", good=1, bad=1, seed=3)


@pytest.mark.parametrize(("good", "bad", "seed"), [(-1, 3, 1), (0, 0, 1), (100_000, 1, 1), (1, 1, -4)])
def test_impossible_counts_and_seeds_are_refused(tmp_path: Path, good: int, bad: int, seed: int) -> None:
    with pytest.raises(SimulationError, match=r"Ask for|Give 0"):
        write_dataset(tmp_path, "T3", good=good, bad=bad, seed=seed)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SimulationError, match="cannot make the folder"):
        write_dataset(tmp_path / "file", "T3", good=1, bad=1, seed=1)
