"""Point clouds on the GPU against the CPU: as they lie, and fallen into a grid, with gaps just short enough and just too long."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from heightmap_kit import Bench, assert_equal, bench_on, bumpy, range_scan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.inspector.cuda.device import Device
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, OutlierFilter, PercentileWindow, PlaneRemoval, Rasterise

PERCENTILE, MILLIMETRE = PercentileWindow(), MillimetreWindow(low_mm=-1.0, high_mm=4.0)
NAN = math.nan


@pytest.fixture
def bench(device: Device) -> Iterator[Bench]:
    with bench_on(device) as bench:
        yield bench


def grid(cols: int, rows: int, *, max_gap: int = 3, pitch: tuple[float, float] = (1.0, 1.0)) -> Rasterise:
    return Rasterise(x_mm=(0.0, (cols - 1) * pitch[0]), y_mm=(0.0, (rows - 1) * pitch[1]), pitch_mm=pitch, max_gap=max_gap)


def spec_of(rasterise: Rasterise, **spec: Any) -> HeightmapSpec:
    """A spec whose resize copies."""
    rows, cols = rasterise.shape
    return HeightmapSpec(**({"window": PERCENTILE, "rasterise": rasterise, "height": max(8, rows), "width": max(8, cols)} | spec))


def points(*columns: Any) -> NDArray[np.float32]:
    """An unorganised cloud (1, n, 3)."""
    return np.stack(np.broadcast_arrays(*columns), axis=-1).astype(np.float32).reshape(1, -1, 3)


def scattered(count: int, seed: int, size: tuple[float, float]) -> NDArray[np.float32]:
    """Points inside and around a field of `size` (x, y), several per cell, some missing."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-3, size[0] + 3, count), rng.uniform(-3, size[1] + 3, count)
    z = 0.05 * x - 0.02 * y + rng.normal(0, 0.3, count)
    z[rng.random(count) < 0.1] = NAN
    return points(x, y, z)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_clouds_and_grids(bench: Bench, data: st.DataObject) -> None:
    pitch = data.draw(st.tuples(st.sampled_from([0.1, 0.5, 1.0, 1.7]), st.sampled_from([0.25, 1.0])), label="pitch")
    rasterise = grid(data.draw(st.integers(8, 70)), data.draw(st.integers(2, 60)), max_gap=data.draw(st.integers(0, 9)), pitch=pitch)
    size = rasterise.x_mm[1], rasterise.y_mm[1]
    scan = range_scan(scattered(data.draw(st.integers(1, 3000)), data.draw(st.integers(0, 2**31)), size), no_data=NAN)
    outliers = data.draw(st.sampled_from([None, OutlierFilter(window=3, limit_mm=0.4), OutlierFilter(limit_mm=0.1)]))
    plane = data.draw(st.sampled_from([None, PlaneRemoval()]))
    window = data.draw(st.sampled_from([PERCENTILE, MILLIMETRE]))
    assert_equal(bench, spec_of(rasterise, window=window, outliers=outliers, plane=plane), scan)


