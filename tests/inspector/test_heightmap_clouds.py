"""Point clouds against a slow, obvious reading of docs/heightmap.md: missing points, the grid, and the gaps in it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.contract import Reason
from edge.errors import ConfigError, FrameError
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.heights import Scaler
from edge.inspector.heightmap.rasterise import CloudReader, GapFiller
from edge.inspector.heightmap.spec import (
    HeightmapSpec,
    MillimetreWindow,
    OutlierFilter,
    PercentileWindow,
    PlaneRemoval,
    Rasterise,
    spec_from_json,
    spec_to_json,
)

Cloud = NDArray[np.float32]
WINDOW = MillimetreWindow(low_mm=0.0, high_mm=10.0)
GRID = Rasterise(x_mm=(-2.0, 3.9), y_mm=(1.0, 4.1), pitch_mm=(0.3, 0.2), max_gap=2)


def prepare(cloud: Cloud, *, no_data: float = math.nan, height: int = 16, width: int = 20, **spec: Any) -> NDArray[np.uint8]:
    made = HeightmapSpec(**({"window": WINDOW, "height": height, "width": width} | spec))
    out = np.full((height, width), 77, np.uint8)
    Preparer(made).prepare(cloud, kind="cloud", no_data=no_data, out=out)
    return out


def read(cloud: Cloud, rasterise: Rasterise | None, *, scale: float = 1.0, offset: float = 0.0, no_data: float = math.nan) -> Cloud:
    reader = CloudReader(rasterise, cloud.shape[:2])
    z = np.full(reader.shape, 77, np.float32)
    reader.read(cloud, Scaler(np.float32(scale), np.float32(offset), no_data), z)
    return z


def organised(shape: tuple[int, int] = (16, 20), seed: int = 0) -> Cloud:
    """Points on the centres of GRID's cells, row by row, heights 1 to 9 mm, some of them missing."""
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    cloud = np.stack([-2 + 0.3 * cols, 1 + 0.2 * rows, rng.uniform(1, 9, shape)], axis=2).astype(np.float32)
    cloud[rng.random(shape) < 0.1] = np.nan
    return cloud


def shuffled(cloud: Cloud, seed: int = 1) -> Cloud:
    return np.random.default_rng(seed).permutation(cloud.reshape(-1, 3))[None]


# -- organised


def test_an_organised_cloud_is_judged_by_its_heights_as_they_lie() -> None:
    cloud = organised()
    steps = {"outliers": OutlierFilter(limit_mm=4.0), "plane": PlaneRemoval(inlier_mm=3.0), "window": PercentileWindow()}
    expected = np.zeros((16, 20), np.uint8)
    Preparer(HeightmapSpec(height=16, width=20, **steps)).prepare(cloud[..., 2].copy(), kind="range", no_data=math.nan, out=expected)
    assert (prepare(cloud, **steps) == expected).all()


@pytest.mark.parametrize("no_data", [0.0, -99.0, math.nan])
def test_points_are_missing_when_their_height_says_so_wherever_they_lie(no_data: float) -> None:
    cloud = np.nan_to_num(organised(), nan=1.0)
    cloud[3, 4] = (math.nan, math.inf, no_data)
    z = read(cloud, None, scale=0.5, offset=1.0, no_data=no_data)
    assert np.isnan(z[3, 4])
    assert np.count_nonzero(np.isnan(z)) == 1
    cloud[3, 4] = 0
    np.testing.assert_array_equal(z[0], cloud[0, :, 2] * np.float32(0.5) + np.float32(1))


@pytest.mark.parametrize("rasterise", [None, GRID])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_coordinate_that_is_not_finite_refuses_the_cloud(rasterise: Rasterise | None, axis: int, value: float) -> None:
    cloud = np.nan_to_num(organised(), nan=1.0)
    cloud[3, 4, axis] = value
    with pytest.raises(FrameError, match="1 points") as caught:
        prepare(cloud, no_data=0.0, rasterise=rasterise)
    assert caught.value.reason is Reason.FRAME_NONFINITE


def test_a_height_beyond_f32_refuses_the_cloud() -> None:
    cloud = np.nan_to_num(organised(), nan=1.0)
    cloud[0, 0, 2] = 3e38
    with pytest.raises(FrameError) as caught:
        read(cloud, GRID, scale=10.0)
    assert caught.value.reason is Reason.FRAME_NONFINITE


def test_an_unorganised_cloud_without_a_grid_is_refused() -> None:
    with pytest.raises(FrameError, match="rasterise") as caught:
        prepare(shuffled(organised()))
    assert caught.value.reason is Reason.FRAME_KIND


