"""Simulated welds: the same seed gives the same scan, labels follow the limits, and every scan is one a camera could send."""

import numpy as np
import pytest

from edge.config import NAME
from edge.errors import SimulationError
from edge.inspector.heightmap.cpu import Preparer
from sim.welds import (
    ACCEPTABLE,
    NO_DATA,
    PITCH_MM,
    REJECTABLE,
    TYPOLOGIES,
    Weld,
    defects_of,
    draw_weld,
    make_weld,
    spec_of,
    to_heightmap,
    to_range,
)

EVERY = [(typology, defect) for typology in TYPOLOGIES for defect in defects_of(typology)]
NO_DATA_SHARE = {
    "T2": (0.3, 0.55),
    "T3": (0.75, 0.95),
    "T4": (0.0, 0.1),
    "T5": (0.15, 0.5),
    "T7": (0.7, 0.92),
    "T8": (0.55, 0.85),
    "T9": (0.3, 0.6),
    "T10": (0.88, 0.97),
    "T11": (0.65, 0.9),
}


def seen_length_mm(weld: Weld) -> float:
    columns = np.flatnonzero((~np.isnan(weld.height_mm)).sum(axis=0) >= 4)
    return (columns[-1] - columns[0] + 1) * PITCH_MM if len(columns) else 0.0


def longest_gap_mm(weld: Weld) -> float:
    changed = (weld.mask & np.isnan(weld.height_mm)).sum(axis=0) > 0.6 * weld.mask.sum(axis=0).max()
    ends = np.flatnonzero(np.diff(np.concatenate(([0], changed.astype(np.int8), [0]))))
    return float(max(ends[1::2] - ends[::2])) * PITCH_MM


@pytest.mark.parametrize(("typology", "defect"), EVERY)
def test_every_defect_of_every_typology_is_a_scan_a_camera_could_send(typology: str, defect: str) -> None:
    weld = make_weld(typology, defect, 11)
    image = to_heightmap(weld)
    assert weld.height_mm.shape == weld.mask.shape == image.shape == (128, 352)
    assert [layer.dtype.name for layer in (weld.height_mm, weld.mask, image)] == ["float32", "bool", "uint8"]
    heights = weld.height_mm[~np.isnan(weld.height_mm)]
    assert len(heights) > 500
    assert np.isfinite(heights).all()
    assert heights.min() > -2.5
    assert heights.max() < 9.0
    assert np.array_equal(image == 0, np.isnan(weld.height_mm))
    assert len(np.unique(image)) > 5


@pytest.mark.parametrize(("typology", "defect"), EVERY)
def test_a_defect_changes_what_the_camera_sees(typology: str, defect: str) -> None:
    weld = make_weld(typology, defect, 4)
    area = weld.mask.sum()
    assert (area == 0) == (defect in ("none", "brightness"))
    if defect in REJECTABLE:
        assert area > 60


def test_equal_arguments_give_equal_pixels_and_other_seeds_others() -> None:
    first, again, other = (make_weld("T8", "ball", seed) for seed in (7, 7, 8))
    assert np.array_equal(first.height_mm, again.height_mm, equal_nan=True)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.height_mm, other.height_mm, equal_nan=True)


def test_the_label_says_whether_the_defect_is_acceptable() -> None:
    assert {make_weld("T3", defect, 1).label for defect in ACCEPTABLE} == {"good"}
    assert {make_weld("T3", defect, 1).label for defect in REJECTABLE} == {"bad"}


@pytest.mark.parametrize("typology", TYPOLOGIES)
def test_acceptable_gaps_stay_clear_of_the_limit_and_rejectable_ones_exceed_it(typology: str) -> None:
    limit = TYPOLOGIES[typology].cut_limit_mm
    short = [longest_gap_mm(make_weld(typology, "short_cut", seed)) for seed in range(12)]
    long = [longest_gap_mm(make_weld(typology, "cut", seed)) for seed in range(12)]
    assert max(short) < 0.75 * limit
    assert min(long) > 1.15 * limit


def test_isolated_beads_of_t10_t3_and_t11_never_have_the_same_length() -> None:
    lengths = {name: [seen_length_mm(make_weld(name, "none", seed)) for seed in range(40)] for name in ("T10", "T3", "T11")}
    assert max(lengths["T10"]) + 5 < min(lengths["T3"])
    assert max(lengths["T3"]) + 5 < min(lengths["T11"])


@pytest.mark.parametrize("typology", TYPOLOGIES)
def test_the_share_of_no_data_is_the_typologys(typology: str) -> None:
    low, high = NO_DATA_SHARE[typology]
    shares = [float(np.isnan(make_weld(typology, "none", seed).height_mm).mean()) for seed in range(8)]
    assert low < min(shares)
    assert max(shares) < high


def test_the_dropout_variation_loses_about_two_percent_of_the_weld() -> None:
    share = make_weld("T3", "dropout", 2).mask.sum() / (~np.isnan(make_weld("T3", "none", 2).height_mm)).sum()
    assert 0.01 < share < 0.04


@pytest.mark.parametrize("typology", TYPOLOGIES)
def test_the_range_image_prepared_by_the_box_gives_the_heightmap_within_one_gray(typology: str) -> None:
    for defect in ("none", "excess", "cut", "solid"):
        weld = make_weld(typology, defect, 5)
        image, scale, offset = to_range(weld)
        assert image.dtype == np.uint16
        out = np.empty((128, 352), np.uint8)
        Preparer(spec_of(typology)).prepare(image, kind="range", z_scale_mm=scale, z_offset_mm=offset, no_data=NO_DATA, out=out)
        direct = to_heightmap(weld)
        assert np.array_equal(out == 0, direct == 0)
        assert np.abs(out.astype(int) - direct).max() <= 1


def test_brightness_shifts_the_whole_heightmap_and_is_no_defect() -> None:
    means = [np.nanmean(make_weld("T4", "brightness", seed).height_mm) for seed in range(12)]
    assert np.std(means) > 0.05


def test_t7_comes_with_the_outer_sheet_oblique_and_level() -> None:
    assert {make_weld("T7", "none", seed).subtype for seed in range(12)} == {"a", "b"}


def test_draw_weld_follows_the_bad_fraction_and_meets_every_kind() -> None:
    assert {draw_weld("T10", seed, 0.0).label for seed in range(10)} == {"good"}
    assert {draw_weld("T10", seed, 1.0).label for seed in range(10)} == {"bad"}
    assert {draw_weld("T10", seed).defect for seed in range(120)} == {*ACCEPTABLE, *REJECTABLE}


def test_names_fit_the_line() -> None:
    assert list(TYPOLOGIES) == ["T2", "T3", "T4", "T5", "T7", "T8", "T9", "T10", "T11"]
    assert all(NAME.match(name) and name == typology.name for name, typology in TYPOLOGIES.items())


@pytest.mark.parametrize(
    ("typology", "defect", "seed", "said"), [("T6", "none", 1, "T6"), ("T3", "rust", 1, "rust"), ("T3", "none", -1, "-1")]
)
def test_unknown_names_and_negative_seeds_are_refused_with_what_was_seen(typology: str, defect: str, seed: int, said: str) -> None:
    with pytest.raises(SimulationError, match=said):
        make_weld(typology, defect, seed)
