"""What goes wrong without an error of TensorRT's own, and what must never happen on the way of a frame."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtime_kit
import trt_standin
from runtime_kit import Line, build, expected
from softcuda.control import Driver

from edge.engines.backend import Backend
from edge.errors import EngineError, GpuError
from edge.inspector.cuda.device import Device
from edge.inspector.engines.tensorrt import TensorRTRuntime

pytestmark = pytest.mark.soft
machine, preset, backend, device = runtime_kit.machine, runtime_kit.preset, runtime_kit.backend, runtime_kit.device


@pytest.fixture
def line(device: Device, backend: Backend) -> Iterator[Line]:
    line = Line.on(device, backend)
    for number in range(3):
        line.add(build(backend, f"m{number}", centre=50.0 + 10 * number))
    yield line
    line.runtime.close()


@pytest.fixture
def ready(line: Line) -> Line:
    line.runtime.ready(line.stream)
    line.judge(60)
    return line


# -- the way of a frame


def test_a_frame_takes_no_memory_no_default_stream_and_no_wait_for_the_device(driver: Driver, ready: Line) -> None:
    before = driver.counters()
    for gray in range(60, 70):
        ready.judge(gray)
    after = driver.counters()
    for name in ("allocations", "frees", "default_stream_uses", "device_syncs"):
        assert getattr(after, name) == getattr(before, name), name


def test_a_frame_costs_one_launch_per_engine(driver: Driver, ready: Line) -> None:
    before = driver.counters()
    ready.judge(61)
    after = driver.counters()
    own = 0 if ready.backend.features.own_graphs else 3
    assert after.graph_launches - before.graph_launches == own


def test_no_order_of_late_work_changes_an_answer(driver: Driver, backend: Backend, preset: str) -> None:
    for seed in range(12):
        driver.reset(device=preset, seed=seed)
        trt_standin.reset()
        device = Device(timeout_ms=5000)
        with device.current():
            line = Line.on(device, backend, streams=1 + seed % 4)
            for number in range(4):
                line.add(build(backend, f"m{number}", centre=50.0 + 10 * number), f"T{number % 2}")
            line.runtime.ready(line.stream)
            for gray in (45, 75):
                image = line.judge(gray)
                for number, engine in enumerate(line.engines):
                    assert np.allclose(engine.output, expected(image, 50.0 + 10 * number), atol=2e-3)
            line.runtime.close()
        device.close()
        assert driver.violations() == []
        assert trt_standin.report().violations == ()


def without_begin(runtime: TensorRTRuntime, engines: Any, after: Any) -> Any:
    """`run`, but nobody waits for the heightmap."""
    plan = runtime._plan(tuple(engines))
    for engine in engines:
        engine.launch()
    for lane in plan.lanes:
        lane.done.record(lane.stream)
        after.wait_for_event(lane.done)
    return finish(runtime, plan, after)


def without_join(runtime: TensorRTRuntime, engines: Any, after: Any) -> Any:
    """`run`, but nobody waits for the engines."""
    plan = runtime._plan(tuple(engines))
    runtime._begin.record(after)
    for lane in plan.lanes:
        lane.stream.wait_for_event(runtime._begin)
    for engine in engines:
        engine.launch()
    return finish(runtime, plan, after)


def finish(runtime: TensorRTRuntime, plan: Any, after: Any) -> Any:
    assert runtime._outputs is not None
    for start, nbytes in plan.outputs:
        runtime._outputs.download(after, nbytes, offset=start)
    runtime._finished.record(after)
    return runtime._finished


@pytest.mark.parametrize("hasty", [without_begin, without_join])
def test_a_wait_left_out_shows(driver: Driver, backend: Backend, preset: str, hasty: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would find it."""
    wrong = 0
    for seed in range(12):
        driver.reset(device=preset, seed=seed)
        trt_standin.reset()
        device = Device(timeout_ms=5000)
        with device.current(), monkeypatch.context() as patch:
            line = Line.on(device, backend)
            engines = [line.add(build(backend, f"m{number}", centre=50.0)) for number in range(2)]
            line.runtime.ready(line.stream)
            line.judge(45)
            patch.setattr(TensorRTRuntime, "run", hasty)
            image = line.judge(75)
            wrong += any(not np.allclose(engine.output, expected(image, 50.0), atol=2e-3) for engine in engines)
            patch.undo()
            line.runtime.close()
        device.close()
    assert wrong > 0