# -- the grid


def slow_grid(points: Cloud, grid: Rasterise) -> dict[tuple[int, int], np.float32]:
    """The greatest height per cell, one point after the other."""
    rows, cols = grid.shape
    cells: dict[tuple[int, int], np.float32] = {}
    for x, y, z in points.reshape(-1, 3):
        if np.isnan(z):
            continue
        col = np.floor((x - np.float32(grid.x_mm[0])) * np.float32(1 / grid.pitch_mm[0]) + np.float32(0.5))
        row = np.floor((y - np.float32(grid.y_mm[0])) * np.float32(1 / grid.pitch_mm[1]) + np.float32(0.5))
        if 0 <= col < cols and 0 <= row < rows:
            cells[int(row), int(col)] = max(z, cells.get((int(row), int(col)), z))
    return cells


def slow_line(line: Cloud, max_gap: int) -> Cloud:
    """One line with its narrow gaps filled; NaN is empty."""
    out = line.copy()
    for cell in np.flatnonzero(np.isnan(line)):
        before, after = np.flatnonzero(~np.isnan(line[:cell])), np.flatnonzero(~np.isnan(line[cell:]))
        if len(before) and len(after):
            left, right = cell - before[-1], after[0]
            if left + right - 1 <= max_gap:
                low, high = line[before[-1]], line[cell + right]
                out[cell] = low + (high - low) * (np.float32(left) / np.float32(left + right))
    return out


def slow_rasterise(points: Cloud, grid: Rasterise) -> Cloud:
    z = np.full(grid.shape, np.nan, np.float32)
    for (row, col), height in slow_grid(points, grid).items():
        z[row, col] = height
    z = np.stack([slow_line(line, grid.max_gap) for line in z])
    return np.stack([slow_line(line, grid.max_gap) for line in z.T]).T


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 900), st.sampled_from([0, 1, 2, 5, 64]), st.booleans())
def test_any_cloud_falls_into_the_grid_as_the_document_says(seed: int, count: int, max_gap: int, on_edges: bool) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform((-3, 0, -5), (5, 5, 5), (count + 1, 3)).astype(np.float32)
    if on_edges:  # multiples of half a pitch: halves decide the cell
        points[:, :2] = rng.integers(-4, 30, (count + 1, 2)) * np.array([0.15, 0.1]) + np.array([-2, 1])
    points[rng.random(count + 1) < 0.1, 2] = np.nan
    grid = Rasterise(x_mm=(-2.0, 3.9), y_mm=(1.0, 4.1), pitch_mm=(0.3, 0.2), max_gap=max_gap)
    np.testing.assert_array_equal(read(points[None], grid), slow_rasterise(points, grid))


def test_the_order_and_the_shape_of_the_points_do_not_matter_with_a_grid() -> None:
    cloud = organised()
    first = prepare(cloud, rasterise=GRID)
    for other in (shuffled(cloud), cloud[::-1], cloud.transpose(1, 0, 2), cloud.reshape(40, 8, 3)):
        assert (prepare(other, rasterise=GRID) == first).all()


def test_more_points_than_one_band_fall_where_they_belong() -> None:
    grid = Rasterise(x_mm=(0.0, 299.0), y_mm=(0.0, 249.0), pitch_mm=(1.0, 1.0), max_gap=0)
    rows, cols = np.mgrid[:250, :300]
    heights = np.random.default_rng(2).uniform(0, 9, (250, 300))
    cloud = np.stack([cols, rows, heights], axis=2).astype(np.float32)
    np.testing.assert_array_equal(read(cloud, None), cloud[..., 2])
    np.testing.assert_array_equal(read(shuffled(cloud), grid), cloud[..., 2])


def test_a_cell_keeps_its_greatest_height() -> None:
    points = np.array([(0, 0, 3), (0.2, 0.1, 8), (-0.2, 0, -4), (0, -0.1, 7)], np.float32)
    z = read(points[None], Rasterise(x_mm=(0, 2), y_mm=(0, 1), pitch_mm=(1, 1)))
    assert z[0, 0] == 8
    assert np.isnan(z).sum() == 5


def test_points_outside_the_grid_are_dropped_and_a_cloud_wholly_outside_is_refused() -> None:
    cloud = organised()
    far = np.array([[(1e30, 2, 9.9), (0, -3e38, 9.9), (-2.151, 2, 9.9), (0, 4.31, 9.9)]], np.float32)
    both = np.concatenate([shuffled(cloud), far], axis=1)
    assert (prepare(both, rasterise=GRID) == prepare(cloud, rasterise=GRID)).all()
    for rasterise, window in ((GRID, WINDOW), (GRID, PercentileWindow())):
        with pytest.raises(FrameError) as caught:
            prepare(far, rasterise=rasterise, window=window)
        assert caught.value.reason is Reason.FRAME_EMPTY


