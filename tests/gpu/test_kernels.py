"""Heightmaps of the GPU against the CPU's: every bit before the resize, one gray level at most behind it, refusals in the same words."""

from __future__ import annotations

import ctypes
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from heightmap_kit import Bench, assert_equal, bench_on, bumpy, gray_scan, range_scan, same_size
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.inspector.cuda.device import Device
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, OutlierFilter, PercentileWindow, PlaneRemoval, Resizing
from edge.inspector.scan import Scan

PERCENTILE, MILLIMETRE = PercentileWindow(), MillimetreWindow(low_mm=-1.0, high_mm=4.0)
NAN = math.nan


@pytest.fixture
def bench(device: Device) -> Iterator[Bench]:
    with bench_on(device) as bench:
        yield bench


def steps_of(z: NDArray[np.float32]) -> Scan:
    """The same heights as u16, 0 for no data."""
    values = np.where(np.isnan(z), 0, np.clip(np.nan_to_num(z) * 1000 + 5000, 1, 65_535)).astype(np.uint16)
    return range_scan(values, z_scale_mm=0.001, z_offset_mm=-5.0)


def grays_of(z: NDArray[np.float32]) -> Scan:
    return gray_scan(np.where(np.isnan(z), 0, np.clip(np.nan_to_num(z) * 20 + 30, 1, 255)).astype(np.uint8))


def cloud_of(z: NDArray[np.float32], pitch: float = 0.1) -> Scan:
    y, x = np.mgrid[: z.shape[0], : z.shape[1]] * pitch
    return range_scan(np.stack([x, y, z], axis=-1).astype(np.float32), no_data=NAN)


def floats_of(z: NDArray[np.float32]) -> Scan:
    return range_scan(z, no_data=NAN)


MADE = {"u8": grays_of, "u16": steps_of, "f32": floats_of, "cloud": cloud_of}
SHAPES = [(8, 8), (37, 61), (64, 130), (1, 40), (40, 1), (7, 300)]


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_way_through_the_spec_gives_the_cpus_bits(bench: Bench, kind: str, shape: tuple[int, int]) -> None:
    scan = MADE[kind](bumpy(shape))
    outliers = [None, OutlierFilter(window=3, limit_mm=1.0), OutlierFilter(limit_mm=1.0)]
    for window, outlier, plane in itertools.product([PERCENTILE, MILLIMETRE], outliers, [None, PlaneRemoval()]):
        made = assert_equal(bench, same_size(scan, window=window, outliers=outlier, plane=plane), scan)
        assert made.image is not None or min(shape) == 1


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("resize", ["letterbox", "fastai-pad", "fastai-squish", "fastai-crop"])
@pytest.mark.parametrize("size", [(8, 8), (24, 50), (33, 200), (120, 90)])
def test_every_resize_is_within_a_gray_level(bench: Bench, kind: str, resize: Resizing, size: tuple[int, int]) -> None:
    for shape in ((37, 61), (90, 31), (16, 400)):
        spec = HeightmapSpec(window=PERCENTILE, height=size[0], width=size[1], resize=resize)
        assert_equal(bench, spec, MADE[kind](bumpy(shape, missing=0.4)), levels=1 if resize == "letterbox" else 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_frames_and_specs(bench: Bench, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 50), st.integers(8, 90)), label="shape")
    z = bumpy(shape, data.draw(st.integers(0, 2**31), label="seed"), missing=data.draw(st.sampled_from([0.0, 0.3, 0.95])))
    scan = MADE[data.draw(st.sampled_from(["u8", "u16", "f32"]))](z)
    low = data.draw(st.floats(0, 90), label="low")
    window = data.draw(st.sampled_from([MILLIMETRE, PercentileWindow(low=low, high=low + 10)]))
    outliers = data.draw(st.sampled_from([None, OutlierFilter(window=3, limit_mm=0.5), OutlierFilter(limit_mm=0.03)]))
    plane = data.draw(st.sampled_from([None, PlaneRemoval(inlier_mm=0.05, iterations=9), PlaneRemoval(inlier_mm=2.0)]))
    assert_equal(bench, same_size(scan, window=window, outliers=outliers, plane=plane), scan)
    size = data.draw(st.tuples(st.integers(8, 60), st.integers(8, 120)), label="size")
    spec = HeightmapSpec(window=window, outliers=outliers, plane=plane, height=size[0], width=size[1])
    assert_equal(bench, spec, scan, levels=1)


