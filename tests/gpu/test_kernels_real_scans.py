"""Real scans through the GPU's heightmaps and the CPU's; skipped, visibly, where the shared scans are not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from heightmap_kit import Bench, assert_equal, bench_on, gray_scan, range_scan

from edge.inspector.cuda.device import Device
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, OutlierFilter, PercentileWindow, PlaneRemoval, Rasterise

DATA = Path(os.environ.get("CORDON_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data"
PERCENTILE = PercentileWindow()
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the shared scans are not here")


@pytest.fixture
def bench(device: Device) -> Iterator[Bench]:
    with bench_on(device) as bench:
        yield bench


def test_battery_welds(bench: Bench) -> None:
    files = sorted((DATA / "battery_weld" / "tiles").rglob("*.png"))[::60]
    assert files
    for file in files:
        scan = gray_scan(cv2.imread(str(file), cv2.IMREAD_UNCHANGED))
        assert_equal(bench, HeightmapSpec(window=PERCENTILE), scan)
        assert_equal(bench, HeightmapSpec(window=PERCENTILE, height=90, width=200), scan, levels=1)
        assert_equal(bench, HeightmapSpec(window=PERCENTILE, height=64, width=64, resize="fastai-squish"), scan)


@pytest.mark.parametrize("file", ["sick/groove_16bit.png", "sick/tube_16bit.png", "openlmd/downsampled.tif"])
def test_range_images(bench: Bench, file: str) -> None:
    whole = cv2.imread(str(DATA / file), cv2.IMREAD_UNCHANGED)
    crop = np.ascontiguousarray(whole[whole.shape[0] // 3 :][:200, 100:500])
    for scan in (range_scan(crop, z_scale_mm=0.01), range_scan(crop.astype(np.float32), z_scale_mm=0.01, z_offset_mm=-30.0)):
        for outliers, plane in ((None, None), (OutlierFilter(limit_mm=0.3), PlaneRemoval())):
            assert_equal(bench, HeightmapSpec(window=PERCENTILE, outliers=outliers, plane=plane, height=200, width=400), scan)
            assert_equal(bench, HeightmapSpec(window=PERCENTILE, outliers=outliers, plane=plane), scan, levels=1)


def test_a_real_cloud_in_any_order(bench: Bench) -> None:
    cloud = np.loadtxt(DATA / "openlmd" / "downsampled.xyz", max_rows=12_000).astype(np.float32) * np.float32(1000)
    (x0, y0, _), (x1, y1, _) = cloud.min(axis=0).tolist(), cloud.max(axis=0).tolist()
    rasterise = Rasterise(x_mm=(x0, x1), y_mm=(y0, y1), pitch_mm=(0.6, 0.7), max_gap=4)
    rows, cols = rasterise.shape
    for window, outliers, plane in ((PERCENTILE, OutlierFilter(), PlaneRemoval()), (MillimetreWindow(low_mm=-30, high_mm=80), None, None)):
        spec = HeightmapSpec(window=window, outliers=outliers, plane=plane, rasterise=rasterise, height=rows, width=cols)
        made = assert_equal(bench, spec, range_scan(cloud[None], no_data=1e6))
        turned = np.random.default_rng(0).permutation(cloud)
        again = assert_equal(bench, spec, range_scan(turned[None], no_data=1e6))
        assert made.image is not None
        assert again.image is not None
        assert (made.image == again.image).all()
