"""Modules of the software driver: images are refused as a driver refuses them, and launches are checked against the compiled kernel."""

import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cuda.bindings import driver as bindings
from softcuda.control import KERNELS

pytestmark = pytest.mark.soft
N = 1000

KERNEL_SOURCE = """
#include <stddef.h>
#define KERNEL(name) \\
    void soft_kernel_##name(const void *params, size_t bytes, const unsigned grid[3], const unsigned block[3], unsigned shared)
typedef struct { float *values; int count; } Params;
static void work(const Params *p, unsigned threads, int first) {
    for (int i = 0; i < (int)threads && i < p->count; i++) p->values[i + first] *= 2;
}
KERNEL(twice) { work(params, grid[0] * block[0], 0); }
KERNEL(shifted) { work(params, grid[0] * block[0], 1); }
KERNEL(wild) { work(params, grid[0] * block[0], 1 << 20); }
"""
ENTRY = ".visible .entry {name}(\n  .param .u64 .ptr .align 4 {name}_param_0,\n  .param .u32 {name}_param_1\n)\n{{ ret; }}\n"


def ptx(*, version: str = "8.5", target: str = "sm_87") -> bytes:
    kernels = "".join(ENTRY.format(name=name) for name in ("twice", "shifted", "wild", "nowhere"))
    return f".version {version}\n.target {target}\n.address_size 64\n{kernels}".encode() + b"\0"


def cubin(*, arch: int, toolkit: int, machine: int = 190) -> bytes:
    """An ELF file with the header of that toolkit's cubins, holding the kernel `twice` without code."""
    names = b"\0.shstrtab\0.text.twice\0.nv.info.twice\0"
    arguments = b"".join(struct.pack("<BBHIHHI", 4, 0x17, 12, 0, n, 8 * n, nbytes << 18 | 0x1F000) for n, nbytes in enumerate((8, 4)))
    info = struct.pack("<BBH", 3, 0x19, 12) + arguments
    body = names + info
    ident = b"\x7fELF\x02\x01\x01" + (b"\x41\x08" if toolkit == 13 else b"\x33\x07") + bytes(7)
    flags = 0x6000004 | arch << 8 if toolkit == 13 else 0x500500 | arch | arch << 16
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 0, 64 + len(body), flags, 64, 56, 0, 64, 4, 1)
    sections = [(0, 0, 0), (1, 64, len(names)), (11, 64, 0), (23, 64 + len(names), len(info))]
    table = b"".join(struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, offset, size, 0, 0, 4, 0) for name, offset, size in sections)
    return header + body + table


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "kernels.c").write_text(KERNEL_SOURCE)
    compiler = shutil.which("gcc") or "gcc"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", folder / "kernels.so", folder / "kernels.c"], check=True)
    return folder / "kernels.so"


@pytest.fixture
def kernels(driver: Any, library: Path) -> Iterator[None]:
    driver.kernels(library)
    yield
    if KERNELS.exists():
        driver.kernels(KERNELS)


class Values:
    def __init__(self, cuda: Any) -> None:
        self.cuda, self.stream = cuda, cuda.Stream(1)
        self.host = np.arange(N, dtype=np.float32)
        self.memory = cuda.to_device(self.host)

    def fetch(self) -> np.ndarray:
        result = np.zeros(N, np.float32)
        self.cuda.memcpy_dtoh(result, self.memory)
        return result


@pytest.fixture
def values(cuda: Any, kernels: None) -> Iterator[Values]:  # noqa: ARG001 -- loaded for the launches
    made = Values(cuda)
    yield made
    made.memory.free()


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (cubin(arch=87, toolkit=13), "no kernel image is available"),
        (cubin(arch=89, toolkit=12), "no kernel image is available"),
        (cubin(arch=87, toolkit=12, machine=62), "device kernel image is invalid"),
        (ptx(version="9.0"), "unsupported toolchain"),
        (ptx(target="sm_90"), "no kernel image is available"),
        (b"no module at all\0", "PTX JIT compilation failed"),
        (b"\x01\x02\x03\x04\x05", "device kernel image is invalid"),
    ],
    ids=["newer file format", "other architecture", "other machine", "newer PTX", "PTX for a newer GPU", "text", "bytes"],
)
def test_a_driver_12_6_on_orin_refuses(cuda: Any, image: bytes, reason: str) -> None:
    with pytest.raises(cuda.Error, match=reason):
        cuda.module_from_buffer(image)


@pytest.mark.parametrize(("driver_version", "toolkit"), [(12060, 12), (13000, 12), (13000, 13)])
def test_a_driver_takes_files_of_its_own_toolkit_and_older(driver: Any, cuda: Any, driver_version: int, toolkit: int) -> None:
    driver.driver_version(driver_version)
    cuda.module_from_buffer(cubin(arch=87, toolkit=toolkit))


@pytest.mark.parametrize("image", [ptx(), cubin(arch=87, toolkit=12)], ids=["ptx", "cubin"])
@pytest.mark.usefixtures("kernels")
def test_a_launch_runs_the_kernel_compiled_for_the_cpu_and_runs_it_late(driver: Any, cuda: Any, image: bytes) -> None:
    values = Values(cuda)
    function = cuda.module_from_buffer(image).get_function("twice")
    function.prepare("Pi")
    function.prepared_async_call((4, 1), (256, 1, 1), values.stream, values.memory, N)
    function(values.memory, np.int32(N), block=(256, 1, 1), grid=(4, 1), stream=values.stream)
    assert driver.counters().executed == 0
    values.stream.synchronize()
    assert driver.counters().executed == driver.counters().launches == 2
    np.testing.assert_array_equal(values.fetch(), values.host * 4)
    values.memory.free()


