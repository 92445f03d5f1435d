"""What the device adapter says when the GPU is missing, hangs, is sick or gone; and that it copies only where it must."""

from __future__ import annotations

import time
from itertools import chain, repeat
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from softcuda.control import Driver

from edge.errors import GpuError
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.leave import gave_up

pytestmark = pytest.mark.soft


def begun(device: Device) -> Any:
    """An event behind work that was not waited for."""
    stream, event, memory = device.stream(), device.event(), device.device_memory(4096)
    device.driver.memset_d32_async(memory.address, 0, 1024, stream)
    event.record(stream)
    return event


@pytest.mark.parametrize(("name", "shared"), [("orin", True), ("rtx4090", False), ("h100", False)])
def test_a_jetson_shares_its_memory_and_copies_nothing(driver: Driver, name: Any, shared: bool) -> None:
    driver.reset(device=name)
    device = Device()
    with device.current():
        stream, memory = device.stream(), device.shared_memory(64, np.uint8)
        memory.upload(stream)
        memory.download(stream)
        assert (device.integrated, device.zero_copy) == (shared, shared)
        device.settle()
    device.close()
    assert driver.counters().copies == (0 if shared else 2)


def test_no_gpu_is_said_with_where_to_look(driver: Driver) -> None:
    driver.reset(device="none")
    with pytest.raises(GpuError, match=r"the GPU cannot be used .*nvidia-smi"):
        Device()


def test_nothing_uses_the_default_stream_or_waits_for_the_device(driver: Driver) -> None:
    device = Device()
    with device.current():
        device.wait(begun(device), "a memset")
        counters = driver.counters()
        assert (counters.default_stream_uses, counters.device_syncs) == (0, 0)
    device.close()
    counters = driver.counters()
    assert counters.allocations == counters.frees
    assert counters.default_stream_uses == 0


def test_a_gpu_that_hangs_costs_the_deadline_and_no_more(driver: Driver) -> None:
    device = Device(timeout_ms=100.0)
    with device.current():
        event = begun(device)
        driver.hang()
        began = time.monotonic()
        with pytest.raises(GpuError, match=r"a memset does not finish on the GPU \(seen: nothing after 100 ms\)"):
            device.wait(event, "a memset")
        assert 0.1 <= time.monotonic() - began < 1.0
    frees = driver.counters().frees
    device.close()
    assert driver.counters().frees == frees
    assert gave_up()


def test_a_process_that_stood_still_looks_again_before_it_blames_the_gpu(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    device = Device(timeout_ms=100.0)
    with device.current():
        event = begun(device)
        clock = chain([0.0], repeat(10.0))
        monkeypatch.setattr("edge.inspector.cuda.device.time", SimpleNamespace(monotonic=lambda: next(clock), sleep=time.sleep))
        device.wait(event, "a memset")
    monkeypatch.undo()
    device.close()
    assert device.lost is None


def test_a_gpu_found_hanging_when_it_is_closed_is_given_up(driver: Driver) -> None:
    device = Device(timeout_ms=100.0)
    with device.current():
        begun(device)
    driver.hang()
    with pytest.raises(GpuError, match="the last work does not finish"):
        device.close()
    device.close()


@pytest.mark.parametrize(
    ("error", "words"), [(700, "illegal memory access"), (710, "assert"), (214, "ECC"), (719, "launch failure"), (716, "misaligned")]
)
def test_an_error_that_stays_wants_a_new_process(driver: Driver, error: int, words: str) -> None:
    device = Device()
    with device.current():
        event = begun(device)
        driver.sticky(error)
        with pytest.raises(GpuError, match=rf"(?i){words}.*Only a new process.*kernel log"):
            device.wait(event, "a memset")
    assert device.lost is not None
    device.close()


def test_a_gpu_that_is_gone_is_left_alone(driver: Driver) -> None:
    device = Device()
    with device.current():
        event = begun(device)
        driver.vanish()
        with pytest.raises(GpuError, match="Only a new process"):
            device.wait(event, "a memset")
    device.close()


def test_memory_that_is_full_says_so(driver: Driver) -> None:
    driver.memory_limit(64 << 20)
    device = Device()
    with device.current(), pytest.raises(GpuError, match=r"out of memory, \d+ of \d+ MiB free.*fewer typologies"):
        device.device_memory(65 << 20)
    device.close()
