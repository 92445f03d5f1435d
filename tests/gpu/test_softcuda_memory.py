"""Device memory of the software driver: poisoned, bounded, closed to the host, and limited."""

import os
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from cuda.bindings import driver as bindings
from softcuda.env import soft_environment

pytestmark = pytest.mark.soft


def test_addresses_are_aligned_as_cuda_aligns_them(cuda: Any) -> None:
    blocks = [cuda.mem_alloc(nbytes) for nbytes in (1, 255, 256, 257, 4096, 100_001)]
    assert [int(block) % 256 for block in blocks] == [0] * 6
    for block in blocks:
        block.free()


def test_fresh_memory_holds_poison(cuda: Any) -> None:
    memory, host = cuda.mem_alloc(100), np.zeros(100, np.uint8)
    pinned = cuda.pagelocked_empty(100, np.uint8)
    cuda.memcpy_dtoh(host, memory)
    assert set(host.tolist()) == set(pinned.tolist()) == {0xCB}
    memory.free()
    pinned.base.free()


@pytest.mark.parametrize(("offset", "nbytes"), [(0, 101), (1, 100), (100, 1), (0, 10_000)])
def test_a_copy_beyond_the_end_is_refused_and_named(driver: Any, cuda: Any, offset: int, nbytes: int) -> None:
    driver.expect_violations()
    memory = cuda.mem_alloc(100)
    with pytest.raises(cuda.LogicError, match="cuMemcpyHtoD failed: invalid argument"):
        cuda.memcpy_htod(int(memory) + offset, np.zeros(nbytes, np.uint8))
    assert f"{nbytes} bytes" in driver.violations()[0]
    assert "100 bytes allocated" in driver.violations()[0]
    memory.free()


def test_a_fill_beyond_the_end_is_refused(driver: Any, cuda: Any) -> None:
    driver.expect_violations()
    memory = cuda.mem_alloc(100)
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memset_d32(memory, 0, 26)
    memory.free()


def test_a_misaligned_fill_is_refused(cuda: Any) -> None:
    memory = cuda.mem_alloc(100)
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memset_d32(int(memory) + 2, 0, 1)
    memory.free()


def test_memory_cannot_be_used_after_it_was_freed(driver: Any, cuda: Any) -> None:
    driver.expect_violations()
    memory = cuda.mem_alloc(100)
    address = int(memory)
    memory.free()
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        cuda.memcpy_htod(address, np.zeros(4, np.uint8))
    assert driver.violations()[0].endswith("no device address any more")


def test_memory_that_queued_work_uses_cannot_be_freed_unnoticed(driver: Any, cuda: Any) -> None:
    driver.expect_violations()
    memory, stream = cuda.mem_alloc(100), cuda.Stream(1)
    cuda.memset_d8_async(memory, 0, 100, stream)
    memory.free()
    assert "queued work still uses" in driver.violations()[0]
    assert stream.is_done(), "the free waited"


def test_an_address_of_the_middle_is_none_to_free(driver: Any, cuda: Any) -> None:
    library, memory = driver.library, cuda.mem_alloc(100)
    import ctypes  # noqa: PLC0415

    library.cuMemFree_v2.argtypes = [ctypes.c_uint64]
    assert library.cuMemFree_v2(int(memory) + 1) == 1
    memory.free()


def test_memory_runs_out_at_the_limit_and_comes_back(driver: Any, cuda: Any) -> None:
    driver.memory_limit(1 << 20)
    memory = cuda.mem_alloc(1 << 19)
    assert cuda.mem_get_info() == (1 << 19, 8 << 30)
    with pytest.raises(cuda.MemoryError, match="out of memory"):
        cuda.mem_alloc((1 << 19) + 1)
    memory.free()
    cuda.mem_alloc((1 << 19) + 1).free()


def test_leaving_memory_behind_when_the_context_ends_is_named(driver: Any) -> None:
    import pycuda.driver as cuda  # noqa: PLC0415

    driver.expect_violations()
    cuda.init()
    context = cuda.Device(0).retain_primary_context()
    context.push()
    memory = cuda.mem_alloc(100)
    context.pop()
    context.detach()
    assert driver.violations() == ["the context ended with 1 allocations left, 100 bytes"]
    del memory


def test_pinned_memory_has_a_device_address(cuda: Any) -> None:
    pinned = cuda.pagelocked_empty(16, np.uint8, mem_flags=cuda.host_alloc_flags.DEVICEMAP)
    assert pinned.base.get_device_pointer() == pinned.ctypes.data
    pinned.base.free()


@pytest.mark.usefixtures("cuda")
def test_registered_memory_has_a_device_address_while_it_is_registered() -> None:
    # through cuda.bindings: PyCUDA 2026.1's register_host_memory ends the process with NumPy 2
    host = np.zeros(4096, np.uint8)
    assert bindings.cuMemHostGetDevicePointer(host.ctypes.data, 0)[0] == bindings.CUresult.CUDA_ERROR_INVALID_VALUE
    assert bindings.cuMemHostRegister(host.ctypes.data, 4096, 2)[0] == bindings.CUresult.CUDA_SUCCESS
    assert bindings.cuMemHostRegister(host.ctypes.data + 8, 8, 2)[0] == bindings.CUresult.CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED
    assert int(bindings.cuMemHostGetDevicePointer(host.ctypes.data, 0)[1]) == host.ctypes.data
    assert bindings.cuMemHostUnregister(host.ctypes.data)[0] == bindings.CUresult.CUDA_SUCCESS
    assert bindings.cuMemHostUnregister(host.ctypes.data)[0] == bindings.CUresult.CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED


def test_the_host_sees_mapped_memory_change_only_after_the_work_ran(cuda: Any) -> None:
    pinned, stream = cuda.pagelocked_empty(16, np.uint8, mem_flags=cuda.host_alloc_flags.DEVICEMAP), cuda.Stream(1)
    pinned[:] = 1
    cuda.memset_d8_async(pinned.base.get_device_pointer(), 2, 16, stream)
    assert set(pinned.tolist()) == {1}
    stream.synchronize()
    assert set(pinned.tolist()) == {2}
    pinned.base.free()


def test_a_host_that_reads_device_memory_crashes() -> None:
    code = """
import ctypes, pycuda.driver as cuda
cuda.init()
context = cuda.Device(0).retain_primary_context()
context.push()
memory = cuda.mem_alloc(100)
print(ctypes.c_uint8.from_address(int(memory)).value)
"""
    done = subprocess.run([sys.executable, "-c", code], env=soft_environment(), capture_output=True, check=False)
    assert done.returncode == -signal.SIGSEGV, done
    assert os.environ.get("SOFTCUDA_SEED") is None
