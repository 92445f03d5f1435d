"""Work on the software driver runs late, in stream order, and in no order beyond that."""

import time
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.soft
SEEDS = range(8)
N = 1024


class Line:
    """Copies in on one stream and out on another, by way of one device buffer."""

    def __init__(self, cuda: Any) -> None:
        self.cuda = cuda
        self.source = cuda.pagelocked_empty(N, np.uint8)
        self.result = cuda.pagelocked_empty(N, np.uint8)
        self.source[:] = 1
        self.result[:] = 0
        self.memory = cuda.mem_alloc(N)
        self.first, self.second = cuda.Stream(1), cuda.Stream(1)
        self.event = cuda.Event(cuda.event_flags.DISABLE_TIMING)

    def send(self, *, wait: bool) -> None:
        self.cuda.memcpy_htod_async(self.memory, self.source, self.first)
        self.event.record(self.first)
        if wait:
            self.second.wait_for_event(self.event)
        self.cuda.memcpy_dtoh_async(self.result, self.memory, self.second)

    def close(self) -> None:
        self.cuda.Context.synchronize()
        for part in (self.memory, self.source.base, self.result.base):
            part.free()


def sent(driver: Any, cuda: Any, *, wait: bool) -> set[int]:
    """The values that came out, over orders of execution."""
    seen = set()
    for seed in SEEDS:
        driver.seed(seed)
        line = Line(cuda)
        line.send(wait=wait)
        line.second.synchronize()
        seen |= set(line.result.tolist())
        line.close()
    return seen


def test_a_missing_wait_between_streams_shows(driver: Any, cuda: Any) -> None:
    assert sent(driver, cuda, wait=False) == {1, 0xCB}


def test_an_event_between_streams_orders_them_whatever_the_seed(driver: Any, cuda: Any) -> None:
    assert sent(driver, cuda, wait=True) == {1}


def test_nothing_runs_before_somebody_waits(cuda: Any) -> None:
    line = Line(cuda)
    line.send(wait=True)
    assert set(line.result.tolist()) == {0}
    line.close()


def test_a_buffer_filled_again_too_early_shows(cuda: Any) -> None:
    line = Line(cuda)
    line.send(wait=True)
    line.source[:] = 2
    line.second.synchronize()
    assert set(line.result.tolist()) == {2}
    line.close()


def test_each_question_lets_one_piece_of_work_run(cuda: Any) -> None:
    stream, memory = cuda.Stream(1), cuda.mem_alloc(N)
    done = cuda.Event()
    for _ in range(4):
        cuda.memset_d8_async(memory, 0, N, stream)
    done.record(stream)
    assert [done.query() for _ in range(5)] == [False, False, False, False, True]
    assert stream.is_done()
    memory.free()


def test_an_event_that_was_never_recorded_is_done(cuda: Any) -> None:
    assert cuda.Event().query()


def test_an_event_holds_for_what_it_was_recorded_behind(cuda: Any) -> None:
    line = Line(cuda)
    line.send(wait=True)
    cuda.memset_d8_async(line.memory, 5, N, line.first)
    line.event.synchronize()
    assert set(line.result.tolist()) == {0}, "the copy out is not behind the event"
    line.close()


def test_time_between_events_is_the_time_the_work_took(driver: Any, cuda: Any) -> None:
    from softcuda.control import SoftFunction  # noqa: PLC0415

    stream, start, end = cuda.Stream(1), cuda.Event(), cuda.Event()
    work = SoftFunction(lambda _: time.sleep(0.02))
    start.record(stream)
    driver.launch(stream.handle, work)
    end.record(stream)
    with pytest.raises(cuda.RuntimeError, match="device not ready"):
        start.time_till(end)
    end.synchronize()
    assert 19 < start.time_till(end) < 1000


