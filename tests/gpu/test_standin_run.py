"""The stand-in's engines answer as OpenVINO does, late, in stream order and from graphs, and notice what must not overlap."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import standin_kit as kit
import tiny
import trt_standin

from edge.bundle import Member
from edge.engines import backend, build_engine
from edge.inspector.cuda.graphs import Graphs

pytestmark = pytest.mark.soft
ONNX = tiny.network(centre=120.0, sign=1.0, quantised=True, embedding=True)
SHAPE = (tiny.HEIGHT, tiny.WIDTH)
SEEDS = range(1, 13)
"""Orders of late work to look through for what only some of them show."""


@pytest.fixture
def gpu(driver: Any) -> Iterator[Any]:
    with kit.primary(driver) as cuda:
        yield cuda


@pytest.fixture
def log() -> Any:
    return kit.new_logger(kit.api("10.3.0"))


def engine(log: Any, onnx: bytes = ONNX) -> Any:
    trt = kit.api("10.3.0")
    plan = kit.build(trt, onnx, logger=log)
    loaded = trt.Runtime(log).deserialize_cuda_engine(plan)
    assert loaded is not None, log.said
    return loaded


def bound(cuda: Any, log: Any, **settings: Any) -> kit.Bound:
    return kit.Bound(cuda, kit.api("10.3.0"), engine(log), **settings).bind()


def same(seen: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return seen.keys() == wanted.keys() and all(np.array_equal(seen[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("version", kit.VERSIONS)
def test_an_engine_built_by_the_product_answers_as_openvino_does(driver: Any, version: str) -> None:
    name = "tensorrt_rtx" if version == "1.7.1" else "tensorrt"
    member = Member(name="a", file="a", architecture="x", input="heightmap", output="scores", classes=("a", "b"), embedding="embedding")
    with kit.primary(driver, kit.VERSIONS[version]) as cuda:
        trt_standin.configure(version)
        backend._load.cache_clear()
        data = build_engine(ONNX, member=member, shape=SHAPE, backend=name).data
        trt, log = kit.api(version), backend.load_backend(name).log
        work = kit.Bound(cuda, trt, trt.Runtime(log.logger).deserialize_cuda_engine(data)).bind()
        for seed in range(3):
            image = kit.noise(seed, SHAPE)
            assert same(work.ask(heightmap=image), kit.answers(ONNX, heightmap=image))
        work.close()
        assert (trt_standin.report().violations, trt_standin.report().leaks) == ((), ())
    trt_standin.configure("10.3.0")
    backend._load.cache_clear()


def test_nothing_runs_before_somebody_waits(gpu: Any, driver: Any, log: Any) -> None:
    work = bound(gpu, log)
    work.upload(heightmap=kit.noise(1, SHAPE))
    assert work.execute()
    work.download()
    assert trt_standin.report().executions == 0
    assert driver.counters().executed == 0
    assert (work.host["scores"] == 0.25).all()
    work.wait()
    assert trt_standin.report().executions == 1
    assert not (work.host["scores"] == 0.25).any()
    work.close()


@pytest.mark.parametrize("seed", range(6))
def test_executions_keep_the_order_of_their_streams(driver: Any, log: Any, seed: int) -> None:
    with kit.primary(driver, seed=seed) as cuda:
        works = [bound(cuda, log) for _ in range(3)]
        images = [kit.noise(i, SHAPE) for i in range(4)]
        sent = [cuda.pagelocked_empty((1, 1, *SHAPE), np.uint8) for _ in images]
        got = [[cuda.pagelocked_empty((1, 2), np.float32) for _ in works] for _ in images]
        for image, host, places in zip(images, sent, got, strict=True):
            host[...] = image
            for work, place in zip(works, places, strict=True):
                cuda.memcpy_htod_async(work.memory["heightmap"], host, work.stream)
                assert work.execute()
                cuda.memcpy_dtoh_async(place, work.memory["scores"], work.stream)
        for work in works:
            work.wait()
        for image, places in zip(images, got, strict=True):
            assert all(np.array_equal(place, kit.answers(ONNX, heightmap=image)["scores"]) for place in places)
        for work in works:
            work.close()
        assert trt_standin.report().violations == ()
        del sent, got, host, places, place


def test_a_graph_computes_what_lies_there_when_it_is_launched(gpu: Any, log: Any) -> None:
    work, graphs = bound(gpu, log), Graphs()
    work.ask(heightmap=kit.noise(0, SHAPE))
    graph = graphs.capture(work.stream, work.execute)
    assert graph is not None, graphs.reason
    assert trt_standin.report().executions == 1
    for seed in (5, 6):
        image = kit.noise(seed, SHAPE)
        work.upload(heightmap=image)
        graph.launch()
        work.download()
        assert same(work.wait(), kit.answers(ONNX, heightmap=image))
    assert (trt_standin.report().enqueued, trt_standin.report().executions) == (2, 3)
    graph.close()
    work.close()


def test_a_first_execution_cannot_be_captured(gpu: Any, log: Any) -> None:
    work, graphs = bound(gpu, log), Graphs()
    assert graphs.capture(work.stream, work.execute) is None
    assert "900" in log.errors()
    image = kit.noise(2, SHAPE)
    assert same(work.ask(heightmap=image), kit.answers(ONNX, heightmap=image))
    work.close()


def poll(*streams: Any) -> None:
    """Ask until all is done: every question lets one piece of work run, of this stream or another."""
    while not all([stream.is_done() for stream in streams]):  # noqa: C419 -- asks all of them each time
        pass


def overlapping(driver: Any, log: Any, *, shared: bool, seed: int) -> tuple[tuple[str, ...], bool]:
    """What is found when two engines run side by side, and whether their last answers are wrong."""
    with kit.primary(driver, seed=seed) as cuda:
        first = bound(cuda, log)
        second = bound(cuda, log, scratch=first.scratch if shared else None)
        for work in (first, second):
            work.upload(heightmap=kit.noise(1, SHAPE))
            assert all(work.execute() for _ in range(4))
            work.download()
        poll(first.stream, second.stream)
        found = trt_standin.report().violations
        truth = kit.answers(ONNX, heightmap=kit.noise(1, SHAPE))["scores"]
        spoiled = any(not np.array_equal(work.host["scores"], truth) for work in (first, second))
        if shared:
            second.scratch = None
        second.close()
        first.close()
        return found, spoiled


def test_scratch_memory_shared_by_overlapping_executions_shows(driver: Any, log: Any) -> None:
    found = [overlapping(driver, log, shared=True, seed=seed) for seed in SEEDS]
    assert any("scratch memory at the same time" in text for texts, _ in found for text in texts)
    assert any(spoiled for _, spoiled in found)
    assert not any(spoiled and not texts for texts, spoiled in found)
    assert all(overlapping(driver, log, shared=False, seed=seed) == ((), False) for seed in SEEDS)


def misuse(driver: Any, log: Any, seed: int, *, second_stream_runs: bool) -> tuple[str, ...]:
    """What is found when a second stream runs the same context, or writes its input, without waiting for the first."""
    with kit.primary(driver, seed=seed) as cuda:
        work = bound(cuda, log)
        work.ask(heightmap=kit.noise(1, SHAPE))
        assert all(work.execute() for _ in range(4))
        own, work.stream = work.stream, cuda.Stream(kit.NON_BLOCKING)
        assert work.execute() if second_stream_runs else work.upload(heightmap=kit.noise(2, SHAPE)) is None
        poll(own, work.stream)
        found = trt_standin.report().violations
        work.close()
        return found


def test_a_context_that_runs_twice_at_once_shows(driver: Any, log: Any) -> None:
    assert any("ran twice at the same time" in text for seed in SEEDS for text in misuse(driver, log, seed, second_stream_runs=True))


def test_an_input_that_changes_while_it_is_read_shows(driver: Any, log: Any) -> None:
    assert any("heightmap changed while it ran" in text for seed in SEEDS for text in misuse(driver, log, seed, second_stream_runs=False))


def test_an_input_freed_too_early_is_an_illegal_address(gpu: Any, driver: Any, log: Any) -> None:
    driver.expect_violations()
    work = bound(gpu, log)
    work.memory["heightmap"].free()
    assert work.execute()
    with pytest.raises(gpu.LogicError, match="illegal"):
        work.stream.synchronize()
    assert "heightmap does not lie in device memory" in trt_standin.report().violations[0]
    assert not work.execute()


def test_a_context_destroyed_before_its_work_ran_shows(gpu: Any, log: Any) -> None:
    work = bound(gpu, log)
    assert work.execute()
    work.context = None
    work.stream.synchronize()
    assert "when its context was destroyed" in trt_standin.report().violations[0]
    work.close()


def test_a_network_that_fails_inside_fails_on_the_device(gpu: Any, driver: Any, log: Any) -> None:
    driver.expect_violations()
    work = kit.Bound(gpu, kit.api("10.3.0"), engine(log, tiny.brittle_network())).bind()
    assert np.isfinite(work.ask(heightmap=np.full((1, 1, *SHAPE), 100, np.uint8))["scores"]).all()
    work.upload(heightmap=np.full((1, 1, *SHAPE), 250, np.uint8))
    assert work.execute()
    with pytest.raises(gpu.LaunchError):
        work.stream.synchronize()


def test_two_threads_in_one_context_show(gpu: Any, log: Any) -> None:
    work = bound(gpu, log)
    with work.context._alone("execute_async_v3"):
        thread = threading.Thread(target=lambda: work.context.set_tensor_address("scores", int(work.memory["scores"])))
        thread.start()
        thread.join()
    assert "set_tensor_address while another thread uses the context" in trt_standin.report().violations[0]
    work.close()


def test_execute_v2_takes_pointers_in_order_and_waits(gpu: Any, log: Any) -> None:
    work = bound(gpu, log)
    image = kit.noise(4, SHAPE)
    work.upload(heightmap=image)
    work.stream.synchronize()
    assert work.context.execute_v2([int(memory) for memory in work.memory.values()])
    work.download()
    assert same(work.wait(), kit.answers(ONNX, heightmap=image))
    work.close()


def test_memory_is_taken_from_the_device_and_given_back(gpu: Any, driver: Any, log: Any) -> None:
    before = driver.counters().live_allocations
    loaded = engine(log)
    weights = trt_standin.report().memory
    assert weights > 0
    context = loaded.create_execution_context()
    assert trt_standin.report().memory > weights + loaded.device_memory_size_v2
    assert driver.counters().live_allocations > before
    del context, loaded
    report = trt_standin.report()
    assert (report.memory, report.engines, report.contexts, report.leaks) == (0, 0, 0, ())
    assert report.peak_memory > weights
    assert driver.counters().live_allocations == before
    del gpu


def test_what_is_dropped_without_its_context_leaks(gpu: Any, driver: Any, log: Any) -> None:
    driver.expect_violations()
    loaded = engine(log)
    held = gpu.Context.get_current()
    held.pop()
    del loaded
    held.push()
    (leak,) = trt_standin.report().leaks
    assert leak.startswith("weights of an engine: ")
    assert leak.endswith("freed without their CUDA context being current")


def test_what_outlives_a_reset_is_counted_no_more(driver: Any, log: Any) -> None:
    with kit.primary(driver):
        old = engine(log)
    with kit.primary(driver):
        new = engine(kit.new_logger(kit.api("10.3.0")))
        before = trt_standin.report()
        del old
        assert trt_standin.report() == before
        del new
        assert (trt_standin.report().engines, trt_standin.report().memory, trt_standin.report().leaks) == (0, 0, ())
