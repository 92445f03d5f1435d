"""The reference implementation against slow, obvious ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.contract import Reason
from edge.errors import FrameError
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.letterbox import Letterbox
from edge.inspector.heightmap.outliers import OutlierFinder
from edge.inspector.heightmap.plane import PlaneRemover
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, OutlierFilter, PercentileWindow, PlaneRemoval

SHARED = Path(os.environ.get("CORDON_SHARED", Path(__file__).resolve().parents[3] / "shared"))
PERCENTILE = PercentileWindow()
MILLIMETRE = MillimetreWindow(low_mm=0.0, high_mm=10.0)


def prepare(image: NDArray[Any], kind: str, *, height: int | None = None, width: int | None = None, **spec: Any) -> NDArray[np.uint8]:
    scale = {key: spec.pop(key) for key in ("z_scale_mm", "z_offset_mm", "no_data") if key in spec}
    made = HeightmapSpec(height=height or image.shape[0], width=width or image.shape[1], **spec)
    out = np.full((made.height, made.width), 77, np.uint8)
    Preparer(made).prepare(image, kind=kind, out=out, **scale)
    return out


def noise(shape: tuple[int, int] = (16, 24), seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


# -- window


def test_a_millimetre_window_leaves_a_heightmap_as_it_is() -> None:
    image = noise()
    assert (prepare(image, "heightmap", window=MILLIMETRE) == image).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(2.0, 98.0), (0.0, 100.0), (10.0, 60.5)]), st.sampled_from([3, 40, 256]))
def test_the_percentiles_of_a_heightmap_are_those_numpy_gives(seed: int, window: tuple[float, float], grays: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.choice(rng.integers(0, 256, grays), (9, 13)).astype(np.uint8)
    valid = image[image > 0]
    low, high = np.percentile(valid, window) if len(valid) else (0, 0)
    if not high > low:
        return
    out = prepare(image, "heightmap", window=PercentileWindow(low=window[0], high=window[1]))
    expected = np.where(image == 0, 0, np.clip(1 + np.rint((image - low) / (high - low) * 254), 1, 255))
    assert np.abs(out - expected).max() <= 1, "only an exact half may round differently in f32"
    assert (out == expected).mean() > 0.9


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_percentiles_of_a_range_image_are_those_numpy_gives(dtype: type) -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(1, 60_000, (17, 23)).astype(dtype)
    image[rng.random(image.shape) < 0.3] = 0
    low, high = np.percentile(image[image > 0], (2, 98))
    out = prepare(image, "range", window=PERCENTILE, z_scale_mm=0.001, z_offset_mm=-5.0)
    expected = np.where(image == 0, 0, np.clip(1 + np.rint((image - low) / (high - low) * 254), 1, 255))
    assert np.abs(out - expected).max() <= 1


def test_heights_become_the_grays_of_a_millimetre_window() -> None:
    heights = np.array([[-1.0, 0.0, 5.0, 10.0, 11.0, 99.0] * 4] * 8, np.float32)
    out = prepare(heights, "range", window=MILLIMETRE, no_data=99.0)
    assert out[0, :6].tolist() == [1, 1, 128, 255, 255, 0]


def test_scale_and_offset_are_applied_before_the_window() -> None:
    values = np.array([[0, 1000, 2000, 3000] * 6] * 8, np.uint16)
    out = prepare(values, "range", window=MILLIMETRE, z_scale_mm=0.005, z_offset_mm=-5.0)
    assert out[0, :4].tolist() == [0, 1, 128, 255]


def test_the_image_handed_in_is_not_changed() -> None:
    image = noise().astype(np.uint16)
    before = image.copy()
    prepare(image, "range", window=PERCENTILE, outliers=OutlierFilter(), plane=PlaneRemoval())
    assert (image == before).all()


def test_a_preparer_gives_the_same_for_the_same_frame_whatever_came_between() -> None:
    preparer = Preparer(HeightmapSpec(window=PERCENTILE, outliers=OutlierFilter(limit_mm=50), plane=PlaneRemoval(), height=20, width=30))
    outs = []
    for shape, seed in (((16, 24), 1), ((40, 10), 2), ((16, 24), 3), ((16, 24), 1)):
        outs.append(out := np.zeros((20, 30), np.uint8))
        preparer.prepare(noise(shape, seed).astype(np.uint16), kind="range", out=out)
    assert (outs[0] == outs[3]).all()
    assert (outs[0] != outs[2]).any()


# -- refusals


@pytest.mark.parametrize(
    ("image", "kind", "reason"),
    [
        (np.zeros((16, 24), np.uint8), "heightmap", Reason.FRAME_EMPTY),
        (np.full((16, 24), 9, np.uint8), "heightmap", Reason.FRAME_EMPTY),
        (np.zeros((16, 24), np.uint16), "range", Reason.FRAME_EMPTY),
        (np.full((16, 24), 900, np.uint16), "range", Reason.FRAME_EMPTY),
        (np.full((16, 24), np.nan, np.float32), "range", Reason.FRAME_NONFINITE),
        (np.full((16, 24), 3e38, np.float32), "range", Reason.FRAME_NONFINITE),
        (noise().astype(np.float32), "heightmap", Reason.FRAME_DTYPE),
        (noise(), "range", Reason.FRAME_DTYPE),
        (noise().astype(np.float64), "range", Reason.FRAME_DTYPE),
        (noise(), "cloud", Reason.FRAME_KIND),
        (noise()[0], "heightmap", Reason.FRAME_SHAPE),
        (noise()[:0], "heightmap", Reason.FRAME_SHAPE),
    ],
)
@pytest.mark.parametrize("window", [PERCENTILE, MILLIMETRE])
def test_what_cannot_be_judged_is_refused_by_name(image: NDArray[Any], kind: str, reason: Reason, window: Any) -> None:
    with pytest.raises(FrameError) as caught:
        prepare(image, kind, height=16, width=24, window=window, z_scale_mm=10.0)
    assert caught.value.reason is reason


def test_a_frame_wholly_outside_the_window_is_refused() -> None:
    heights = np.linspace(20, 30, 384, dtype=np.float32).reshape(16, 24)
    with pytest.raises(FrameError) as caught:
        prepare(heights, "range", window=MILLIMETRE)
    assert caught.value.reason is Reason.FRAME_EMPTY


# -- outliers


def slow_outliers(z: NDArray[np.float32], spec: OutlierFilter) -> NDArray[np.bool_]:
    reach, found = spec.window // 2, np.zeros(z.shape, np.bool_)
    for row, col in np.argwhere(np.isfinite(z)):
        part = z[max(0, row - reach) : row + reach + 1, max(0, col - reach) : col + reach + 1]
        values = np.sort(part[np.isfinite(part)])
        found[row, col] = abs(z[row, col] - values[(len(values) - 1) // 2]) > spec.limit_mm
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 5]), st.floats(0, 0.9))
def test_outliers_are_those_far_from_the_sorted_median(seed: int, window: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 20, (9, 11)).astype(np.float32)
    z[rng.random(z.shape) < missing] = np.nan
    spec = OutlierFilter(window=window, limit_mm=4.5)
    finder = OutlierFinder(spec, z.shape)
    assert (finder.find(z) == slow_outliers(z, spec)).all()
    assert (finder.find(z) == slow_outliers(z, spec)).all(), "buffers are clean for the next frame"


def test_a_spike_becomes_no_data_and_its_neighbours_stay() -> None:
    heights = np.tile(np.linspace(1, 2, 24, dtype=np.float32), (16, 1))
    heights[8, 8] = 9.0
    out = prepare(heights, "range", window=MILLIMETRE, outliers=OutlierFilter(limit_mm=2.0))
    assert out[8, 8] == 0
    assert np.count_nonzero(out == 0) == 1


# -- plane


def sheet_with_bead(noise_mm: float = 0.05) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    rng = np.random.default_rng(1)
    rows, cols = np.mgrid[:64, :96]
    z = (0.03 * cols - 0.05 * rows + 7 + rng.normal(0, noise_mm, rows.shape)).astype(np.float32)
    bead = np.abs(rows - 32) < 8
    z[bead] += 4
    z[rng.random(z.shape) < 0.1] = np.nan
    return z, bead


def test_the_sheet_becomes_zero_and_the_bead_keeps_its_height() -> None:
    z, bead = sheet_with_bead()
    before = np.isnan(z)
    PlaneRemover(PlaneRemoval(inlier_mm=0.3), z.shape).remove(z)
    assert (np.isnan(z) == before).all(), "points on the sheet stay valid"
    assert abs(np.nanmedian(z[~bead])) < 0.01
    assert abs(np.nanmedian(z[bead]) - 4) < 0.02


def test_the_fit_is_the_least_squares_plane_of_its_inliers() -> None:
    z, _ = sheet_with_bead()
    flat = z.copy()
    PlaneRemover(PlaneRemoval(inlier_mm=0.5), z.shape).remove(flat)
    rows, cols = np.nonzero(np.abs(flat) <= 0.5)
    design = np.stack([cols, rows, np.ones(len(rows))], axis=1).astype(float)
    a, b, c = np.linalg.lstsq(design, z[rows, cols].astype(float), rcond=None)[0]
    ys, xs = np.mgrid[:64, :96]
    assert np.nanmax(np.abs(flat - (z - (a * xs + b * ys + c)))) < 1e-3


@pytest.mark.parametrize("valid", [0, 1, 2])
def test_too_few_points_for_a_plane_are_refused(valid: int) -> None:
    z = np.full((32, 32), np.nan, np.float32)
    z[0, :valid] = 1.0
    with pytest.raises(FrameError) as caught:
        PlaneRemover(PlaneRemoval(), z.shape).remove(z)
    assert caught.value.reason is Reason.FRAME_EMPTY


# -- letterbox


def slow_area(values: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    def weights(many: int, few: int) -> NDArray[np.float64]:
        step, table = many / few, np.zeros((few, many))
        for out in range(few):
            for source in range(many):
                table[out, source] = max(0.0, min((out + 1) * step, source + 1) - max(out * step, source)) / step
        return table

    return weights(values.shape[0], size[0]) @ values @ weights(values.shape[1], size[1]).T


@pytest.mark.parametrize("size", [(10, 15), (7, 11), (8, 8), (16, 23)])
def test_shrinking_averages_the_valid_part_of_each_area(size: tuple[int, int]) -> None:
    image = noise((20, 30), seed=4)
    image[5:9, :] = 0
    box = Letterbox(image.shape, *size)
    out = np.full(size, 77, np.uint8)
    box.place(image, out)
    inner = out[box.inside]
    total, weight = slow_area(image.astype(float), inner.shape), slow_area((image > 0).astype(float), inner.shape)
    expected = np.where(weight >= 0.5, np.rint(total / np.maximum(weight, 0.5)), 0)
    doubtful = np.abs(weight - 0.5) < 1e-5
    assert (np.abs(inner - expected) <= 1)[~doubtful].all()
    inner.fill(0)
    assert not out.any(), "zeros around the image"


def test_no_data_does_not_darken_its_neighbours() -> None:
    image = np.full((32, 48), 200, np.uint8)
    image[:, 20:27] = 0
    image[0, 0] = 201
    for size in ((16, 24), (24, 36), (64, 96), (70, 96)):
        out = np.zeros(size, np.uint8)
        Letterbox(image.shape, *size).place(image, out)
        assert set(np.unique(out)) <= {0, 200, 201}
        assert (out == 0).any()


def test_the_aspect_is_kept_and_the_image_centred() -> None:
    box = Letterbox((100, 100), 128, 352)
    assert box.inside == (slice(0, 128), slice(112, 240))
    assert Letterbox((128, 352), 128, 352).identity


def test_a_smaller_image_that_fits_one_side_is_copied_not_scaled() -> None:
    image = noise((128, 100))
    out = np.full((128, 352), 77, np.uint8)
    Letterbox((128, 100), 128, 352).place(image, out)
    assert (out[:, 126:226] == image).all()
    assert not out[:, :126].any()
    assert not out[:, 226:].any()


# -- real scans


@pytest.mark.skipif(not (SHARED / "data" / "sick").is_dir(), reason="the shared scans are not here")
@pytest.mark.parametrize("name", ["tube_16bit.png", "groove_16bit.png"])
def test_real_range_scans_become_heightmaps_with_shadows_kept(name: str) -> None:
    image = cv2.imread(str(SHARED / "data" / "sick" / name), cv2.IMREAD_UNCHANGED)
    spec = {"window": PERCENTILE, "outliers": OutlierFilter(limit_mm=1.0), "plane": PlaneRemoval(inlier_mm=0.3)}
    out = prepare(image, "range", height=128, width=352, z_scale_mm=0.004545, **spec)
    box = Letterbox(image.shape, 128, 352)
    missing = np.mean(out[box.inside] == 0)
    assert abs(missing - np.mean(image == 0)) < 0.05
    assert out.max() == 255


@pytest.mark.skipif(not (SHARED / "data" / "battery_weld").is_dir(), reason="the shared scans are not here")
def test_real_heightmaps_are_stretched_to_their_own_percentiles() -> None:
    files = sorted((SHARED / "data" / "battery_weld" / "tiles").rglob("*.png"))[::40]
    assert files
    for file in files:
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        low, high = np.percentile(image[image > 0], (2, 98))
        expected = np.where(image == 0, 0, np.clip(1 + np.rint((image - low) / (high - low) * 254), 1, 255))
        assert np.abs(prepare(image, "heightmap", window=PERCENTILE) - expected).max() <= 1