def test_gaps_up_to_the_limit_lie_on_the_line_between_their_ends_and_wider_ones_stay() -> None:
    line = np.full((1, 12), -np.inf, np.float32)
    line[0, [1, 4, 8, 10]] = 1, 4, 0, 2
    GapFiller(line.shape, 2).fill(line)
    np.testing.assert_array_equal(line[0, [1, 2, 3, 4, 8, 9, 10]], np.array([1, 2, 3, 4, 0, 1, 2], np.float32))
    assert np.isneginf(line[0, [0, 5, 6, 7, 11]]).all()


@pytest.mark.parametrize("filled", [True, False])
def test_a_grid_may_have_a_single_cell(filled: bool) -> None:
    grid = Rasterise(x_mm=(0, 0.01), y_mm=(0, 0.01), pitch_mm=(1, 1))
    z = read(np.array([[(0.1 if filled else 7, 0.2, 5)]], np.float32), grid)
    assert z.shape == (1, 1)
    assert z[0, 0] == 5 if filled else np.isnan(z[0, 0])


def test_a_gap_does_not_reach_round_the_end_of_a_row() -> None:
    z = np.full((2, 4), -np.inf, np.float32)
    z[0, 3], z[1, 1] = 1, 2
    GapFiller(z.shape, 64).fill(z)
    assert np.isfinite(z).sum() == 2


def test_a_preparer_takes_clouds_and_range_images_in_turn() -> None:
    preparer = Preparer(HeightmapSpec(window=WINDOW, height=16, width=20, rasterise=GRID))
    cloud, outs = organised(), []
    for image, kind in ((cloud, "cloud"), (cloud[..., 2].copy(), "range"), (shuffled(cloud), "cloud"), (cloud, "cloud")):
        outs.append(out := np.zeros((16, 20), np.uint8))
        preparer.prepare(image, kind=kind, no_data=math.nan, out=out)
    assert (outs[0] == outs[2]).all()
    assert (outs[0] == outs[3]).all()
    assert np.count_nonzero(outs[1] == 0) == np.isnan(cloud[..., 2]).sum(), "range images keep their gaps"


def test_the_cloud_handed_in_is_not_changed() -> None:
    cloud = organised()
    before = cloud.copy()
    prepare(cloud, rasterise=GRID, outliers=OutlierFilter(), plane=PlaneRemoval())
    np.testing.assert_array_equal(cloud, before)


# -- the spec


@pytest.mark.parametrize(
    ("x_mm", "pitch", "cols"), [((0.0, 0.0004), 0.001, 1), ((-1.0, 1.0), 0.5, 5), ((0.0, 1.24), 0.5, 3), ((0.0, 1.25), 0.5, 4)]
)
def test_the_grid_has_as_many_columns_as_centres_fit(x_mm: tuple[float, float], pitch: float, cols: int) -> None:
    assert Rasterise(x_mm=x_mm, y_mm=(0.0, 10.0), pitch_mm=(pitch, 10.0)).shape == (2, cols)


@pytest.mark.parametrize(
    "changes",
    [
        {"x_mm": (1.0, 1.0)},
        {"y_mm": (2.0, 1.0)},
        {"x_mm": (math.nan, 1.0)},
        {"x_mm": (0.0, math.inf)},
        {"y_mm": (-1e6, 0.0)},
        {"pitch_mm": (0.0, 1.0)},
        {"pitch_mm": (1.0, 10.1)},
        {"pitch_mm": (1.0, math.nan)},
        {"max_gap": -1},
        {"max_gap": 65},
        {"x_mm": (0.0, 16_384.0)},
        {"x_mm": (0.0, 9_999.0), "y_mm": (0.0, 9_999.0)},
    ],
)
def test_a_grid_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="rasterise"):
        Rasterise(**({"x_mm": (0.0, 10.0), "y_mm": (0.0, 10.0), "pitch_mm": (1.0, 1.0)} | changes))


def test_a_spec_with_a_grid_is_read_back_equal() -> None:
    spec = HeightmapSpec(window=WINDOW, rasterise=GRID)
    assert spec_from_json(spec_to_json(spec)) == spec
    assert hash(spec) != hash(HeightmapSpec(window=WINDOW))
