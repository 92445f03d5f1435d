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
from edge.inspector.heightmap.plane import PlaneRemover, PlaneSamples, draws, least_squares, planes_through
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
    exact = (image - low) / (high - low) * 254
    expected = np.where(image == 0, 0, np.clip(1 + np.rint(exact), 1, 255))
    assert np.abs(out - expected).max() <= 1
    halves = np.abs(exact - np.floor(exact) - 0.5) < 1e-3
    assert (out == expected)[~halves].all(), "only an exact half may round differently in f32"


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
        (noise(), "video", Reason.FRAME_KIND),
        (noise(), "cloud", Reason.FRAME_DTYPE),
        (noise().astype(np.float32), "cloud", Reason.FRAME_SHAPE),
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


def slow_plane(z: NDArray[np.float32], spec: PlaneRemoval) -> tuple[float, float, float]:
    """Docs/heightmap.md, one number after the other."""
    rows, cols = z.shape
    down, across = -(-rows // 32), -(-cols // 32)
    grid = [(x, y) for y in range(down // 2, rows, down) for x in range(across // 2, cols, across)]
    points = np.array([(x, y, float(z[y, x])) for x, y in grid if not np.isnan(z[y, x])]).T
    best, most = (0.0, 0.0, 0.0), -1
    for a, b, c in planes_through(points, draws(spec.iterations)).tolist():
        votes = sum(abs(((a * x + b * y) + c) - height) <= spec.inlier_mm for x, y, height in points.T.tolist())
        best, most = ((a, b, c), votes) if votes > most else (best, most)
    for _ in range(2):
        places, heights = [0] * 6, [0] * 3
        for y, x in np.argwhere(~np.isnan(z)).tolist():
            r = z[y, x] - (np.float32(best[0] * x + best[2]) + np.float32(best[1] * y))
            if abs(r) <= np.float32(spec.inlier_mm):
                q = int(np.rint(r * np.float32(2**22 / spec.inlier_mm)))
                places = [total + part for total, part in zip(places, (1, x, y, x * x, x * y, y * y), strict=True)]
                heights = [total + part for total, part in zip(heights, (q, x * q, y * q), strict=True)]
        step = least_squares(tuple(places), tuple(heights), spec.inlier_mm / 2**22)
        best = best if step is None else (best[0] + step[0], best[1] + step[1], best[2] + step[2])
    return best


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(20, 30), (40, 13), (3, 70)]), st.floats(0, 0.8), st.floats(-2, 2))
def test_the_plane_is_the_documents_to_the_last_bit(seed: int, shape: tuple[int, int], missing: float, tilt: float) -> None:
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    z = (tilt * cols - 0.05 * rows + rng.normal(0, 0.2, shape) + 3 * (rng.random(shape) < 0.3)).astype(np.float32)
    z[rng.random(shape) < missing] = np.nan
    spec = PlaneRemoval(inlier_mm=0.3, iterations=12)
    a, b, c = slow_plane(z, spec)
    expected = z - ((a * cols[:1] + c).astype(np.float32) + (b * rows[:, :1]).astype(np.float32))
    remover = PlaneRemover(spec, shape)
    for _ in range(2):
        flat = z.copy()
        remover.remove(flat)
        np.testing.assert_array_equal(flat, expected)


def test_a_sample_exactly_at_the_limit_votes() -> None:
    """A fused multiply-add would move it over the limit half of the time."""
    rng = np.random.default_rng(8)
    for _ in range(60):
        points, candidates = rng.normal(0, 50, (3, 8)), rng.normal(0, 1, (4, 3))
        a, b, c = candidates[2].tolist()
        x, y, height = points[:, 5].tolist()
        exact = abs(((a * x + b * y) + c) - height)
        votes = [PlaneSamples(PlaneRemoval(inlier_mm=limit), (8, 8)).votes(candidates, points)[2] for limit in (exact, exact * (1 - 1e-15))]
        assert votes[0] == votes[1] + 1


def test_a_height_beyond_f32_near_the_plane_of_the_others_is_only_far_away() -> None:
    z, _ = sheet_with_bead()
    far = z.copy()
    far[3, 3] = 3e38
    remover = PlaneRemover(PlaneRemoval(inlier_mm=1e-4), z.shape)
    remover.remove(far)
    assert np.isfinite(far[np.isfinite(z)]).all()


@pytest.mark.parametrize("points", [[(0, 0), (1, 1), (2, 2), (5, 5)], [(4, 0), (4, 9), (4, 2)], [(1, 7), (3, 7)], []])
def test_points_in_a_line_fix_no_plane(points: list[tuple[int, int]]) -> None:
    places = [sum(values) for values in zip((0,) * 6, *((1, x, y, x * x, x * y, y * y) for x, y in points), strict=True)]
    assert least_squares(tuple(places), (9, 9, 9), 1.0) is None


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
    expected = np.where(weight >= 0.499, np.rint(total / np.maximum(weight, 0.499)), 0)
    assert (np.abs(weight - 0.499) > 1e-5).all(), "no pixel on the edge"
    assert (np.abs(inner - expected) <= 1).all()
    inner.fill(0)
    assert not out.any(), "zeros around the image"


@pytest.mark.parametrize(("shape", "size"), [((32, 48), (20, 30)), ((24, 36), (10, 15)), ((12, 18), (18, 27))])
def test_a_pixel_exactly_half_covered_is_data_however_the_halves_are_summed(shape: tuple[int, int], size: tuple[int, int]) -> None:
    rng, halves = np.random.default_rng(5), 0
    for _ in range(20):
        mask = np.repeat(rng.integers(0, 2, (1, shape[1])), shape[0], axis=0).astype(np.uint8)
        out = np.zeros(size, np.uint8)
        Letterbox(shape, *size).place(mask * np.uint8(200), out)
        weight = slow_area(mask.astype(float), size) if size < shape else cv2.resize(mask.astype(float), size[::-1])
        half = np.abs(weight - 0.5) < 1e-6
        halves += np.count_nonzero(half)
        assert (out[half] == 200).all()
    assert halves > 50


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
