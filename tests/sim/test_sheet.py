"""The contact sheet: one tile per weld, and a border that tells escapes from overkills."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edge.errors import SimulationError
from sim.sheet import BORDER, GAP, LEGEND, MAX_WIDTH, Tile, contact_sheet
from sim.welds import make_weld, to_heightmap


def tile(truth: str, verdict: str | None) -> Tile:
    return Tile(image=np.full((128, 352), 90, np.uint8), typology="T3", truth=truth, defect="cut", verdict=verdict, score=0.5)


def read(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path))
    assert image is not None
    return np.asarray(image, dtype=np.uint8)


def border_of(path: Path) -> tuple[int, ...]:
    return tuple(int(value) for value in read(path)[LEGEND + BORDER // 2, GAP + 20])


def test_accepting_and_rejecting_good_and_bad_welds_give_four_borders(tmp_path: Path) -> None:
    borders = {}
    for truth in ("good", "bad"):
        for verdict in ("ACCEPT", "REJECT DEFECT"):
            contact_sheet([tile(truth, verdict)], tmp_path / "sheet.png")
            borders[truth, verdict] = border_of(tmp_path / "sheet.png")
    assert len(set(borders.values())) == 4
    blue, green, red = borders["bad", "ACCEPT"]
    assert red > 2 * max(blue, green)
    blue, green, red = borders["good", "ACCEPT"]
    assert green > max(blue, red)


@pytest.mark.parametrize(("truth", "verdict"), [("", "ACCEPT"), ("bad", None), ("good", "")])
def test_without_truth_or_verdict_a_tile_claims_nothing(truth: str, verdict: str | None) -> None:
    assert tile(truth, verdict).state == "no truth or no verdict"


def test_no_verdict_on_a_good_weld_counts_as_overkill() -> None:
    assert tile("good", "NO_VERDICT").state.startswith("OVERKILL")


def test_the_sheet_shows_the_heightmap_unscaled_and_a_caption_below(tmp_path: Path) -> None:
    image = to_heightmap(make_weld("T5", "ball", 3))
    contact_sheet([Tile(image=image, typology="T5", truth="bad", defect="ball", verdict="REJECT")], tmp_path / "sheet.png")
    sheet = read(tmp_path / "sheet.png")
    top, left = LEGEND + BORDER, GAP + BORDER
    assert np.array_equal(sheet[top : top + 128, left : left + 352, 0], image)
    assert sheet[top + 128 + BORDER :, left:].max() > 150


@pytest.mark.parametrize(("count", "columns"), [(1, 6), (7, 6), (30, 12), (3, 40)])
def test_a_sheet_is_never_wider_than_a_screen_can_show(tmp_path: Path, count: int, columns: int) -> None:
    contact_sheet([tile("good", "ACCEPT")] * count, tmp_path / "sheet.png", columns=columns)
    assert read(tmp_path / "sheet.png").shape[1] <= MAX_WIDTH


def test_images_of_any_size_are_fitted(tmp_path: Path) -> None:
    odd = [Tile(image=np.full(shape, 200, np.uint8), typology="own") for shape in ((1024, 500), (9, 400), (64, 64))]
    contact_sheet(odd, tmp_path / "sheet.png")
    assert np.equal(read(tmp_path / "sheet.png"), 200).all(axis=2).sum() > 128 * 62


def test_a_sheet_without_tiles_or_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="needs tiles"):
        contact_sheet([], tmp_path / "sheet.png")
    with pytest.raises(SimulationError, match="cannot write"):
        contact_sheet([tile("good", "ACCEPT")], tmp_path / "none" / "sheet.png")
