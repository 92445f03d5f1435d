"""Builds the software driver, the kernels for the CPU and PyCUDA into build/, each when its inputs changed; exits with 3 when it cannot."""

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import surface  # noqa: E402 -- stands beside this file

ROOT = HERE.parents[2]
BUILD = ROOT / "build"
DRIVER = BUILD / "softcuda" / "libcuda.so.1"
KERNELS = BUILD / "softcuda" / "heightmap_cpu.so"
PYCUDA = BUILD / "pycuda"
REQUIREMENTS = ROOT / "requirements" / "pycuda.txt"
HEIGHTMAP = ROOT / "edge" / "inspector" / "heightmap" / "heightmap.cu"
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations", "-Wno-clobbered"]


class CannotBuild(Exception):  # noqa: N818 -- a statement, not an error of the program
    """Something that the build needs is missing on this machine."""


def say(text: str) -> None:
    print(f"softcuda: {text}", flush=True)


def headers() -> Path:
    """The folder with cuda.h: torch's wheels bring one; else the toolkit's."""
    wheels = Path(sysconfig.get_path("purelib")) / "nvidia"
    toolkit = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    nvcc = shutil.which("nvcc")
    places = [*sorted(wheels.glob("*/include")), Path(toolkit) / "include"]
    if nvcc:
        places.append(Path(nvcc).resolve().parent.parent / "include")
    for place in places:
        if (place / "cuda.h").exists():
            return place
    raise CannotBuild("no cuda.h: install the wheel nvidia-cuda-runtime into .venv, or set CUDA_HOME to a CUDA toolkit")


def need(program: str, package: str) -> str:
    found = shutil.which(program)
    if not found:
        raise CannotBuild(f"no {program} on PATH (Debian and Ubuntu: apt install {package})")
    return found


def digest(paths: Iterable[Path], *words: str) -> str:
    value = hashlib.sha256("\0".join(words).encode())
    for path in sorted(paths):
        value.update(path.name.encode() + b"\0" + path.read_bytes())
    return value.hexdigest()


def once(target: Path, stamp: str, what: str, build: Callable[[], None]) -> None:
    """Run `build` unless `target` was made by it from the same inputs."""
    mark = BUILD / "softcuda" / f"{target.name}.stamp"
    if target.exists() and mark.exists() and mark.read_text() == stamp:
        say(f"{what}: up to date")
        return
    say(f"{what}: building {target.relative_to(ROOT)} ...")
    start = time.monotonic()
    mark.unlink(missing_ok=True)
    build()
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(stamp)
    say(f"{what}: built in {time.monotonic() - start:.0f} s")


def run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"{command[0]} failed ({done.returncode}):\n{done.stdout[-4000:]}{done.stderr[-8000:]}")


def driver(include: Path) -> None:
    sources = sorted(HERE.glob("*.c"))
    compiler = need("gcc", "gcc")

    def build() -> None:
        generated = DRIVER.parent
        generated.mkdir(parents=True, exist_ok=True)
        done = surface.implemented(sources)
        (generated / "entries.inc").write_text(surface.entries(done))
        (generated / "unsupported.c").write_text(surface.unsupported((include / "cuda.h").read_text(), done))
        flags = ["-std=gnu11", "-O1", "-g", "-fPIC", "-shared", "-fvisibility=hidden", "-U_FORTIFY_SOURCE", "-D_GNU_SOURCE", *WARNINGS]
        fresh = DRIVER.with_suffix(".new")
        files = [*map(str, sources), str(generated / "unsupported.c")]
        folders = [f"-I{generated}", f"-I{HERE}", f"-isystem{include}"]
        run([compiler, *flags, *folders, "-Wl,-soname,libcuda.so.1", "-o", str(fresh), *files, "-ldl", "-lpthread"])
        fresh.replace(DRIVER)
        link = DRIVER.with_suffix("")
        link.unlink(missing_ok=True)
        link.symlink_to(DRIVER.name)

    once(DRIVER, digest([*sources, *HERE.glob("*.h"), HERE / "surface.py", include / "cuda.h"]), "driver", build)


def kernels() -> None:
    source = HERE / "kernels.cpp"
    if not source.exists() or not HEIGHTMAP.exists():
        say(f"kernels: left out, there is no {source.relative_to(ROOT)} or no {HEIGHTMAP.relative_to(ROOT)} yet")
        return
    compiler = need("g++", "g++")
    flags = ["-std=c++17", "-O2", "-g", "-fPIC", "-shared", "-ffp-contract=off", "-U_FORTIFY_SOURCE", *WARNINGS, "-Wno-unknown-pragmas"]

    def build() -> None:
        fresh = KERNELS.with_suffix(".new")
        run([compiler, *flags, f"-I{HERE}", f"-I{HEIGHTMAP.parent}", "-o", str(fresh), str(source)])
        fresh.replace(KERNELS)

    inputs = [source, *HERE.glob("shim*.h"), *HEIGHTMAP.parent.glob("**/*.cu"), *HEIGHTMAP.parent.glob("**/*.cuh")]
    once(KERNELS, digest(inputs, *flags), "kernels", build)


def pycuda(include: Path) -> None:
    need("g++", "g++")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        raise CannotBuild(f"no Python.h in {sysconfig.get_path('include')} (Debian and Ubuntu: apt install python3-dev)")
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists():
        raise CannotBuild(f"no {uv}: make .venv with ./bootstrap.sh")

    def build() -> None:
        shutil.rmtree(PYCUDA, ignore_errors=True)
        with tempfile.TemporaryDirectory() as home:
            Path(home, ".aksetup-defaults.py").write_text("CUDA_ENABLE_CURAND = False\n")  # nothing here draws random numbers
            environment = dict(os.environ) | {
                "HOME": home,
                "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config"),  # uv's own settings stay in force
                "CPATH": f"{include}{os.pathsep}{HERE / 'include'}",
                "LIBRARY_PATH": str(DRIVER.parent),
                "CFLAGS": "-O0 -g0 -w",
                "CXXFLAGS": "-O0 -g0 -w",
            }
            command = [str(uv), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(PYCUDA), "--no-build-isolation"]
            run([*command, "--no-binary", "pycuda", "--no-cache", "--require-hashes", "-r", str(REQUIREMENTS)], environment)

    stamp = digest([REQUIREMENTS, include / "cuda.h"], sys.version, sysconfig.get_platform())
    once(PYCUDA, stamp, "PyCUDA (about a minute)", build)


def main() -> int:
    try:
        include = headers()
        say(f"CUDA headers: {include}")
        driver(include)
        pycuda(include)
        kernels()
    except CannotBuild as reason:
        say(f"not built: {reason}")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
