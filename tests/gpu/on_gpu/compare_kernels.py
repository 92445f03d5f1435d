"""Heightmaps of a few frames by the kernels in one folder and by the CPU's reference, side by side; also what compute-sanitizer watches."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.gpu_scans import FULL_SPEC, organised_cloud, range_image, rasterised, unorganised_cloud
from edge.errors import CordonError
from edge.inspector.cuda.device import Device
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.cuda import CudaPreparer, FrameUpload, Kernels
from edge.inspector.heightmap.cuda_kernels import SHIPPED
from edge.inspector.heightmap.spec import HeightmapSpec, MillimetreWindow, OutlierFilter, PercentileWindow
from edge.inspector.scan import Scan
from sim.welds import make_weld, to_heightmap

PATIENCE_MS = 300_000.0
"""A sanitizer makes kernels a hundred times slower."""
CLOUD = (60, 90)


def main() -> int:
    """0 when every gray is within one of the CPU's, else 1."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--kernels", type=Path, default=SHIPPED, metavar="DIR", help="folder with index.json and binaries")
    arguments = parser.parse_args()
    device = Device(timeout_ms=PATIENCE_MS)
    try:
        with device.current():
            kernels = Kernels(device, arguments.kernels)
            worst = {name: _difference(device, kernels, scan, spec) for name, scan, spec in frames()}
    except CordonError as exc:
        print(exc, flush=True)
        return 1
    finally:
        device.close()
    for name, difference in worst.items():
        print(f"  {name}: largest difference {difference}")
    print(f"{kernels.binary.file} on {device.name}: {len(worst)} frames, largest difference {max(worst.values())} grays", flush=True)
    return 0 if max(worst.values()) <= 1 else 1


def frames() -> Iterator[tuple[str, Scan, HeightmapSpec]]:
    """Every kernel runs in at least one of them."""
    gray = Scan(image=to_heightmap(make_weld("T3", "none", 1)), kind="heightmap")
    squish = HeightmapSpec(window=PercentileWindow(low=2.0, high=98.0), resize="fastai-squish", height=64, width=96)
    yield "cloud, full spec", organised_cloud(*CLOUD), FULL_SPEC
    yield "cloud into a grid", unorganised_cloud(*CLOUD), rasterised(*CLOUD)
    yield "range, full spec", range_image(), FULL_SPEC
    yield "range, window in mm", range_image(), HeightmapSpec(window=MillimetreWindow(low_mm=0.0, high_mm=5.0))
    small = HeightmapSpec(window=PercentileWindow(low=2.0, high=98.0), outliers=OutlierFilter(window=3, limit_mm=0.5))
    yield "range, 3 x 3 outliers", range_image(), small
    yield "heightmap, percentiles, fastai's resize", gray, squish


def _difference(device: Device, kernels: Kernels, scan: Scan, spec: HeightmapSpec) -> int:
    stream, done = device.stream(), device.event()
    upload, preparer = FrameUpload(device, stream), CudaPreparer(spec, device, kernels, stream)
    seen = device.shared_memory((spec.height, spec.width), np.uint8)
    preparer.enqueue(scan, upload.take(scan))
    device.driver.memcpy_dtoh_async(seen.host, preparer.tensor.address, stream)
    done.record(stream)
    device.wait(done, "a heightmap")
    preparer.settle()
    difference = int(np.abs(seen.host.astype(np.int16) - _expected(scan, spec)).max())
    for each in (preparer, upload):
        each.close()
    seen.free()
    return difference


def _expected(scan: Scan, spec: HeightmapSpec) -> NDArray[np.uint8]:
    out = np.zeros((spec.height, spec.width), np.uint8)
    how = {"kind": scan.kind, "z_scale_mm": scan.z_scale_mm, "z_offset_mm": scan.z_offset_mm, "no_data": scan.no_data}
    Preparer(spec).prepare(scan.image, **how, out=out)
    return out


if __name__ == "__main__":
    sys.exit(main())