def test_streams_share_one_block_of_scratch_each(device: Device, backend: Backend) -> None:
    line = Line.on(device, backend, streams=2)
    sizes = [1 << 20, 3 << 20, 2 << 20, 1 << 19]
    for number, size in enumerate(sizes):
        trt_standin.configure(scratch_bytes=size)
        line.add(build(backend, f"m{number}"))
    trt_standin.configure()
    line.runtime.ready(line.stream)
    first, second = dict.fromkeys(engine.lane for engine in line.engines)
    assert first.scratch is not None
    assert second.scratch is not None
    assert (first.scratch.nbytes, second.scratch.nbytes) == (2 << 20, 3 << 20)
    image = line.judge(60)
    assert all(np.allclose(engine.output, expected(image, 60.0), atol=2e-3) for engine in line.engines)
    assert trt_standin.report().violations == ()


# -- silent failures


def test_an_engine_that_did_not_write_leaves_nan(ready: Line) -> None:
    trt_standin.fail("unwritten", times=1)
    ready.judge(60)
    silent = [engine for engine in ready.engines if np.isnan(engine.output).all()]
    assert len(silent) == 1
    assert all(np.isfinite(engine.output).all() for engine in ready.engines if engine is not silent[0])
    ready.judge(60)
    assert np.isfinite(silent[0].output).all()


def test_an_engine_that_never_writes_is_found_at_the_start(line: Line) -> None:
    trt_standin.fail("unwritten")
    with pytest.raises(EngineError, match="unwritten") as caught:
        line.runtime.ready(line.stream)
    assert not isinstance(caught.value, GpuError)


def test_an_engine_that_cannot_be_loaded_says_why(device: Device, backend: Backend) -> None:
    line = Line.on(device, backend)
    built = build(backend, "a")
    trt_standin.fail("deserialise", times=1)
    with pytest.raises(EngineError, match=r"refuses the engine \(seen: .*asked for by the test.*cordon engine build") as caught:
        line.add(built)
    assert not isinstance(caught.value, GpuError)