def test_an_event_without_timing_has_no_time(cuda: Any) -> None:
    first, last = cuda.Event(cuda.event_flags.DISABLE_TIMING), cuda.Event(cuda.event_flags.DISABLE_TIMING)
    first.record()
    last.record()
    last.synchronize()
    with pytest.raises(cuda.LogicError, match="invalid resource handle"):
        first.time_till(last)


def test_a_blocking_stream_and_the_default_stream_wait_for_each_other(driver: Any, cuda: Any) -> None:
    driver.expect_violations()
    for seed in SEEDS:
        driver.seed(seed)
        memory, host, stream = cuda.mem_alloc(N), np.zeros(N, np.uint8), cuda.Stream()
        cuda.memset_d8_async(memory, 7, N, stream)
        cuda.memcpy_dtoh(host, memory)
        assert set(host.tolist()) == {7}
        memory.free()


def test_a_synchronous_copy_does_not_wait_for_a_non_blocking_stream(driver: Any, cuda: Any) -> None:
    driver.expect_violations()
    memory, host, stream = cuda.mem_alloc(N), np.zeros(N, np.uint8), cuda.Stream(1)
    cuda.memset_d8_async(memory, 7, N, stream)
    cuda.memcpy_dtoh(host, memory)
    assert set(host.tolist()) == {0xCB}
    assert "default stream while other streams have work" in driver.violations()[0]
    memory.free()


def test_default_stream_and_whole_device_waits_are_counted(driver: Any, cuda: Any) -> None:
    before, memory = driver.counters(), cuda.to_device(np.zeros(4, np.uint8))
    cuda.Context.synchronize()
    after = driver.counters() - before
    assert (after.default_stream_uses, after.synchronous_copies, after.copied_bytes) == (1, 1, 4)
    assert after.device_syncs == 1
    memory.free()
    assert (driver.counters() - before).device_syncs == 2, "a free waits for the device too"


def test_pageable_memory_in_an_asynchronous_copy_is_named(driver: Any, cuda: Any) -> None:
    driver.expect_violations()
    memory, stream, host = cuda.mem_alloc(N), cuda.Stream(1), np.zeros(N, np.uint8)
    cuda.memcpy_htod_async(memory, host, stream)
    assert "not pinned" in driver.violations()[0]
    host[:] = 3
    cuda.memcpy_dtoh_async(host, memory, stream)
    stream.synchronize()
    assert set(host.tolist()) == {3}, "what the host holds when the copy runs is what arrives"
    memory.free()


def test_stream_work_of_a_stand_in_runs_in_order_and_sees_device_memory(driver: Any, cuda: Any) -> None:
    from softcuda.control import SoftFunction  # noqa: PLC0415

    line = Line(cuda)
    seen = []

    @SoftFunction
    def double(_: int) -> None:
        import ctypes  # noqa: PLC0415

        values = np.ctypeslib.as_array((ctypes.c_uint8 * N).from_address(int(line.memory)))
        seen.append(driver.usable(int(line.memory), N))
        values *= 2

    cuda.memcpy_htod_async(line.memory, line.source, line.first)
    assert driver.launch(line.first.handle, double) == 0
    cuda.memcpy_dtoh_async(line.result, line.memory, line.first)
    assert not seen
    line.first.synchronize()
    assert seen == [True]
    assert set(line.result.tolist()) == {2}
    line.close()


def test_device_work_may_not_call_cuda(driver: Any, cuda: Any) -> None:
    from softcuda.control import SoftFunction  # noqa: PLC0415

    driver.expect_violations()
    stream, refused = cuda.Stream(1), []

    @SoftFunction
    def greedy(_: int) -> None:
        try:
            cuda.mem_alloc(16)
        except cuda.Error as error:
            refused.append(str(error))

    driver.launch(stream.handle, greedy)
    stream.synchronize()
    assert refused == ["cuMemAlloc failed: operation not permitted"]
    assert driver.violations() == ["cuMemAlloc_v2 called from inside device work"]