def test_arguments_may_come_one_by_one(cuda: Any, values: Values) -> None:
    module = cuda.module_from_buffer(ptx())
    function = bindings.cuModuleGetFunction(bindings.cuModuleLoadData(ptx())[1], b"twice")[1]
    arguments = np.array([int(values.memory)], np.uint64), np.array([N], np.int32)
    addresses = np.array([argument.ctypes.data for argument in arguments], np.uint64)
    code = bindings.cuLaunchKernel(function, 4, 1, 1, 256, 1, 1, 0, values.stream.handle, addresses.ctypes.data, 0)
    assert code[0] == bindings.CUresult.CUDA_SUCCESS
    values.stream.synchronize()
    np.testing.assert_array_equal(values.fetch(), values.host * 2)
    del module


@pytest.mark.usefixtures("kernels")
def test_a_kernel_that_is_not_in_the_module_is_not_found(cuda: Any) -> None:
    with pytest.raises(cuda.LogicError, match="named symbol not found"):
        cuda.module_from_buffer(ptx()).get_function("absent")
    with pytest.raises(cuda.LogicError, match="named symbol not found"):
        cuda.module_from_buffer(cubin(arch=87, toolkit=12)).get_function("shifted")


@pytest.mark.usefixtures("kernels")
def test_a_kernel_without_a_counterpart_on_the_cpu_is_named(driver: Any, cuda: Any) -> None:
    driver.expect_violations()
    with pytest.raises(cuda.LogicError, match="named symbol not found"):
        cuda.module_from_buffer(ptx()).get_function("nowhere")
    assert "nowhere is in the module and not in the kernels compiled for the CPU" in driver.violations()[0]


@pytest.mark.parametrize("types", ["P", "Pii", "PP"])
def test_arguments_of_another_length_than_the_kernels_are_refused(driver: Any, cuda: Any, values: Values, types: str) -> None:
    driver.expect_violations()
    function = cuda.module_from_buffer(ptx()).get_function("twice")
    function.prepare(types)
    arguments = {"P": [values.memory], "Pii": [values.memory, N, 0], "PP": [values.memory, values.memory]}[types]
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        function.prepared_async_call((4, 1), (256, 1, 1), values.stream, *arguments)
    assert "takes 12 bytes of arguments" in driver.violations()[0]


@pytest.mark.parametrize(("grid", "block"), [((1, 1), (1025, 1, 1)), ((1, 1), (32, 33, 1)), ((0, 1), (1, 1, 1)), ((1, 65536), (1, 1, 1))])
def test_launches_that_no_gpu_takes_are_refused(cuda: Any, values: Values, grid: tuple[int, int], block: tuple[int, int, int]) -> None:
    function = cuda.module_from_buffer(ptx()).get_function("twice")
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        function(values.memory, np.int32(N), grid=grid, block=block, stream=values.stream)


def test_too_much_shared_memory_is_refused(cuda: Any, values: Values) -> None:
    function = cuda.module_from_buffer(ptx()).get_function("twice")
    with pytest.raises(cuda.LogicError, match="invalid argument"):
        function(values.memory, np.int32(N), grid=(1, 1), block=(1, 1, 1), shared=49153, stream=values.stream)


def test_a_kernel_that_writes_one_element_too_far_is_named(driver: Any, cuda: Any, values: Values) -> None:
    driver.expect_violations()
    function = cuda.module_from_buffer(ptx()).get_function("shifted")
    function(values.memory, np.int32(N), grid=(4, 1), block=(256, 1, 1), stream=values.stream)
    values.stream.synchronize()
    assert driver.violations()[0].startswith("shifted wrote behind the 4000 bytes allocated at ")


@pytest.mark.usefixtures("kernels")
def test_a_kernel_that_writes_elsewhere_loses_the_context(driver: Any, cuda: Any) -> None:
    driver.expect_violations()
    values = Values(cuda)
    function = cuda.module_from_buffer(ptx()).get_function("wild")
    function(values.memory, np.int32(N), grid=(4, 1), block=(256, 1, 1), stream=values.stream)
    for _ in range(2):
        with pytest.raises(cuda.LogicError, match="illegal memory access"):
            values.stream.synchronize()
    assert driver.violations()[0].startswith("wild touched ")


@pytest.mark.usefixtures("kernels")
def test_a_kernel_argument_into_freed_memory_loses_the_context(driver: Any, cuda: Any) -> None:
    driver.expect_violations()
    values = Values(cuda)
    address = int(values.memory)
    values.memory.free()
    function = cuda.module_from_buffer(ptx()).get_function("twice")
    function(np.uint64(address), np.int32(N), grid=(4, 1), block=(256, 1, 1), stream=values.stream)
    with pytest.raises(cuda.LogicError, match="illegal memory access"):
        values.stream.synchronize()
    assert "twice: a kernel argument (offset 0) points to no memory" in driver.violations()[0]


def test_captured_launches_keep_their_arguments(cuda: Any, values: Values) -> None:
    function = cuda.module_from_buffer(ptx()).get_function("twice")
    bindings.cuStreamBeginCapture(values.stream.handle, bindings.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
    function(values.memory, np.int32(N), grid=(4, 1), block=(256, 1, 1), stream=values.stream)
    graph = bindings.cuStreamEndCapture(values.stream.handle)[1]
    executable = bindings.cuGraphInstantiate(graph, 0)[1]
    bindings.cuGraphDestroy(graph)
    for _ in range(3):
        bindings.cuGraphLaunch(executable, values.stream.handle)
    values.stream.synchronize()
    np.testing.assert_array_equal(values.fetch(), values.host * 8)
    bindings.cuGraphExecDestroy(executable)
