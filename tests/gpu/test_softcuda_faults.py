"""Faults of the software driver: errors that stay, work that hangs, a device that is gone; contexts end as CUDA's do."""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda.bindings import driver as bindings
from softcuda.env import soft_environment

pytestmark = pytest.mark.soft


def test_an_error_that_stays_answers_every_later_call(driver: Any, cuda: Any) -> None:
    stream, event = cuda.Stream(1), cuda.Event()
    event.record(stream)
    driver.sticky(700)
    for call in (stream.synchronize, stream.is_done, event.query, cuda.Context.synchronize, lambda: cuda.mem_alloc(16), cuda.mem_get_info):
        with pytest.raises(cuda.LogicError, match="illegal memory access"):
            call()


def test_work_that_fails_on_the_device_leaves_an_error_that_stays(driver: Any, cuda: Any) -> None:
    from softcuda.control import SoftFunction  # noqa: PLC0415

    stream = cuda.Stream(1)
    call = SoftFunction(lambda _: driver.fail_work(719))
    driver.broken = True
    assert driver.launch(stream.handle, call) == 0
    for _ in range(2):
        with pytest.raises(cuda.LaunchError, match="unspecified launch failure"):
            stream.synchronize()


def test_work_that_hangs_is_never_ready(driver: Any, cuda: Any) -> None:
    stream, event = cuda.Stream(1), cuda.Event()
    event.record(stream)
    driver.hang()
    assert not any(event.query() or stream.is_done() for _ in range(20))
    driver.hang(on=False)
    assert event.query()


def test_who_waits_for_work_that_hangs_waits_on(driver: Any, cuda: Any) -> None:
    stream, event = cuda.Stream(1), cuda.Event()
    event.record(stream)
    driver.hang()
    context, woken = cuda.Context.get_current(), []

    def wait() -> None:
        context.push()
        event.synchronize()
        woken.append(time.monotonic())
        context.pop()

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    released = time.monotonic()
    driver.hang(on=False)
    thread.join(10)
    assert woken[0] >= released


def test_a_free_on_a_device_that_hangs_is_named_instead_of_waiting(driver: Any, cuda: Any) -> None:
    driver.expect_violations()
    memory = cuda.mem_alloc(16)
    driver.hang()
    memory.free()
    assert driver.violations() == ["cuMemFree_v2 would wait for ever: the device hangs"]
    driver.hang(on=False)


def test_a_device_that_is_gone_answers_unknown_error(driver: Any, cuda: Any) -> None:
    stream = cuda.Stream(1)
    driver.vanish()
    for call in (stream.synchronize, lambda: cuda.mem_alloc(16), lambda: cuda.Device(0)):
        with pytest.raises(cuda.Error, match="unknown error"):
            call()


def test_a_machine_without_a_device(driver: Any) -> None:
    import pycuda.driver as cuda  # noqa: PLC0415

    driver.reset("none")
    with pytest.raises(cuda.RuntimeError, match="no CUDA-capable device"):
        cuda.init()


def test_one_call_can_be_made_to_fail(driver: Any, cuda: Any) -> None:
    driver.fail_next("cuMemAlloc_v2", 2, after=1)
    first = cuda.mem_alloc(16)
    with pytest.raises(cuda.MemoryError):
        cuda.mem_alloc(16)
    second = cuda.mem_alloc(16)
    first.free()
    second.free()


@pytest.mark.parametrize(
    ("device", "capability", "integrated", "version"),
    [("orin", (8, 7), 1, 12060), ("rtx4090", (8, 9), 0, 13000), ("h100", (9, 0), 0, 13000), ("rtx5090", (12, 0), 0, 13000)],
)
def test_devices_differ_as_the_real_ones_do(driver: Any, device: Any, capability: tuple[int, int], integrated: int, version: int) -> None:
    import pycuda.driver as cuda  # noqa: PLC0415

    driver.reset(device)
    cuda.init()
    found = cuda.Device(0)
    assert found.compute_capability() == capability
    assert found.get_attribute(cuda.device_attribute.INTEGRATED) == integrated
    assert cuda.get_driver_version() == version
    assert found.get_attribute(cuda.device_attribute.WARP_SIZE) == 32


def test_nothing_works_before_init(driver: Any) -> None:
    assert driver.library.cuCtxSynchronize() == 3
    assert driver.library.cuInit(0) == 0
    assert driver.library.cuCtxSynchronize() == 201, "no context is current"


