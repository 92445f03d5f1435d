"""The bead finder against the simulator's truth, which it never sees."""

import numpy as np
import pytest
from defects_kit import PITCH, height_of, truth_of, weld_of

from edge.errors import DatasetError
from sim.typologies import TYPOLOGIES
from sim.welds import make_weld
from train.defects.find import Hint, find_weld

GOOD = ("none", "short_cut", "dropout", "brightness")


@pytest.mark.parametrize("typology", list(TYPOLOGIES))
@pytest.mark.parametrize("defect", GOOD)
def test_centre_line_width_and_ends_are_the_simulators(typology: str, defect: str) -> None:
    found, true = weld_of(typology, defect, seed=2).bead, truth_of(typology, defect, 2)
    x = (np.arange(352) + 0.5) * PITCH[0]
    inside = (x > true.start + true.width) & (x < true.end - true.width)
    miss = np.abs(found.centre + PITCH[1] / 2 - true.centre[0])[inside] / PITCH[1]
    assert np.median(miss) < 1.5
    assert np.percentile(miss, 90) < 3.0
    assert abs(found.half_width - true.width) / PITCH[1] < 3.5
    assert abs(found.start - true.start) < 1.0
    assert abs(found.end - true.end) < 1.0


def test_the_sensors_line_of_sight_is_read_off_the_shadow() -> None:
    slopes = [weld_of("T5", "none", seed).sight for seed in range(3)]
    assert all(sight is not None and sight.origin == "north" for sight in slopes)
    assert np.mean([sight.slope for sight in slopes if sight]) == pytest.approx(TYPOLOGIES["T5"].sight_slope, abs=0.05)
    assert weld_of("T4").sight is None


@pytest.mark.parametrize("typology", ["T2", "T3", "T4", "T8"])
def test_noise_is_estimated_within_half_of_what_the_sensor_adds(typology: str) -> None:
    scan = make_weld(typology, "none", 1)
    on_bead, on_sheet = weld_of(typology).noise
    crown = float(np.nanmean(scan.height_mm[weld_of(typology).bead.footprint]))
    assert on_bead == pytest.approx(0.014 + 0.007 * crown, rel=0.5)
    assert 0.01 < on_sheet < 0.04


def test_a_seam_along_the_rows_is_found_as_well() -> None:
    upright = find_weld(np.ascontiguousarray(height_of("T4", "none", 1).T), PITCH)
    assert upright.transposed
    assert np.array_equal(upright.height, height_of("T4", "none", 1), equal_nan=True)
    assert upright.bead.half_width == pytest.approx(weld_of("T4").bead.half_width, abs=0.1)


@pytest.mark.parametrize("defect", ["bare_sheet", "solid"])
@pytest.mark.parametrize("typology", ["T2", "T3", "T4", "T5"])
def test_a_scan_without_a_bead_is_refused(typology: str, defect: str) -> None:
    with pytest.raises(DatasetError, match="no bead found"):
        find_weld(height_of(typology, defect, 3), PITCH)


@pytest.mark.parametrize("height", [np.full((64, 96), np.nan), np.zeros((64, 96)), np.full((2, 3), 1.0)])
def test_empty_flat_and_tiny_scans_are_refused(height: np.ndarray) -> None:
    with pytest.raises(DatasetError, match="no bead found"):
        find_weld(height.astype(np.float32), PITCH)


def test_a_region_shuts_out_what_is_not_the_weld() -> None:
    height = height_of("T10", "none", 1).copy()
    bead = weld_of("T10", "none", 1).bead
    height[100:124, 20:332] = np.nanmax(height)
    beside = find_weld(height, PITCH, Hint(region_mm=(0.0, 0.0, 70.4, 19.0)))
    assert beside.bead.start == pytest.approx(bead.start, abs=0.5)
    assert beside.bead.centre == pytest.approx(bead.centre, abs=0.3)


def test_finding_twice_gives_the_same() -> None:
    one, two = (find_weld(height_of("T2", "none", 1), PITCH) for _ in range(2))
    assert np.array_equal(one.ground, two.ground)
    assert np.array_equal(one.bead.centre, two.bead.centre)
