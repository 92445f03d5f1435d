"""The device adapter: one context for all threads, memory freed by name, waits that end, and errors that say what to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edge.errors import GpuError
from edge.inspector.cuda.device import Device
from edge.inspector.cuda.errors import translated


@pytest.fixture
def device() -> Iterator[Device]:
    device = Device()
    yield device
    device.close()


def test_it_tells_what_it_is(device: Device) -> None:
    assert device.name
    assert device.compute_capability >= (8, 0)
    assert device.driver_version >= (12, 0)
    assert device.multiprocessors > 0


def test_the_context_is_current_inside_and_only_there(device: Device) -> None:
    with device.current():
        with device.current():
            device.device_memory(16).free()
        device.device_memory(16).free()
    with pytest.raises(GpuError, match="invalid device context"):
        device.device_memory(16)


def test_an_exception_leaves_no_context_behind(device: Device) -> None:
    def body() -> None:
        with pytest.raises(ZeroDivisionError), device.current(), device.current():
            raise ZeroDivisionError
        with pytest.raises(GpuError, match="invalid device context"):
            device.device_memory(16)

    # A thread that ends with a context would end this process.
    threads = [threading.Thread(target=body) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_share_memory_streams_and_events(device: Device) -> None:
    failed: list[BaseException] = []
    with device.current():
        shared = device.shared_memory(64, np.uint8)

    def body(value: int) -> None:
        try:
            with device.current():
                stream, event = device.stream(), device.event()
                other = device.shared_memory(64, np.uint8)
                other.host[...] = value
                other.upload(stream)
                event.record(stream)
                device.wait(event, "a copy")  # it reads the host's side until then
                other.host[...] = 0
                other.download(stream)
                event.record(stream)
                device.wait(event, "a copy")
                assert device.zero_copy or (other.host == value).all()
                other.free()
        except BaseException as exc:  # noqa: BLE001 -- shown by the test
            failed.append(exc)

    threads = [threading.Thread(target=body, args=(value,)) for value in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    with device.current():
        shared.free()


@pytest.mark.parametrize("nbytes", [1, 255, 4096, 1 << 20])
def test_addresses_are_what_tensorrt_takes(device: Device, nbytes: int) -> None:
    with device.current():
        assert device.device_memory(nbytes).address % 256 == 0
        assert device.shared_memory(nbytes, np.uint8).address % 256 == 0


def test_memory_of_no_size_is_a_mistake(device: Device) -> None:
    with device.current():
        with pytest.raises(ValueError, match="0 bytes"):
            device.device_memory(0)
        with pytest.raises(ValueError, match="shape"):
            device.shared_memory((4, 0), np.float32)


@pytest.mark.parametrize("zero_copy", ["on", "off"])
def test_what_goes_up_comes_down(zero_copy: Any) -> None:
    device = Device(zero_copy=zero_copy)
    with device.current():
        stream, event = device.stream(), device.event()
        memory = device.shared_memory((4, 16), np.float32)
        assert device.zero_copy == (zero_copy == "on")
        memory.host[...] = np.arange(64).reshape(4, 16)
        memory.upload(stream)
        event.record(stream)
        device.wait(event, "the copy up")
        if not device.zero_copy:
            memory.host[...] = -1
        memory.download(stream, 64, offset=128)
        event.record(stream)
        device.wait(event, "the copy down")
        assert (memory.host[2] == np.arange(32, 48)).all()
        if not device.zero_copy:
            assert (memory.host[[0, 1, 3]] == -1).all()
    device.close()


def test_the_gpu_writes_what_the_cpu_then_reads(device: Device) -> None:
    with device.current():
        stream, event = device.stream(), device.event()
        memory = device.shared_memory(8, np.uint32)
        device.driver.memset_d32_async(memory.address, 7, 8, stream)
        memory.download(stream)
        event.record(stream)
        device.wait(event, "a memset")
        assert (memory.host == 7).all()


def test_events_give_milliseconds(device: Device) -> None:
    with device.current():
        stream, begin, end = device.stream(), device.event(timing=True), device.event(timing=True)
        begin.record(stream)
        end.record(stream)
        device.wait(end, "nothing")
        assert 0.0 <= end.time_since(begin) < 1000.0


def test_freeing_twice_is_freeing_once(device: Device) -> None:
    with device.current():
        for memory in (device.device_memory(16), device.shared_memory(16, np.uint8)):
            memory.free()
            memory.free()


def test_closing_is_for_good() -> None:
    device = Device()
    with device.current():
        device.stream(), device.event(), device.device_memory(16), device.shared_memory(4, np.float32)
    device.close()
    device.close()
    with pytest.raises(GpuError, match="the GPU was closed"), device.current():
        pass


def test_it_may_be_closed_with_its_context_current() -> None:
    device = Device()
    with device.current():
        device.device_memory(16)
        device.close()
    again = Device()
    with again.current():
        again.device_memory(16).free()
    again.close()


def test_kernels_that_do_not_load_name_the_gpu(device: Device) -> None:
    major, minor = device.compute_capability
    with device.current(), pytest.raises(GpuError, match=rf"kernels cannot be loaded on .*sm_{major}{minor}"):
        device.module(b"\x7fELF that is no cubin" + bytes(64))


def test_too_much_memory_says_how_much_there_is(device: Device) -> None:
    with device.current(), pytest.raises(GpuError, match=r"out of memory, \d+ of \d+ MiB free.*Stop other programs") as caught:
        device.device_memory(1 << 50)
    assert caught.value.__cause__ is not None


def test_errors_of_python_stay_what_they_are(device: Device) -> None:
    with device.current(), pytest.raises(KeyError), translated("anything"):
        raise KeyError


def test_a_wait_is_over_when_the_work_is(device: Device) -> None:
    with device.current():
        stream, event = device.stream(), device.event()
        memory = device.device_memory(1 << 20)
        device.driver.memset_d32_async(memory.address, 0, 1 << 18, stream)
        event.record(stream)
        began = time.monotonic()
        device.wait(event, "a memset", timeout_ms=5000)
        assert time.monotonic() - began < 4
        memory.free()
