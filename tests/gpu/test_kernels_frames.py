"""From frame to frame on the GPU: memory made once, a stale heightmap noticed, shapes that alternate, errors that say what failed."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from heightmap_kit import Bench, assert_equal, bench_on, bumpy, gray_scan, on_the_cpu, range_scan

from edge.errors import FrameError, GpuError
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.memory import SharedMemory
from edge.inspector.heightmap import cuda
from edge.inspector.heightmap.cuda import MAX_WORKSPACES, TICKETS, CudaPreparer, FrameUpload, Kernels
from edge.inspector.heightmap.cuda_layout import JOB, LINE, RESULT, STATE
from edge.inspector.heightmap.spec import HeightmapSpec, OutlierFilter, PercentileWindow, PlaneRemoval, Rasterise
from edge.inspector.scan import Scan

EVERYTHING = HeightmapSpec(window=PercentileWindow(), outliers=OutlierFilter(limit_mm=1.0), plane=PlaneRemoval(), height=40, width=60)
BOXED = HeightmapSpec(window=PercentileWindow(), height=40, width=60)


@pytest.fixture
def bench(device: Device) -> Iterator[Bench]:
    with bench_on(device) as bench:
        yield bench


def scan_of(seed: int, shape: tuple[int, int] = (40, 60)) -> Scan:
    return range_scan(bumpy(shape, seed), no_data=math.nan)


@pytest.mark.soft
def test_host_and_kernels_mean_the_same_bytes() -> None:
    from softcuda.control import KERNELS  # noqa: PLC0415 -- only there on the software driver

    sizes = (ctypes.c_size_t * 4)()
    assert ctypes.CDLL(str(KERNELS)).soft_kernels_sizes(sizes) == 4
    assert list(sizes) == [JOB.itemsize, STATE.itemsize, RESULT.itemsize, LINE.itemsize]


@pytest.mark.soft
@pytest.mark.parametrize("spec", [EVERYTHING, BOXED])
def test_after_the_first_frame_nothing_is_allocated_and_nobody_waits_for_the_device(bench: Bench, driver: Any, spec: HeightmapSpec) -> None:
    bench.run(spec, scan_of(0))
    before = driver.counters()
    for seed in range(1, 4):
        bench.run(spec, scan_of(seed))
    used = driver.counters() - before
    assert used.allocations == used.host_allocations == used.frees == used.host_frees == 0
    assert used.default_stream_uses == used.device_syncs == used.stream_syncs == used.synchronous_copies == 0


@pytest.mark.soft
@pytest.mark.parametrize("name", ["orin", "rtx4090", "h100", "rtx5090"])
def test_every_gpu_meant_gives_the_same(driver: Any, name: str) -> None:
    driver.reset(name, seed=3)
    device = Device()
    with bench_on(device) as bench:
        assert device.zero_copy == (name == "orin")
        assert_equal(bench, EVERYTHING, scan_of(1))
        assert bench.kernels.binary.capability == device.compute_capability
    device.close()


@pytest.mark.soft
def test_an_older_driver_gets_the_older_binary(driver: Any) -> None:
    driver.driver_version(12_060)
    device = Device()
    with bench_on(device) as bench:
        assert bench.kernels.binary.toolkit == (12, 6)
        assert_equal(bench, EVERYTHING, scan_of(1))
    device.close()


@pytest.mark.parametrize("zero_copy", ["on", "off"])
def test_copies_or_none_give_the_same(driver: Any, zero_copy: Any) -> None:  # noqa: ARG001 -- the device needs the driver
    device = Device(zero_copy=zero_copy)
    with bench_on(device) as bench:
        for seed in range(3):
            assert_equal(bench, EVERYTHING, scan_of(seed))
    device.close()


def test_shapes_and_kinds_may_alternate(bench: Bench) -> None:
    """More of them than stay in memory, placed at other places in the same tensor."""
    grays = gray_scan(np.arange(1, 201, dtype=np.uint8).reshape(10, 20))
    scans = [
        scan_of(1),
        scan_of(2, (20, 90)),
        scan_of(3, (90, 20)),
        grays,
        scan_of(4, (41, 60)),
        range_scan(np.arange(1, 2401, dtype=np.uint16).reshape(40, 60)),
    ]
    assert len(scans) > MAX_WORKSPACES
    for _ in range(2):
        for scan in [*scans, scans[0], scans[-1]]:
            assert_equal(bench, BOXED, scan, levels=1)


def test_a_frame_after_a_refused_one_is_judged_by_itself(bench: Bench) -> None:
    bad = scan_of(1).image.copy()
    bad[3, 3] = np.inf
    for scan in (scan_of(0), range_scan(bad), scan_of(0), gray_scan(np.zeros((40, 60), np.uint8)), scan_of(0)):
        assert_equal(bench, EVERYTHING, scan)


def test_two_specs_share_one_upload(bench: Bench) -> None:
    other = CudaPreparer(BOXED, bench.device, bench.kernels, bench.stream)
    scan = scan_of(7)
    preparer = bench.preparer(EVERYTHING)
    raw = bench.upload.take(scan)
    preparer.enqueue(scan, raw)
    other.enqueue(scan, raw)
    bench.wait()
    for made, spec in ((preparer, EVERYTHING), (other, BOXED)):
        made.settle()
        assert (bench.tensor(made) == on_the_cpu(spec, scan).image).all()
    other.close()


def test_a_heightmap_never_made_is_noticed(bench: Bench) -> None:
    preparer = bench.preparer(EVERYTHING)
    with pytest.raises(GpuError, match="another frame's heightmap"):
        preparer.settle()
    bench.run(EVERYTHING, scan_of(0))
    preparer.settle()
    with pytest.raises(FrameError, match="another dtype"):
        preparer.enqueue(Scan(image=np.zeros((4, 4)), kind="range"), 0)
    with pytest.raises(GpuError, match="another frame's heightmap"):
        preparer.settle()


@pytest.mark.soft
@pytest.mark.parametrize("lost", range(1, 7))
def test_a_heightmap_whose_kernels_did_not_all_run_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    """The last kernel alone says that the frame is done."""
    bench.run(EVERYTHING, scan_of(0))
    real, launched = bench.kernels.launch, []

    def launch(name: str, *rest: Any) -> None:
        launched.append(name)
        if len(launched) <= 8 - lost:
            real(name, *rest)

    monkeypatch.setattr(bench.kernels, "launch", launch)
    preparer = bench.preparer(EVERYTHING)
    preparer.enqueue(scan_of(1), bench.upload.take(scan_of(1)))
    bench.wait()
    assert launched[-1] == "letterbox"
    assert len(launched) == 8
    with pytest.raises(GpuError, match="another frame's heightmap"):
        preparer.settle()


def test_the_number_of_a_frame_starts_over_and_is_never_zero(bench: Bench) -> None:
    preparer = bench.preparer(BOXED)
    preparer._ticket = TICKETS - 1
    for _ in range(3):
        assert_equal(bench, BOXED, scan_of(5))
    assert preparer._ticket == 2


@pytest.mark.soft
def test_a_frame_is_not_overwritten_before_its_kernels_have_read_it(driver: Any) -> None:
    """Work runs late on the software driver: the second frame comes while the first is still queued, in memory that both sides see."""
    driver.reset("orin", seed=0)
    device = Device()
    with device.current():
        kernels, stream, done = Kernels(device), device.stream(), device.event()
        upload = FrameUpload(device, stream)
        preparers = [CudaPreparer(BOXED, device, kernels, stream) for _ in range(2)]
        for seed, preparer in enumerate(preparers):
            preparer.enqueue(scan_of(seed), upload.take(scan_of(seed)))
        done.record(stream)
        device.wait(done, "both heightmaps")
        for seed, preparer in enumerate(preparers):
            preparer.settle()
            image = np.empty((40, 60), np.uint8)
            device.driver.memcpy_dtoh(image, preparer.tensor.address)
            assert (image == on_the_cpu(BOXED, scan_of(seed)).image).all()
            preparer.close()
        upload.close()
    device.close()


def test_a_large_frame_goes_up_in_parts(driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 -- the device needs the driver
    monkeypatch.setattr(cuda, "UPLOADED_AT_ONCE", 1000)
    uploads = []
    real = SharedMemory.upload

    def upload(memory: SharedMemory, stream: Any, nbytes: int | None = None, *, offset: int = 0) -> None:
        uploads.append((offset, nbytes))
        real(memory, stream, nbytes, offset=offset)

    monkeypatch.setattr(SharedMemory, "upload", upload)
    device = Device(zero_copy="off")
    with bench_on(device) as bench:
        scan = scan_of(3, (40, 61))
        assert_equal(bench, HeightmapSpec(window=PercentileWindow(), height=40, width=61), scan)
        assert uploads == [(start, min(1000, scan.image.nbytes - start)) for start in range(0, scan.image.nbytes, 1000)]
    device.close()


@pytest.mark.soft
def test_memory_grows_only_for_a_larger_frame(bench: Bench, driver: Any) -> None:
    upload = bench.upload
    upload.take(scan_of(0, (40, 60)))
    before = driver.counters()
    upload.take(scan_of(0, (20, 30)))
    upload.take(scan_of(0, (40, 60)))
    assert (driver.counters() - before).host_allocations == 0
    upload.take(scan_of(0, (41, 60)))
    assert (driver.counters() - before).host_allocations == 1


@pytest.mark.soft
@pytest.mark.parametrize("after", range(6))
def test_no_memory_for_a_frame_ends_in_an_error_and_leaves_nothing_behind(bench: Bench, driver: Any, after: int) -> None:
    scan = scan_of(0)
    preparer = bench.preparer(EVERYTHING)
    raw = bench.upload.take(scan)
    driver.fail_next("cuMemAlloc_v2", 2, after)
    with pytest.raises(GpuError, match="out of memory"):
        preparer.enqueue(scan, raw)


@pytest.mark.soft
def test_a_lost_context_ends_in_an_error(bench: Bench, driver: Any) -> None:
    preparer = bench.preparer(BOXED)
    raw = bench.upload.take(scan_of(0))
    driver.sticky(700)
    with pytest.raises(GpuError, match="illegal"):
        preparer.enqueue(scan_of(0), raw)
    bench.device.abandon()


def test_rasterised_frames_of_any_number_of_points_go_into_one_grid(bench: Bench) -> None:
    spec = HeightmapSpec(
        window=PercentileWindow(), rasterise=Rasterise(x_mm=(0.0, 59.0), y_mm=(0.0, 39.0), pitch_mm=(1.0, 1.0)), height=40, width=60
    )
    rng = np.random.default_rng(0)
    for count in (500, 100, 1700, 500):
        cloud = rng.uniform(0, (60, 40, 5), (1, count, 3)).astype(np.float32)
        assert_equal(bench, spec, range_scan(cloud, no_data=-1.0))
