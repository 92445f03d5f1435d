"""Builds the shipped kernels: `python -m edge.inspector.heightmap.kernels.build`, on a machine with nvcc; no GPU is needed.

Two sets, because a driver loads no binary of a newer CUDA generation than its own: nvcc's, and that of CUDA 12.6 by NVRTC (a wheel,
installed into build/nvrtc), which a JetPack 6 box takes. The same source gives the same bytes.
"""

from __future__ import annotations

import ctypes
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edge.inspector.heightmap.cuda_kernels import SHIPPED, Binary, Index, source_sha256

ROOT = Path(__file__).resolve().parents[4]
REQUIREMENTS = ROOT / "requirements" / "cubins.txt"
NVRTC = ROOT / "build" / "nvrtc"
ARCHITECTURES = ("sm_86", "sm_87", "sm_89", "sm_90", "sm_120")
OLDER = ("sm_86", "sm_87", "sm_89", "sm_90", "compute_75")
"""What CUDA 12.6 knows of them, and PTX for every other GPU: newer drivers take it as well."""
SOURCE = SHIPPED.parent / "heightmap.cu"
FLAGS = ("-std=c++17", "-fmad=false")
"""Without fused multiply-add every operation is rounded by itself, as on the CPU."""
REPORT = ("-Xptxas", "-v")
"""A binary names the options it was made with, so it is always made with these."""


class BuildError(Exception):
    """The kernels cannot be built here, or do not compile."""


def main() -> int:
    """Build both sets and write the index. Prints one line per file."""
    try:
        binaries = [*_newest(), *_older()]
    except BuildError as exc:
        print(f"cubins: {exc}", file=sys.stderr)
        return 3
    wanted = {binary.file for binary in binaries} | {"index.json"}
    for left in [*SHIPPED.glob("*.cubin"), *SHIPPED.glob("*.ptx")]:
        if left.name not in wanted:
            left.unlink()
    index = Index(source_sha256=source_sha256(), binaries=tuple(binaries))
    (SHIPPED / "index.json").write_bytes(msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n")
    return 0


def _newest() -> Iterator[Binary]:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        raise BuildError("no nvcc on PATH: install the CUDA toolkit 13")
    for arch in ARCHITECTURES:
        yield _write(arch, nvcc_version(nvcc), compile_with_nvcc(nvcc, arch)[0])


def nvcc_version(nvcc: str) -> tuple[int, int]:
    """(13, 0) of CUDA 13.0."""
    found = re.search(r"release (\d+)\.(\d+)", subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout)
    assert found is not None
    return int(found[1]), int(found[2])


def compile_with_nvcc(nvcc: str, arch: str, *flags: str) -> tuple[bytes, str]:
    """The cubin for `arch`, and the compiler's report of registers and spills. Raises BuildError, also for a warning."""
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "cubin")
        command = [nvcc, *FLAGS, *flags, *REPORT, "-Werror", "all-warnings", f"-arch={arch}", "-cubin", "-o", str(cubin), SOURCE.name]
        done = subprocess.run(command, cwd=SOURCE.parent, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        if done.returncode or "warning" in said.lower():
            raise BuildError(f"nvcc for {arch}:\n{said}")
        return cubin.read_bytes(), said


def _older() -> Iterator[Binary]:
    compiler = _Nvrtc(_installed_nvrtc())
    for arch in OLDER:
        yield _write(arch, compiler.version, compiler.compile(arch))


def _installed_nvrtc() -> Path:
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists():
        raise BuildError(f"no {uv}: make .venv with ./bootstrap.sh")
    command = [str(uv), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(NVRTC)]
    subprocess.run([*command, "--require-hashes", "-r", str(REQUIREMENTS)], check=True)
    return next(NVRTC.glob("nvidia/cuda_nvrtc/lib/libnvrtc.so.*"))


class _Nvrtc:
    """The run-time compiler of one CUDA release, from its shared library."""

    def __init__(self, path: Path) -> None:
        for builtins in path.parent.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self._library = ctypes.CDLL(str(path))
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        self.version = major.value, minor.value

    def compile(self, arch: str) -> bytes:
        """The cubin, or the PTX of a `compute_` architecture; anything in the compiler's log is an error. Raises BuildError."""
        program = ctypes.c_void_p()
        self._check("nvrtcCreateProgram", ctypes.byref(program), SOURCE.read_bytes(), SOURCE.name.encode(), 0, None, None)
        options = [*FLAGS, f"--gpu-architecture={arch}", f"--include-path={SOURCE.parent}"]
        try:
            self._check("nvrtcCompileProgram", program, len(options), (ctypes.c_char_p * len(options))(*(o.encode() for o in options)))
        finally:
            log = self._get("nvrtcGetProgramLog", program).rstrip(b"\0 \n").decode()
            if log:
                print(log, file=sys.stderr)
        if log:
            raise BuildError(f"NVRTC for {arch} has something to say")
        if arch.startswith("compute_"):
            return self._get("nvrtcGetPTX", program).rstrip(b"\0")
        return self._get("nvrtcGetCUBIN", program)

    def _get(self, function: str, program: ctypes.c_void_p) -> bytes:
        size = ctypes.c_size_t()
        self._check(f"{function}Size", program, ctypes.byref(size))
        data = ctypes.create_string_buffer(size.value)
        self._check(function, program, data)
        return data.raw

    def _check(self, function: str, *arguments: Any) -> None:
        code = getattr(self._library, function)(*arguments)
        if code:
            raise BuildError(f"{function} gives error {code}")


def _write(arch: str, toolkit: tuple[int, int], data: bytes) -> Binary:
    name = f"cuda{toolkit[0]}_{arch}.{'ptx' if arch.startswith('compute_') else 'cubin'}"
    (SHIPPED / name).write_bytes(data)
    print(f"cubins: {name}: {len(data)} bytes, CUDA {toolkit[0]}.{toolkit[1]}", flush=True)
    return Binary(file=name, arch=arch, toolkit=toolkit, sha256=hashlib.sha256(data).hexdigest())


if __name__ == "__main__":
    raise SystemExit(main())
