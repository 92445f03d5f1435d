"""The shipped GPU kernels: built from the source that lies beside them, for the GPUs they name, and chosen by what the driver takes."""

from __future__ import annotations

import re
import shutil
import struct
from pathlib import Path

import pytest

from edge.errors import GpuError
from edge.inspector.heightmap import cuda_kernels
from edge.inspector.heightmap.cuda_kernels import NAMES, SHIPPED, Binary, Index, choose, read_binary, read_index, source_sha256
from edge.inspector.heightmap.kernels.build import ARCHITECTURES, BuildError, compile_with_nvcc, nvcc_version

INDEX = read_index()
CUBINS = [binary for binary in INDEX.binaries if not binary.portable]
TEXTS = [binary for binary in INDEX.binaries if binary.portable]


def architecture(cubin: bytes) -> int:
    """The sm of an ELF cubin: bits 8..15 of e_flags since ABI 8 (CUDA 13), the lowest byte before."""
    abi, flags = cubin[8], struct.unpack_from("<I", cubin, 48)[0]
    return int(flags >> 8 & 0xFF if abi >= 8 else flags & 0xFF)


def test_the_kernels_were_built_from_this_source() -> None:
    assert INDEX.source_sha256 == source_sha256(), "heightmap.cu or a part of it was changed: run `make cubins`"


def test_a_changed_source_is_noticed(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "kernels", ignore=shutil.ignore_patterns("*.cubin", "*.ptx"))
    shutil.copy(SHIPPED.parent / "heightmap.cu", tmp_path)
    assert source_sha256(tmp_path / "kernels") == INDEX.source_sha256
    with (tmp_path / "kernels" / "plane.cuh").open("a") as file:
        file.write("// another line\n")
    assert source_sha256(tmp_path / "kernels") != INDEX.source_sha256


def test_the_index_lists_exactly_what_is_shipped() -> None:
    assert {binary.file for binary in INDEX.binaries} == {path.name for path in SHIPPED.iterdir() if path.suffix in {".cubin", ".ptx"}}
    for binary in INDEX.binaries:
        read_binary(binary)


def test_every_gpu_meant_has_its_kernels() -> None:
    assert {binary.arch for binary in CUBINS if binary.toolkit[0] == 13} == {"sm_86", "sm_87", "sm_89", "sm_90", "sm_120"}
    assert {binary.arch for binary in CUBINS if binary.toolkit == (12, 6)} == {"sm_86", "sm_87", "sm_89", "sm_90"}


@pytest.mark.parametrize("binary", CUBINS, ids=lambda binary: binary.file)
def test_a_cubin_is_for_the_gpu_that_its_name_says(binary: Binary) -> None:
    data = read_binary(binary)
    assert data[:4] == b"\x7fELF"
    assert architecture(data) == binary.capability[0] * 10 + binary.capability[1]
    # A driver of CUDA 12 refuses ABI 8.
    assert data[8] == (8 if binary.toolkit[0] == 13 else 7)


@pytest.mark.parametrize("binary", INDEX.binaries, ids=lambda binary: binary.file)
def test_every_kernel_is_in_every_binary(binary: Binary) -> None:
    data = read_binary(binary)
    for name in NAMES:
        assert re.search(rb"\b" + name.encode() + rb"\b", data), name


@pytest.mark.parametrize("binary", TEXTS, ids=lambda binary: binary.file)
def test_ptx_fuses_nothing_and_runs_on_any_gpu_since_turing(binary: Binary) -> None:
    text = read_binary(binary).decode()
    assert ".target sm_75" in text
    assert not re.search(r"\b(fma|mad)\.[a-z.]*f(32|64)|approx|ftz", text)


@pytest.mark.parametrize(
    ("capability", "driver", "expected"),
    [
        ((8, 7), (12, 6), "cuda12_sm_87.cubin"),  # JetPack 6
        ((8, 7), (13, 2), "cuda13_sm_87.cubin"),  # JetPack 7
        ((8, 9), (12, 4), "cuda12_sm_89.cubin"),  # the driver is older than the toolkit, but of its generation
        ((8, 9), (13, 0), "cuda13_sm_89.cubin"),
        ((12, 0), (13, 0), "cuda13_sm_120.cubin"),
        ((12, 0), (12, 8), "cuda12_compute_75.ptx"),  # CUDA 12.6 does not know it
        ((8, 0), (12, 6), "cuda12_compute_75.ptx"),
        ((7, 5), (13, 0), "cuda12_compute_75.ptx"),
        ((11, 0), (14, 1), "cuda12_compute_75.ptx"),  # a GPU of the future
    ],
)
def test_the_newest_that_the_driver_takes_is_chosen(capability: tuple[int, int], driver: tuple[int, int], expected: str) -> None:
    assert choose(INDEX, capability, driver).file == expected


@pytest.mark.parametrize(("capability", "driver"), [((8, 7), (11, 8)), ((8, 0), (12, 5)), ((7, 2), (12, 6))])
def test_without_a_fitting_binary_the_error_names_gpu_and_driver(capability: tuple[int, int], driver: tuple[int, int]) -> None:
    with pytest.raises(GpuError, match=rf"sm_{capability[0]}{capability[1]} under CUDA {driver[0]}\.{driver[1]}.*shipped: .*sm_87"):
        choose(INDEX, capability, driver)


def test_an_altered_binary_is_refused(tmp_path: Path) -> None:
    binary = CUBINS[0]
    data = bytearray((SHIPPED / binary.file).read_bytes())
    data[-1] ^= 1
    (tmp_path / binary.file).write_bytes(data)
    with pytest.raises(GpuError, match="altered"):
        read_binary(binary, tmp_path)


def test_a_missing_binary_or_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(GpuError, match=re.escape(CUBINS[0].file)):
        read_binary(CUBINS[0], tmp_path)
    with pytest.raises(GpuError, match=r"index\.json"):
        read_index(tmp_path)


def test_launches_fit_the_source() -> None:
    source = (SHIPPED / "job.cuh").read_text()
    assert f"#define BLOCK {cuda_kernels.THREADS} " in source
    everything = "".join(path.read_text() for path in SHIPPED.glob("*.cuh"))
    assert set(re.findall(rf"__launch_bounds__\(BLOCK, {cuda_kernels.BLOCKS_PER_MULTIPROCESSOR}\) (\w+)\(Job", everything)) == set(NAMES)


def test_an_index_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"source_sha256": "", "binaries": [], "more": 1}')
    with pytest.raises(GpuError, match="cannot be read"):
        read_index(tmp_path)
    assert Index(source_sha256="", binaries=()) != INDEX


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_nvcc_compiles_without_a_warning_and_without_spilling_registers(arch: str) -> None:
    nvcc = shutil.which("nvcc")
    assert nvcc
    data, report = compile_with_nvcc(nvcc, arch)
    for binary in INDEX.binaries:
        if binary.arch == arch and binary.toolkit == nvcc_version(nvcc):
            assert data == read_binary(binary), "the same source and toolkit give the same bytes"
    spills = re.findall(r"(\d+) bytes spill stores, (\d+) bytes spill loads", report)
    assert len(spills) == len(NAMES)
    assert set(spills) == {("0", "0")}


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not on PATH")
def test_a_warning_ends_the_build() -> None:
    nvcc = shutil.which("nvcc")
    assert nvcc
    with pytest.raises(BuildError, match="nvcc for sm_87"):
        compile_with_nvcc(nvcc, "sm_87", "-DTILE_X=32")