def test_each_thread_has_a_stack_of_contexts_of_its_own(cuda: Any) -> None:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(int(bindings.cuCtxGetCurrent()[1])))
    thread.start()
    thread.join()
    assert seen == [0]
    assert int(bindings.cuCtxGetCurrent()[1]) == cuda.Context.get_current().handle


def test_handles_of_an_ended_context_are_refused(driver: Any) -> None:
    import pycuda.driver as cuda  # noqa: PLC0415

    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    context.push()
    code, stream = bindings.cuStreamCreate(1)
    assert code == bindings.CUresult.CUDA_SUCCESS
    context.pop()
    context.detach()
    again = cuda.Device(0).retain_primary_context()
    again.push()
    bindings.cuCtxPushCurrent(again.handle)
    assert bindings.cuStreamSynchronize(stream)[0] == bindings.CUresult.CUDA_ERROR_INVALID_HANDLE
    again.pop()
    again.detach()
    assert driver.counters().live_contexts == 0


def test_a_stream_belongs_to_the_context_it_was_made_in(cuda: Any) -> None:
    stream = cuda.Stream(1)
    other = cuda.Device(0).make_context()
    assert bindings.cuStreamSynchronize(stream.handle)[0] == bindings.CUresult.CUDA_ERROR_INVALID_HANDLE
    other.pop()
    other.detach()
    stream.synchronize()


def test_a_thread_that_ends_with_a_context_ends_the_process() -> None:
    code = """
import threading, pycuda.driver as cuda
cuda.init()
context = cuda.Device(0).retain_primary_context()
thread = threading.Thread(target=context.push)
thread.start()
thread.join()
print("reached")
"""
    done = subprocess.run([sys.executable, "-c", code], env=soft_environment(), capture_output=True, text=True, check=False)
    assert done.returncode < 0
    assert "context stack was not empty" in done.stderr


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("cuMemAlloc_v2:2:after=3", "4: cuMemAlloc failed: out of memory"),
        ("sticky:700:after=4", "4: cuStreamSynchronize failed: an illegal memory access was encountered"),
        ("vanish:after=2", "2: cuStreamSynchronize failed: unknown error"),
        ("vanish", "cuInit failed: no CUDA-capable device is detected"),
    ],
)
def test_faults_reach_another_process_through_its_environment(tmp_path: Path, fault: str, message: str) -> None:
    code = """
import pycuda.driver as cuda
try:
    cuda.init()
except cuda.Error as error:
    raise SystemExit(str(error))
context = cuda.Device(0).retain_primary_context()
context.push()
stream = cuda.Stream(1)
for count in range(1, 100):
    try:
        memory = cuda.mem_alloc(16)
        cuda.memset_d8_async(memory, 0, 16, stream)
        stream.synchronize()
        memory.free()
    except cuda.Error as error:
        print(f"{count}: {error}", flush=True)
        import os
        os._exit(1)
"""
    report = tmp_path / "report"
    environment = soft_environment(device="rtx4090", fault=fault, report=report)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout + done.stderr).strip() == message


def test_a_process_reports_what_it_did_wrong(tmp_path: Path) -> None:
    code = """
import numpy, pycuda.driver as cuda
cuda.init()
context = cuda.Device(0).retain_primary_context()
context.push()
memory, stream = cuda.mem_alloc(16), cuda.Stream(1)
cuda.memcpy_htod_async(memory, numpy.zeros(16, numpy.uint8), stream)
stream.synchronize()
memory.free()
context.pop()
"""
    report = tmp_path / "report"
    subprocess.run([sys.executable, "-c", code], env=soft_environment(report=report), check=True)
    text = report.read_text()
    assert text.startswith("violation: cuMemcpyHtoDAsync_v2: the host memory at ")
    assert "copies=1\n" in text


def test_functions_that_the_driver_lacks_say_so(driver: Any, cuda: Any) -> None:
    driver.expect_violations()
    with pytest.raises(cuda.LogicError, match="operation not supported"):
        cuda.managed_empty(16, np.uint8, mem_flags=1)
    assert driver.violations() == ["cuMemAllocManaged is not supported by the software driver"]


def test_a_driver_does_not_have_functions_newer_than_itself(driver: Any) -> None:
    import ctypes  # noqa: PLC0415

    def offered(version: int) -> int:
        driver.driver_version(version)
        found, status = ctypes.c_void_p(), ctypes.c_int()
        ask = driver.library.cuGetProcAddress_v2
        ask.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_void_p]
        ask(b"cuEventElapsedTime", ctypes.addressof(found), 13000, 0, ctypes.addressof(status))
        return found.value or 0

    older, newer = offered(12060), offered(13000)
    assert older
    assert newer
    assert older != newer