def _adversaries() -> dict[str, Scan]:
    one = np.full((20, 30), NAN, np.float32)
    one[7, 11] = 3.0
    two = np.full((20, 30), NAN, np.float32)
    two[0, 0], two[19, 29] = 1.0, 2.0
    line = np.full((64, 64), NAN, np.float32)
    line[np.arange(64), np.arange(64)] = np.linspace(0, 1, 64)
    ties = (np.indices((20, 30)).sum(axis=0) % 2).astype(np.float32)
    far = bumpy((20, 30)) + np.float32(1e5)
    huge = np.where(ties > 0, np.float32(3e38), np.float32(-3e38))
    tiny = np.where(ties > 0, np.float32(1e-45), np.float32(3e-42))
    zeros = np.where(ties > 0, np.float32(0.0), np.float32(-0.0))
    zeros[3, 3] = 1.0
    borders = np.zeros((20, 30), np.float32)
    borders[[0, 0, -1, -1], [0, -1, 0, -1]] = 99.0
    borders[10, 0], borders[0, 15] = -99.0, 99.0
    steep = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    return {
        "all missing": floats_of(np.full((20, 30), NAN, np.float32)),
        "all missing, by value": range_scan(np.full((20, 30), 7.5, np.float32), no_data=7.5),
        "all missing, u16": range_scan(np.zeros((20, 30), np.uint16)),
        "all missing, u8": gray_scan(np.zeros((20, 30), np.uint8)),
        "one valid pixel": floats_of(one),
        "two valid pixels": floats_of(two),
        "constant": floats_of(np.full((20, 30), 2.0, np.float32)),
        "constant, u8": gray_scan(np.full((20, 30), 9, np.uint8)),
        "two heights": floats_of(ties),
        "two grays": gray_scan(np.where(ties > 0, 9, 200).astype(np.uint8)),
        "samples on a line": floats_of(line),
        "far away": floats_of(far),
        "as far apart as f32 goes": floats_of(huge),
        "denormals": floats_of(tiny),
        "negative zeros": floats_of(zeros),
        "outliers at the borders": floats_of(borders),
        "many equal heights": floats_of(np.round(bumpy((40, 50)), 1)),
        "rising": floats_of(steep),
        "NaN unmarked": range_scan(np.where(ties > 0, np.float32(NAN), np.float32(1)), no_data=0.0),
        "infinity unmarked": range_scan(np.where(ties > 0, np.float32(np.inf), steep), no_data=NAN),
        "infinity marked": range_scan(np.where(ties > 0, np.float32(-np.inf), steep), no_data=-math.inf),
        "one pixel beyond f32": range_scan(np.where(steep == 1, np.float32(3e38), steep), z_scale_mm=9.0),
        "no data is not a whole number": range_scan((steep * 100).astype(np.uint16), no_data=1.5),
        "no data is beyond u16": range_scan((steep * 100).astype(np.uint16), no_data=70_000.0),
        "no data is negative": range_scan((steep * 100).astype(np.uint16), no_data=-1.0),
        "no data is the largest u16": range_scan((steep * 65_535).astype(np.uint16), no_data=65_535.0, z_scale_mm=0.001),
        "no data is NaN for u16": range_scan((steep * 100).astype(np.uint16), no_data=NAN),
        "no data is inexact in f32": range_scan(np.where(ties > 0, np.float32(0.1), steep), no_data=0.1),
        "negative heights": range_scan((steep * 60_000).astype(np.uint16), z_scale_mm=0.01, z_offset_mm=-1e4),
    }


ADVERSARIES = _adversaries()
SPECS: dict[str, dict[str, Any]] = {
    "percentiles": {"window": PERCENTILE},
    "all percentiles": {"window": PercentileWindow(low=0.0, high=100.0)},
    "narrow percentiles": {"window": PercentileWindow(low=49.9, high=50.1)},
    "millimetres": {"window": MILLIMETRE},
    "cleaned": {"window": PERCENTILE, "outliers": OutlierFilter(limit_mm=0.5)},
    "flattened": {"window": MILLIMETRE, "plane": PlaneRemoval()},
    "everything": {"window": PERCENTILE, "outliers": OutlierFilter(window=3, limit_mm=0.5), "plane": PlaneRemoval()},
}


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("name", ADVERSARIES)
def test_frames_made_to_break_it(bench: Bench, name: str) -> None:
    scan = ADVERSARIES[name]
    for spec in SPECS.values():
        assert_equal(bench, same_size(scan, **spec), scan)
        assert_equal(bench, HeightmapSpec(height=16, width=16, resize="fastai-crop", **spec), scan)
        assert_equal(bench, HeightmapSpec(height=16, width=64, **spec), scan, levels=1)