@pytest.mark.parametrize("max_gap", [0, 1, 2, 5, 64])
def test_gaps_are_filled_up_to_the_longest_and_no_further(bench: Bench, max_gap: int) -> None:
    """Gaps up to two cells longer than `max_gap`, along both directions."""
    lengths = sorted({0, min(1, max_gap), max_gap // 2, max_gap, max_gap + 1, max_gap + 2})
    places = np.cumsum([2, *(length + 1 for length in lengths)])
    rasterise = grid(int(places[-1]) + 3, 9, max_gap=max_gap)
    z = np.sqrt(1.0 + np.arange(len(places)))
    along = range_scan(points(places, 4, z))
    made = assert_equal(bench, spec_of(rasterise), along)
    assert made.image is not None
    # Places up to the filled gaps are one run without a hole; behind the two longer gaps stand single points.
    filled = made.image[4, 2 : places[-3] + 1]
    assert (filled > 0).all()
    assert (made.image > 0).sum() == len(filled) + 2
    turned = Rasterise(x_mm=rasterise.y_mm, y_mm=rasterise.x_mm, pitch_mm=(1.0, 1.0), max_gap=max_gap)
    down = assert_equal(bench, spec_of(turned), range_scan(points(4, places, z)))
    assert down.image is not None
    assert (down.image.T[: made.image.shape[0], : made.image.shape[1]] == made.image[: down.image.shape[1], : down.image.shape[0]]).all()


def test_rows_are_filled_before_columns_and_serve_them(bench: Bench) -> None:
    x, y, z = np.array([[2, 2, 1.0], [6, 2, 2.0], [2, 7, 5.0], [6, 7, 3.0], [10, 10, 9.0], [10, 14, 1.0]]).T
    for max_gap in (2, 3, 4, 5):
        assert_equal(bench, spec_of(grid(16, 16, max_gap=max_gap)), range_scan(points(x, y, z)))


def test_a_cell_keeps_its_greatest_height_of_either_sign(bench: Bench) -> None:
    z = np.array([-3.0, -1.0, -2.0, 0.0, -0.0, 5.0, 4.0, 1e-40, -1e-40, 7.0])
    scan = range_scan(points([3, 3, 3, 5, 5, 7, 7, 9, 9, 9], 3, z), no_data=99.0)
    made = assert_equal(bench, spec_of(grid(12, 8, max_gap=0), window=MillimetreWindow(low_mm=-4.0, high_mm=8.0)), scan)
    assert made.image is not None
    assert np.flatnonzero(made.image[3]).tolist() == [3, 5, 7, 9]


def test_points_on_the_edges_of_cells_and_of_the_grid(bench: Bench) -> None:
    edges = np.array([-0.51, -0.5, -0.49999, 0.0, 0.49999, 0.5, 0.50001, 9.49999, 9.5, 9.50001, 1e9, -1e9, 3e38])
    x, y = (side.reshape(-1) for side in np.meshgrid(edges, edges))
    scan = range_scan(points(x, y, np.arange(1.0, len(x) + 1)))
    for pitch in ((1.0, 1.0), (0.3, 0.7)):
        assert_equal(bench, spec_of(grid(10, 10, max_gap=1, pitch=pitch)), scan)


def test_a_cloud_wholly_outside_the_grid_is_refused(bench: Bench) -> None:
    for plane in (None, PlaneRemoval()):
        made = assert_equal(bench, spec_of(grid(10, 10), plane=plane), range_scan(points(np.arange(90.0, 99.0), 4, np.arange(9.0))))
        assert made.refused is not None


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("value", [NAN, math.inf, -math.inf])
@pytest.mark.parametrize("rasterise", [None, grid(24, 24)])
def test_a_point_that_is_not_finite_refuses_the_frame_unless_it_is_missing(
    bench: Bench, axis: int, value: float, rasterise: Rasterise | None
) -> None:
    y, x = np.mgrid[:20, :22].astype(np.float32)
    cloud = np.stack([x, y, bumpy((20, 22), missing=0)], axis=-1)
    cloud[3, 5, axis] = value
    spec = HeightmapSpec(window=MILLIMETRE, rasterise=rasterise, height=20, width=22)
    made = assert_equal(bench, spec, range_scan(cloud), levels=1)
    assert made.refused is not None
    assert "1 points" in made.refused
    cloud[3, 5, 2] = NAN
    assert assert_equal(bench, spec, range_scan(cloud, no_data=NAN), levels=1).refused is None


def test_an_organised_cloud_is_its_heights_however_x_and_y_lie(bench: Bench) -> None:
    z = bumpy((40, 50))
    cloud = np.stack([np.random.default_rng(0).normal(size=z.shape), np.zeros(z.shape), z], axis=-1).astype(np.float32)
    for outliers, plane in ((None, None), (OutlierFilter(limit_mm=1.0), None), (None, PlaneRemoval()), (OutlierFilter(), PlaneRemoval())):
        for window in (PERCENTILE, MILLIMETRE):
            spec = HeightmapSpec(window=window, outliers=outliers, plane=plane, height=40, width=50)
            assert_equal(bench, spec, range_scan(cloud, no_data=NAN))


def test_an_unorganised_cloud_without_a_grid_is_refused(bench: Bench) -> None:
    made = assert_equal(bench, HeightmapSpec(window=PERCENTILE), range_scan(scattered(50, 0, (9, 9))))
    assert made.refused is not None
    assert "FRAME_KIND" in made.refused
