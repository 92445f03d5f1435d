"""Stream capture on the software driver forbids what CUDA forbids, and graphs replay what was captured."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cuda.bindings import driver as bindings

pytestmark = pytest.mark.soft
GLOBAL, THREAD, RELAXED = bindings.CUstreamCaptureMode.__members__.values()
N = 64


def name(code: Any) -> str:
    return code.name.removeprefix("CUDA_ERROR_").removeprefix("STREAM_CAPTURE_").removeprefix("CUDA_")


class Bench:
    def __init__(self, cuda: Any) -> None:
        self.cuda = cuda
        self.stream, self.other, self.blocking = cuda.Stream(1), cuda.Stream(1), cuda.Stream()
        self.event, self.back = cuda.Event(), cuda.Event()
        self.memory = cuda.mem_alloc(N)
        self.host = cuda.pagelocked_empty(N, np.uint8)
        self.spare = cuda.mem_alloc(N)
        self.host[:] = 0

    def begin(self, stream: Any = None, mode: Any = THREAD) -> str:
        return name(bindings.cuStreamBeginCapture((stream or self.stream).handle, mode)[0])

    def end(self, stream: Any = None) -> tuple[str, Any]:
        code, graph = bindings.cuStreamEndCapture((stream or self.stream).handle)
        return name(code), graph

    def fill(self, value: int, stream: Any = None) -> None:
        self.cuda.memset_d8_async(self.memory, value, N, stream or self.stream)

    def fetch(self, stream: Any = None) -> None:
        self.cuda.memcpy_dtoh_async(self.host, self.memory, stream or self.stream)

    def ready(self, graph: Any) -> Any:
        code, executable = bindings.cuGraphInstantiate(graph, 0)
        assert name(code) == "SUCCESS"
        assert name(bindings.cuGraphDestroy(graph)[0]) == "SUCCESS"
        return executable

    def launch(self, executable: Any) -> None:
        assert name(bindings.cuGraphLaunch(executable, self.stream.handle)[0]) == "SUCCESS"

    def close(self) -> None:
        self.cuda.Context.synchronize()
        for part in (self.memory, self.spare, self.host.base):
            part.free()


@pytest.fixture
def bench(cuda: Any) -> Iterator[Bench]:
    made = Bench(cuda)
    yield made
    made.close()


def refused(work: Callable[[], object], bench: Bench) -> str:
    with pytest.raises(bench.cuda.LogicError) as caught:
        work()
    return str(caught.value).partition("failed: ")[2]


def test_captured_work_runs_at_every_launch_and_not_before(bench: Bench) -> None:
    assert bench.begin() == "SUCCESS"
    bench.fill(9)
    bench.fetch()
    state, graph = bench.end()
    assert state == "SUCCESS"
    executable = bench.ready(graph)
    bench.stream.synchronize()
    assert set(bench.host.tolist()) == {0}
    for _ in range(2):
        bench.launch(executable)
        bench.host[:] = 0
        bench.stream.synchronize()
        assert set(bench.host.tolist()) == {9}
    bindings.cuGraphExecDestroy(executable)


def test_a_graph_is_launched_in_stream_order(bench: Bench) -> None:
    bench.begin()
    bench.fetch()
    executable = bench.ready(bench.end()[1])
    for value in (4, 5):
        bench.fill(value)
        bench.launch(executable)
    bench.fill(6)
    bench.stream.synchronize()
    assert set(bench.host.tolist()) == {5}


def test_streams_forked_and_joined_by_events_become_one_graph(driver: Any, bench: Bench) -> None:
    for seed in range(6):
        driver.seed(seed)
        bench.begin()
        bench.fill(1)
        bench.event.record(bench.stream)
        bench.other.wait_for_event(bench.event)
        bench.fill(2, bench.other)
        bench.back.record(bench.other)
        bench.stream.wait_for_event(bench.back)
        bench.fetch()
        executable = bench.ready(bench.end()[1])
        bench.launch(executable)
        bench.stream.synchronize()
        assert set(bench.host.tolist()) == {2}
        bindings.cuGraphExecDestroy(executable)


def test_branches_without_an_edge_run_in_any_order(driver: Any, bench: Bench) -> None:
    seen = set()
    for seed in range(8):
        driver.seed(seed)
        bench.begin()
        bench.event.record(bench.stream)
        bench.other.wait_for_event(bench.event)
        bench.fill(1)
        bench.fill(2, bench.other)
        bench.back.record(bench.other)
        bench.stream.wait_for_event(bench.back)
        bench.fetch()
        executable = bench.ready(bench.end()[1])
        bench.launch(executable)
        bench.stream.synchronize()
        seen |= set(bench.host.tolist())
        bindings.cuGraphExecDestroy(executable)
    assert seen == {1, 2}


def test_a_branch_that_is_not_joined_ends_the_capture_in_an_error(bench: Bench) -> None:
    bench.begin()
    bench.event.record(bench.stream)
    bench.other.wait_for_event(bench.event)
    bench.fill(2, bench.other)
    state, graph = bench.end()
    assert state == "UNJOINED"
    assert graph is None
    bench.other.synchronize()


CAPTURING = "operation not permitted when stream is capturing"
FORBIDDEN: dict[str, tuple[Callable[[Bench], object], str]] = {
    "waiting for the stream": (lambda b: b.stream.synchronize(), CAPTURING),
    "asking for the stream": (lambda b: b.stream.is_done(), CAPTURING),
    "waiting for the device": (lambda b: b.cuda.Context.synchronize(), CAPTURING),
    "allocating": (lambda b: b.cuda.mem_alloc(16), CAPTURING),
    "pinning": (lambda b: b.cuda.pagelocked_empty(16, np.uint8), CAPTURING),
    "copying at once": (lambda b: b.cuda.memcpy_dtoh(np.zeros(N, np.uint8), b.memory), CAPTURING),
    "asking for an event outside": (lambda b: b.back.query(), CAPTURING),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_cuda_forbids_during_capture_is_refused_and_breaks_the_capture(bench: Bench, what: str) -> None:
    work, reason = FORBIDDEN[what]
    bench.begin()
    bench.fill(1)
    assert refused(lambda: work(bench), bench) == reason
    assert refused(lambda: bench.fill(2), bench) == "operation failed due to a previous error during capture"
    assert bench.end()[0] == "INVALIDATED"
    bench.fill(3)
    bench.fetch()
    bench.stream.synchronize()
    assert set(bench.host.tolist()) == {3}, "the stream works again"


def test_an_event_recorded_in_the_capture_cannot_be_asked(bench: Bench) -> None:
    bench.begin(mode=RELAXED)
    bench.event.record(bench.stream)
    assert "event last recorded in a capturing stream" in refused(bench.event.query, bench)
    assert bench.end()[0] == "INVALIDATED"


def test_a_captured_stream_cannot_wait_for_work_outside(bench: Bench) -> None:
    bench.event.record(bench.other)
    bench.begin()
    assert "dependency created on uncaptured work" in refused(lambda: bench.stream.wait_for_event(bench.event), bench)
    assert bench.end()[0] == "INVALIDATED"


def test_two_captures_cannot_be_joined(bench: Bench) -> None:
    bench.begin()
    bench.begin(bench.other)
    bench.event.record(bench.other)
    assert "merge of separate capture" in refused(lambda: bench.stream.wait_for_event(bench.event), bench)
    assert (bench.end()[0], bench.end(bench.other)[0]) == ("INVALIDATED", "INVALIDATED")


def test_pageable_memory_is_not_captured(driver: Any, bench: Bench) -> None:
    driver.expect_violations()
    bench.begin()
    assert refused(lambda: bench.cuda.memcpy_dtoh_async(np.zeros(N, np.uint8), bench.memory, bench.stream), bench) == CAPTURING
    assert bench.end()[0] == "INVALIDATED"


def test_the_default_stream_is_not_captured_and_not_used_beside_blocking_ones(bench: Bench) -> None:
    assert name(bindings.cuStreamBeginCapture(0, RELAXED)[0]) == "UNSUPPORTED"
    bench.begin(bench.blocking, RELAXED)
    assert "legacy stream" in refused(lambda: bench.cuda.memset_d8(bench.memory, 0, N), bench)
    assert bench.end(bench.blocking)[0] == "INVALIDATED"


def test_relaxed_capture_lets_memory_be_allocated(bench: Bench) -> None:
    bench.begin(mode=RELAXED)
    bench.cuda.mem_alloc(16).free()
    assert bench.end()[0] == "SUCCESS"


@pytest.mark.parametrize(("mode", "forbidden"), [(GLOBAL, True), (THREAD, False), (RELAXED, False)])
def test_only_a_global_capture_holds_other_threads_back(bench: Bench, mode: Any, *, forbidden: bool) -> None:
    context, errors = bench.cuda.Context.get_current(), []

    def allocate() -> None:
        context.push()
        try:
            bench.cuda.mem_alloc(16).free()
        except bench.cuda.LogicError as error:
            errors.append(str(error))
        context.pop()

    bench.begin(mode=mode)
    thread = threading.Thread(target=allocate)
    thread.start()
    thread.join()
    assert bool(errors) == forbidden
    assert bench.end()[0] == ("INVALIDATED" if forbidden else "SUCCESS")


def test_a_capture_ends_on_its_own_stream_and_thread(bench: Bench) -> None:
    assert bench.end()[0] == "ILLEGAL_STATE"
    bench.begin()
    assert bench.begin() == "ILLEGAL_STATE"
    context, states = bench.cuda.Context.get_current(), []

    def end() -> None:
        context.push()
        states.append(bench.end()[0])
        context.pop()

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    assert states == ["WRONG_THREAD"]
    assert bench.end()[0] == "SUCCESS"


def test_work_of_a_stand_in_is_captured(driver: Any, bench: Bench) -> None:
    from softcuda.control import SoftFunction  # noqa: PLC0415

    runs = []
    call = SoftFunction(lambda _: runs.append(len(runs)))
    bench.begin()
    assert driver.capturing(bench.stream.handle)
    driver.launch(bench.stream.handle, call)
    executable = bench.ready(bench.end()[1])
    assert not runs
    bench.launch(executable)
    bench.launch(executable)
    bench.stream.synchronize()
    assert runs == [0, 1]


def test_a_graph_that_uses_freed_memory_fails_as_on_a_gpu(driver: Any, cuda: Any) -> None:
    bench = Bench(cuda)
    driver.expect_violations()
    bench.begin()
    bench.cuda.memset_d8_async(bench.spare, 1, N, bench.stream)
    executable = bench.ready(bench.end()[1])
    bench.spare.free()
    bench.launch(executable)
    assert refused(bench.stream.synchronize, bench) == "an illegal memory access was encountered"
    assert "no memory that is allocated now" in driver.violations()[0]