@pytest.mark.parametrize(
    "reason", ["FRAME_NONFINITE", "plane", "no valid height", "constant between", "heightmap is constant", "network sees"]
)
def test_every_refusal_comes_up(bench: Bench, reason: str) -> None:
    """The comparison above would also hold if nothing were ever refused."""
    steep = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    bordered = np.full((40, 40), 5, np.uint8)
    bordered[0] = 9
    scans = {
        "FRAME_NONFINITE": (ADVERSARIES["NaN unmarked"], {"window": PERCENTILE}),
        "plane": (ADVERSARIES["two valid pixels"], {"window": PERCENTILE, "plane": PlaneRemoval()}),
        "no valid height": (ADVERSARIES["all missing"], {"window": PERCENTILE}),
        "constant between": (ADVERSARIES["constant"], {"window": PERCENTILE}),
        "heightmap is constant": (floats_of(steep), {"window": MillimetreWindow(low_mm=50.0, high_mm=60.0)}),
        "network sees": (gray_scan(bordered), {"window": MILLIMETRE, "resize": "fastai-crop", "height": 8, "width": 100}),
    }
    scan, spec = scans[reason]
    made = assert_equal(bench, HeightmapSpec(**({"height": 16, "width": 16} | spec)), scan)
    assert made.refused is not None
    assert reason in made.refused


def test_percentiles_at_every_rank(bench: Bench) -> None:
    """Whole ranks, shares between two, both in one bin of the histogram, and in neighbouring bins."""
    z = np.concatenate([np.linspace(1.0, 1.0 + 2e-6, 12), np.linspace(2.0, 1000.0, 13), [-5.0, -1e-3, 0.0]]).astype(np.float32)
    scan = floats_of(np.tile(z, 4).reshape(4, 28))
    for low, high in itertools.pairwise(np.linspace(0, 100, 29)):
        assert_equal(bench, same_size(scan, window=PercentileWindow(low=float(low), high=float(high))), scan)


def test_the_percentiles_of_grays_at_every_rank(bench: Bench) -> None:
    scan = gray_scan(np.random.default_rng(5).choice([0, 1, 7, 8, 200, 255], (9, 13)).astype(np.uint8))
    for low, high in itertools.pairwise(np.linspace(0, 100, 29)):
        assert_equal(bench, same_size(scan, window=PercentileWindow(low=float(low), high=float(high))), scan)


@pytest.mark.parametrize("window", [3, 5])
def test_outliers_in_windows_of_every_fill(bench: Bench, window: int) -> None:
    """From one valid pixel to all of them, with heights just at the limit."""
    rng = np.random.default_rng(window)
    for share in np.linspace(0, 1, 9):
        z = rng.choice(np.float32([0.0, 0.5, 1.0, 1.5, 40.0]), (40, 70))
        z[rng.random(z.shape) > share] = NAN
        z[0, 0], z[0, 1] = 0.0, 1.0
        assert_equal(bench, same_size(floats_of(z), window=MILLIMETRE, outliers=OutlierFilter(window=window, limit_mm=0.5)), floats_of(z))


@pytest.mark.parametrize("resize", ["letterbox", "fastai-pad", "fastai-squish", "fastai-crop"])
@pytest.mark.parametrize("shape", [(20, 700), (300, 90), (9, 15)])
def test_a_pixel_that_several_blocks_read_is_counted_once(bench: Bench, resize: Resizing, shape: tuple[int, int]) -> None:
    """The refusal tells how many pixels it is about."""
    spec = HeightmapSpec(window=MILLIMETRE, height=24, width=200, resize=resize)
    for value in (NAN, 2.0):
        made = assert_equal(bench, spec, range_scan(np.full(shape, value, np.float32)))
        assert made.refused is not None
        assert f"{shape[0] * shape[1]} " in made.refused


@pytest.mark.parametrize("seed", range(6))
def test_planes_on_which_votes_tie(bench: Bench, seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:50, :70]
    z = np.where((x + y) % 3, 0.25 * x, -0.5 * y + 100).astype(np.float32)
    z[rng.random(z.shape) < 0.5] = NAN
    for inlier, iterations in ((0.001, 64), (0.25, 7), (30.0, 1024)):
        assert_equal(
            bench, same_size(floats_of(z), window=PERCENTILE, plane=PlaneRemoval(inlier_mm=inlier, iterations=iterations)), floats_of(z)
        )


def test_a_frame_of_many_blocks(bench: Bench) -> None:
    """More work than blocks, so that every block loops."""
    z = bumpy((700, 900), 3)
    for outliers, plane in ((OutlierFilter(limit_mm=1.0), PlaneRemoval()), (None, None)):
        spec = HeightmapSpec(window=PERCENTILE, outliers=outliers, plane=plane)
        assert_equal(bench, spec, floats_of(z), levels=1)


@pytest.mark.soft
def test_the_order_of_blocks_and_threads_changes_nothing(bench: Bench) -> None:
    from softcuda.control import KERNELS  # noqa: PLC0415 -- only there on the software driver

    library = ctypes.CDLL(str(KERNELS))
    library.soft_kernels_seed.argtypes = [ctypes.c_uint64]
    scan = floats_of(bumpy((100, 120)))
    spec = same_size(scan, window=PERCENTILE, outliers=OutlierFilter(limit_mm=1.0), plane=PlaneRemoval())
    for seed in range(8):
        library.soft_kernels_seed(seed)
        assert_equal(bench, spec, scan)
