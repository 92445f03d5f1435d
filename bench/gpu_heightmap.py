"""Heightmaps on the GPU: how near the kernels come to the bandwidth of a copy, beside the CPU's reference, copied up and zero-copy."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bench.gpu_clock import GpuClock
from bench.gpu_copies import Copies, gigabytes_per_s
from bench.gpu_parts import PATIENCE_MS, Failed, Scale, Skipped, attempt
from bench.gpu_passes import passes
from bench.gpu_scans import FULL_SPEC, organised_cloud, range_image, rasterised, unorganised_cloud
from bench.timing import Timing, summary
from edge.errors import GpuError
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.errors import translated
from edge.inspector.heightmap.cpu import Preparer
from edge.inspector.heightmap.cuda import CudaPreparer, FrameUpload, Kernels
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.inspector.scan import Scan

Memory = Literal["copied", "zero-copy"]
TARGET_SHARE = 0.6
"""Of the bandwidth of a copy within the GPU, measured in the same run."""
FRAMES_APART = 5
"""Frames whose kernels are timed one by one, at most."""
MOST_GRAYS = 1
"""The largest difference from the CPU that a gray may have."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One kind of frame with its spec, and what the CPU makes of it."""

    name: str
    scan: Scan
    spec: HeightmapSpec
    expected: NDArray[np.uint8]
    cpu: Timing


@dataclass(frozen=True, kw_only=True)
class KernelTime:
    """All launches of one kernel within a frame."""

    kernel: str
    launches: int
    ms: float
    nbytes: int


@dataclass(frozen=True, kw_only=True)
class HeightmapTimes:
    """One kind of frame in one kind of memory; milliseconds."""

    name: str
    memory: Memory
    usual: bool
    """Is this the memory that `zero_copy = "auto"` takes on this GPU?"""
    frame_bytes: int
    kernels: Timing
    """All of them between two events, launched before: the GPU's time alone."""
    exposed: int
    whole: Timing
    """From a frame in the CPU's memory to its heightmap on the GPU, as the CPU sees it."""
    cpu: Timing
    """The reference implementation on this CPU."""
    must_move: int
    """Bytes, by `bench.gpu_passes`."""
    each: tuple[KernelTime, ...]
    copy_gb_per_s: float
    difference: int
    """Largest difference in gray from the CPU."""

    @property
    def share(self) -> float:
        """Of the copy's bandwidth."""
        return gigabytes_per_s(self.must_move, self.kernels.p50_ms) / self.copy_gb_per_s


def measure_heightmaps(scale: Scale, copies: Copies) -> tuple[HeightmapTimes | Skipped | Failed, ...]:
    """Three kinds of frames, copied and zero-copy."""
    cases = make_cases(scale)
    modes: tuple[Memory, ...] = ("copied", "zero-copy")
    return tuple(attempt(functools.partial(_measure, case, memory, scale, copies)) for memory in modes for case in cases)


def make_cases(scale: Scale) -> tuple[Case, ...]:
    """An organised cloud and a range image under the full spec, and an unordered cloud that falls into a grid."""
    rows, cols = scale.cloud
    return (
        _case(f"cloud {cols} x {rows}", organised_cloud(rows, cols), FULL_SPEC, scale),
        _case("range 352 x 128 u16", range_image(), FULL_SPEC, scale),
        _case(f"unordered cloud into {cols} x {rows}", unorganised_cloud(rows, cols), rasterised(rows, cols), scale),
    )


def _case(name: str, scan: Scan, spec: HeightmapSpec, scale: Scale) -> Case:
    preparer, out = Preparer(spec), np.zeros((spec.height, spec.width), np.uint8)
    taken = []
    for _ in range(scale.cpu_runs + 1):
        began_ns = time.monotonic_ns()
        preparer.prepare(
            scan.image, kind=scan.kind, z_scale_mm=scan.z_scale_mm, z_offset_mm=scan.z_offset_mm, no_data=scan.no_data, out=out
        )
        taken.append((time.monotonic_ns() - began_ns) / 1e6)
    return Case(name=name, scan=scan, spec=spec, expected=out, cpu=summary(name, taken[1:]))