def test_what_tensorrt_warns_of_is_not_lost(device: Device, backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    if backend.features.own_graphs:
        pytest.skip("TensorRT-RTX's engines are not of one GPU")
    line = Line.on(device, backend)
    built = build(backend, "a")
    _, capability = trt_standin.driver.device()
    monkeypatch.setattr("trt_standin.driver.device", lambda: ("its bigger brother", capability))
    line.add(built)
    assert any("network a (a.onnx): Using an engine plan file across different models" in note for note in line.runtime.notes)


def test_no_memory_for_a_context_says_how_much_there_is(line: Line) -> None:
    trt_standin.fail("context")
    with pytest.raises(GpuError, match=r"no execution context \(seen: .*OutOfMemory.* MiB free\).*fewer typologies"):
        line.runtime.ready(line.stream)


def test_an_address_that_is_refused_is_no_address(line: Line) -> None:
    trt_standin.fail("address", after=1)
    with pytest.raises(GpuError, match="an address was refused"):
        line.runtime.ready(line.stream)


def test_an_execution_that_cannot_be_queued_ends_the_start(line: Line) -> None:
    trt_standin.fail("execute", after=1)
    with pytest.raises(GpuError, match="could not be started"):
        line.runtime.ready(line.stream)


def test_an_execution_that_cannot_be_queued_ends_the_process(device: Device, backend: Backend) -> None:
    line = Line.on(device, backend, graphs=False)
    line.add(build(backend, "a"))
    line.runtime.ready(line.stream)
    trt_standin.fail("execute")
    with pytest.raises(GpuError, match=r"could not be started \(seen: .*asked for by the test.*new process"):
        line.judge(60)


def test_an_engine_that_cannot_be_captured_runs_without_a_graph(line: Line) -> None:
    if line.backend.features.own_graphs:
        pytest.skip("TensorRT-RTX captures by itself")
    trt_standin.fail("capture", times=1)
    line.runtime.ready(line.stream)
    assert [engine.graph for engine in line.engines] == [False, True, True]
    assert len(line.runtime.notes) == 1
    assert "network m0 (m0.onnx) runs without a CUDA graph" in line.runtime.notes[0]
    image = line.judge(60)
    for number, engine in enumerate(line.engines):
        assert np.allclose(engine.output, expected(image, 50.0 + 10 * number), atol=2e-3)


@pytest.mark.parametrize("function", ["cuStreamBeginCapture_v2", "cuGraphInstantiateWithFlags"])
def test_a_driver_that_refuses_capture_is_no_reason_to_stop(driver: Driver, line: Line, function: str) -> None:
    if line.backend.features.own_graphs:
        pytest.skip("TensorRT-RTX captures by itself")
    driver.fail_next(function, 801)
    line.runtime.ready(line.stream)
    assert [engine.graph for engine in line.engines] == [False, True, True]
    image = line.judge(60)
    assert np.allclose(line.engines[0].output, expected(image, 50.0), atol=2e-3)


# -- the GPU fails


def test_a_gpu_that_hangs_is_noticed_in_time_and_left_alone(driver: Driver, ready: Line) -> None:
    driver.hang()
    ready.device._timeout_ms = 200.0
    began = time.monotonic()
    with pytest.raises(GpuError, match=r"a frame does not finish on the GPU \(seen: nothing after 200 ms\).*new process"):
        ready.judge(60)
    ready.runtime.close()
    ready.device.close()
    assert time.monotonic() - began < 2.0
    assert ready.device.lost is not None


def test_an_error_that_stays_ends_the_process(driver: Driver, ready: Line) -> None:
    driver.sticky(700)
    with pytest.raises(GpuError, match=r"illegal memory access.*new process"):
        ready.judge(60)
    with pytest.raises(GpuError, match="illegal memory access"):
        ready.runtime.close()
    assert ready.device.lost is not None


def test_a_gpu_that_is_gone_ends_the_process(driver: Driver, ready: Line) -> None:
    driver.vanish()
    with pytest.raises(GpuError, match="new process"):
        ready.judge(60)
    with pytest.raises(GpuError, match="new process"):
        ready.runtime.close()
    assert ready.device.lost is not None


@pytest.mark.parametrize(("function", "error"), [("cuEventRecord", 719), ("cuStreamWaitEvent", 400), ("cuMemcpyDtoHAsync_v2", 700)])
def test_any_cuda_error_on_the_way_is_the_gpus(driver: Driver, ready: Line, function: str, error: int) -> None:
    if function.startswith("cuMemcpy") and ready.device.zero_copy:
        pytest.skip("nothing is copied")
    driver.fail_next(function, error)
    with pytest.raises(GpuError):
        ready.judge(60)


def test_no_memory_at_the_start_is_said(driver: Driver, line: Line) -> None:
    driver.fail_next("cuMemAlloc_v2", 2)
    with pytest.raises(GpuError, match=r"out of memory, \d+ of \d+ MiB free"):
        line.runtime.ready(line.stream)


# -- the rest


def test_tensorrt_hears_of_one_logger_only(line: Line) -> None:
    line.add(build(line.backend, "again"))
    TensorRTRuntime(line.device, line.backend).close()
    assert not [said.text for said in line.backend.log._messages if "logger" in said.text.lower()]


def test_nothing_is_left_when_it_is_closed(driver: Driver, backend: Backend, preset: str) -> None:
    driver.reset(device=preset, seed=1)
    trt_standin.reset()
    device = Device(timeout_ms=5000)
    with device.current():
        line = Line.on(device, backend)
        for number in range(3):
            line.add(build(backend, f"m{number}"))
        line.runtime.ready(line.stream)
        line.judge(60)
        line.runtime.close()
        told = trt_standin.report()
        assert (told.engines, told.contexts, told.memory) == (0, 0, 0)
    device.close()
    told, counters = trt_standin.report(), driver.counters()
    assert told.leaks == ()
    assert told.violations == ()
    assert counters.allocations == counters.frees


def test_compiled_kernels_are_there_at_the_next_start(device: Device, backend: Backend, tmp_path: Path) -> None:
    if not backend.features.runtime_cache:
        pytest.skip("TensorRT compiles when it builds")
    built = build(backend, "a")
    for expected_jit in (1, 1):
        line = Line.on(device, backend, cache=tmp_path / "kernels")
        line.add(built)
        line.runtime.ready(line.stream)
        line.judge(60)
        # The runtime compiles into the cache, so it must outlive the context.
        assert trt_standin.report().violations == ()
        line.runtime.close()
        assert trt_standin.report().jit == expected_jit
        assert line.runtime.notes == []
