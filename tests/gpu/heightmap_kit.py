"""Frames through the GPU's preparer and through the CPU's, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import FrameError
from edge.inspector.cuda.device import Device
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.cuda import CudaPreparer, FrameUpload, Kernels
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.inspector.scan import Scan


@dataclass(frozen=True)
class Made:
    """What came of a frame: a heightmap, or why there is none."""

    image: NDArray[np.uint8] | None
    refused: str | None


class Bench:
    """One device with its kernels; `heightmap` runs a frame through it, start to end."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.kernels = Kernels(device)
        self.stream = device.stream()
        self.done = device.event()
        self.upload = FrameUpload(device, self.stream)
        self._preparer: CudaPreparer | None = None

    def preparer(self, spec: HeightmapSpec) -> CudaPreparer:
        """The one for `spec`; that of another spec is closed first."""
        if self._preparer is None or self._preparer.spec != spec:
            self._close_preparer()
            self._preparer = CudaPreparer(spec, self.device, self.kernels, self.stream)
        return self._preparer

    def _close_preparer(self) -> None:
        if self._preparer is not None:
            self._preparer.close()
            self._preparer = None

    def run(self, spec: HeightmapSpec, scan: Scan) -> CudaPreparer:
        """One frame as the inspector runs it. Raises FrameError."""
        preparer = self.preparer(spec)
        preparer.enqueue(scan, self.upload.take(scan))
        self.wait()
        preparer.settle()
        return preparer

    def wait(self) -> None:
        self.done.record(self.stream)
        self.device.wait(self.done, "a heightmap")

    def heightmap(self, spec: HeightmapSpec, scan: Scan) -> Made:
        try:
            return Made(self.tensor(self.run(spec, scan)), None)
        except FrameError as exc:
            return Made(None, f"{exc.reason.name}: {exc}")

    def tensor(self, preparer: CudaPreparer) -> NDArray[np.uint8]:
        image = np.empty((preparer.spec.height, preparer.spec.width), np.uint8)
        self.device.driver.memcpy_dtoh(image, preparer.tensor.address)
        return image

    def close(self) -> None:
        self._close_preparer()
        self.upload.close()


@contextmanager
def bench_on(device: Device) -> Iterator[Bench]:
    with device.current():
        bench = Bench(device)
        try:
            yield bench
        finally:
            bench.close()


def on_the_cpu(spec: HeightmapSpec, scan: Scan) -> Made:
    out = np.full((spec.height, spec.width), 77, np.uint8)
    try:
        Preparer(spec).prepare(
            scan.image, kind=scan.kind, z_scale_mm=scan.z_scale_mm, z_offset_mm=scan.z_offset_mm, no_data=scan.no_data, out=out
        )
    except FrameError as exc:
        return Made(None, f"{exc.reason.name}: {exc}")
    return Made(out, None)


def range_scan(image: NDArray[Any], **header: float) -> Scan:
    return Scan(image=image, kind={2: "range", 3: "cloud"}[image.ndim], **header)


def gray_scan(image: NDArray[np.uint8]) -> Scan:
    return Scan(image=image, kind="heightmap")


def same_size(scan: Scan, **spec: Any) -> HeightmapSpec:
    """A spec whose resize copies: what comes out shows every bit of the steps before."""
    return HeightmapSpec(height=max(8, scan.image.shape[0]), width=max(8, scan.image.shape[1]), **spec)


def assert_equal(bench: Bench, spec: HeightmapSpec, scan: Scan, *, levels: int = 0) -> Made:
    """GPU and CPU give heightmaps that differ by at most `levels` grays, or refuse the frame in the same words."""
    gpu, cpu = bench.heightmap(spec, scan), on_the_cpu(spec, scan)
    assert gpu.refused == cpu.refused
    if cpu.image is not None and gpu.image is not None:
        apart = np.abs(gpu.image.astype(np.int16) - cpu.image)
        worst = np.unravel_index(int(apart.argmax()), apart.shape)
        seen = f"{np.count_nonzero(apart)} pixels differ, worst at {worst}: GPU {gpu.image[worst]}, CPU {cpu.image[worst]}"
        assert apart.max() <= levels, f"{seen}; {spec}"
    return gpu


def bumpy(shape: tuple[int, int], seed: int = 0, *, missing: float = 0.1, tilt: float = 0.02) -> NDArray[np.float32]:
    """Heights of a tilted sheet with a bead, noise, spikes and holes (NaN)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    z = 3.0 + tilt * x - 0.013 * y + 1.5 * np.exp(-(((y - shape[0] / 2) / (1 + shape[0] / 8)) ** 2)) + rng.normal(0, 0.02, shape)
    spikes = rng.random(shape) < 0.02
    z[spikes] += rng.normal(0, 30, int(spikes.sum()))
    z[rng.random(shape) < missing] = math.nan
    return z.astype(np.float32)