class _TimedKernels(Kernels):
    """As Kernels, with an event before and behind every launch while `marks` is set."""

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        self._device = device
        self.marks: list[tuple[str, Any, Any]] | None = None

    def launch(self, name: str, blocks: int, stream: Any, job: bytes) -> None:
        """Queue kernel `name`."""
        if self.marks is None:
            super().launch(name, blocks, stream, job)
            return
        before, behind = self._device.event(timing=True), self._device.event(timing=True)
        before.record(stream)
        super().launch(name, blocks, stream, job)
        behind.record(stream)
        self.marks.append((name, before, behind))


def _measure(case: Case, memory: Memory, scale: Scale, copies: Copies) -> HeightmapTimes:
    device = Device(timeout_ms=PATIENCE_MS, zero_copy="on" if memory == "zero-copy" else "off")
    try:
        with device.current(), translated("heightmaps cannot be measured"):
            return _measure_on(device, case, memory, scale, copies)
    finally:
        device.close()


def _measure_on(device: Device, case: Case, memory: Memory, scale: Scale, copies: Copies) -> HeightmapTimes:
    stream = device.stream()
    kernels, upload = _TimedKernels(device), FrameUpload(device, stream)
    preparer = CudaPreparer(case.spec, device, kernels, stream)
    raw = upload.take(case.scan)
    with GpuClock(device, stream, scale.block_bytes) as clock:
        clock.keep_busy_for(copies.within_ms)
        alone = clock.times(lambda: preparer.enqueue(case.scan, raw), scale.runs)
        preparer.settle()
        each = _each(kernels, clock, preparer, case, raw, count=min(FRAMES_APART, scale.runs))
    whole = [_whole(device, stream, upload, preparer, case) for _ in range(scale.runs)]
    found = HeightmapTimes(
        name=case.name,
        memory=memory,
        usual=(memory == "zero-copy") == device.integrated,
        frame_bytes=case.scan.image.nbytes,
        kernels=summary(case.name, list(alone.ms)),
        exposed=alone.exposed,
        whole=summary(case.name, whole),
        cpu=case.cpu,
        must_move=sum(one.nbytes for one in passes(case.spec, case.scan)),
        each=each,
        copy_gb_per_s=copies.within,
        difference=_difference(device, stream, preparer, case),
    )
    preparer.close()
    upload.close()
    return found


def _each(kernels: _TimedKernels, clock: GpuClock, preparer: CudaPreparer, case: Case, raw: int, *, count: int) -> tuple[KernelTime, ...]:
    """The kernels one by one; medians over `count` frames, in which the events between them cost a little themselves."""
    frames = []
    for _ in range(count):
        kernels.marks = []
        clock.times(lambda: preparer.enqueue(case.scan, raw), 1, warm=0)
        preparer.settle()
        frames.append([(name, float(behind.time_since(before))) for name, before, behind in kernels.marks])
    kernels.marks = None
    needs = passes(case.spec, case.scan)
    names = list(dict.fromkeys(name for name, _ in frames[0]))
    return tuple(_together(name, frames, [one.nbytes for one in needs if one.kernel == name]) for name in names)


def _together(name: str, frames: Sequence[Sequence[tuple[str, float]]], nbytes: Sequence[int]) -> KernelTime:
    taken = [sum(ms for kernel, ms in frame if kernel == name) for frame in frames]
    return KernelTime(kernel=name, launches=len(nbytes), ms=statistics.median(taken), nbytes=sum(nbytes))


def _whole(device: Device, stream: Any, upload: FrameUpload, preparer: CudaPreparer, case: Case) -> float:
    event = device.event()
    began_ns = time.monotonic_ns()
    preparer.enqueue(case.scan, upload.take(case.scan))
    event.record(stream)
    device.wait(event, "a heightmap", timeout_ms=PATIENCE_MS)
    taken_ms = (time.monotonic_ns() - began_ns) / 1e6
    preparer.settle()
    return taken_ms


def _difference(device: Device, stream: Any, preparer: CudaPreparer, case: Case) -> int:
    seen = device.driver.pagelocked_empty(case.expected.shape, np.uint8)
    device.driver.memcpy_dtoh_async(seen, preparer.tensor.address, stream)
    done = device.event()
    done.record(stream)
    device.wait(done, "a copy", timeout_ms=PATIENCE_MS)
    most = int(np.abs(seen.astype(np.int16) - case.expected).max())
    seen.base.free()
    if most > MOST_GRAYS:
        what = f"{case.name}: the GPU's heightmap differs from the CPU's by {most} grays"
        raise GpuError(what, remedy="Run `make gpu-test` and report it")
    return most
