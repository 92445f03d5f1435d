"""What a machine needs before the GPU can be tested on it, and the environment that its processes then run in."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOFTCUDA = ROOT / "tests" / "gpu" / "softcuda"
PYCUDA = ROOT / "build" / "pycuda-gpu"
REQUIREMENTS = ROOT / "requirements" / "pycuda.txt"
LONGEST_S = 3 * 3600.0
PACKAGES = ("edge", "numpy", "cv2", "msgspec", "openvino", "zmq", "serial", "cryptography", "pytest", "pytest_timeout")
UNPINNED = ROOT / "requirements" / "pycuda.in"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where the tools are, and whether the driver is the tests' software one."""

    nvcc: Path | None
    sanitizer: Path | None
    environment: dict[str, str]
    software: bool = False

    def follow(self, command: list[str], **more: str) -> tuple[int, str]:
        """Run a program and show what it says while it says it; its status and its words. One that takes hours is ended."""
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        said = []
        with subprocess.Popen(command, cwd=ROOT, env=self.environment | more, **how) as process:
            watchdog = threading.Timer(LONGEST_S, process.kill)
            watchdog.start()
            for line in process.stdout or ():
                print(line, end="", flush=True)
                said.append(line)
            watchdog.cancel()
        return process.returncode, "".join(said)

    def run(self, *words: str | Path, timeout_s: float = 600.0, **more: str) -> subprocess.CompletedProcess[str]:
        """This Python with `words` in the machine's environment, its output kept; a process that takes too long ends with status 124."""
        command = [sys.executable, *map(str, words)]
        try:
            return subprocess.run(
                command,
                cwd=ROOT,
                env=self.environment | more,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            said = exc.stdout.decode(errors="replace") if isinstance(exc.stdout, bytes) else exc.stdout or ""
            return subprocess.CompletedProcess(command, 124, f"{said}\nnothing more after {timeout_s:.0f} s", "")


def real_machine() -> Machine:
    """This machine with its own driver and toolkit; PyCUDA is found where `install_pycuda` puts it."""
    nvcc = tool("nvcc")
    paths = [str(PYCUDA), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(paths)}
    if nvcc is not None:
        root = toolkit(nvcc)  # PyCUDA looks for headers beside the first nvcc on PATH
        environment |= {"CUDA_ROOT": str(root), "PATH": f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    return Machine(nvcc=nvcc, sanitizer=tool("compute-sanitizer"), environment=environment)


def software_machine() -> Machine:
    """The software driver in the driver's place: shows that the script itself works, and nothing else."""
    sys.path.insert(0, str(SOFTCUDA))
    environment = importlib.import_module("env").soft_environment(device="h100")
    return Machine(nvcc=tool("nvcc"), sanitizer=tool("compute-sanitizer"), environment=environment, software=True)


def toolkit(nvcc: Path) -> Path:
    """The CUDA toolkit that `nvcc` belongs to; what is on PATH may be a script that calls another."""
    said = subprocess.run([str(nvcc), "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True, check=False)
    found = re.search(r"^#\$ TOP=(.+)$", said.stdout + said.stderr, re.MULTILINE)
    return Path(found[1]).resolve() if found else nvcc.resolve().parent.parent


def tool(name: str) -> Path | None:
    """A program of the CUDA toolkit: on PATH, in CUDA_HOME, or where the toolkit is installed by default."""
    found = shutil.which(name)
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), os.environ.get("CUDA_ROOT"), "/usr/local/cuda"]
    places = [Path(found)] if found else [Path(home) / "bin" / name for home in homes if home]
    return next((place for place in places if place.exists()), None)


def missing(machine: Machine) -> list[str]:
    """What has to be installed first, one sentence each."""
    lacks = [] if machine.software else _driver()
    if machine.nvcc is None:
        lacks.append("no nvcc: install the CUDA toolkit (JetPack: nvidia-jetpack) or set CUDA_HOME to it")
    elif not Path(toolkit(machine.nvcc), "include", "cuda.h").exists():
        lacks.append(f"no cuda.h in {toolkit(machine.nvcc) / 'include'}: install the CUDA toolkit's headers")
    packages = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if packages:
        lacks.append(f"Python packages are missing ({', '.join(packages)}): ./bootstrap.sh makes .venv, or install them")
    if shutil.which("g++") is None:
        lacks.append("no g++: apt install g++")
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        lacks.append(f"no Python.h in {sysconfig.get_path('include')}: apt install python3-dev")
    return lacks


def _driver() -> list[str]:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as exc:
        return [f"no NVIDIA driver ({exc}): install it; on a Jetson JetPack brings it"]
    if hasattr(cuda, "soft_reset"):
        return ["libcuda.so.1 is the software driver of the tests: unset LD_LIBRARY_PATH"]
    count = ctypes.c_int()
    code = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        return [f"the NVIDIA driver finds no GPU (error {code}): see nvidia-smi, and the groups video and render of this account"]
    return []


def install_pycuda(machine: Machine, wheels: Path | None) -> str:
    """PyCUDA compiled here against this toolkit, unless it is there already; says which. Raises `CannotBuild` of softcuda/build.py."""
    there = machine.run("-c", "import pycuda, pycuda.driver as d; print(pycuda.VERSION_TEXT, d.get_version(), pycuda.__file__)")
    if there.returncode == 0:
        return f"already here: {there.stdout.strip()}"
    sys.path.insert(0, str(SOFTCUDA))
    build = importlib.import_module("build")
    shutil.rmtree(PYCUDA, ignore_errors=True)
    with tempfile.TemporaryDirectory() as home:
        build.run(_install_command(wheels), machine.environment | _build_environment(Path(home)))
    done = machine.run("-c", "import pycuda, pycuda.driver as d; print(pycuda.VERSION_TEXT, d.get_version())")
    if done.returncode:
        raise build.CannotBuild(f"PyCUDA was built and cannot be imported: {done.stdout[-2000:]}")
    return f"built: {done.stdout.strip()}"


def _build_environment(home: Path) -> dict[str, str]:
    """What the compiler needs beside the toolkit: the driver under the name to link to, and headers that some toolkits leave out."""
    (home / ".aksetup-defaults.py").write_text("CUDA_ENABLE_CURAND = False\n")  # nothing here draws random numbers
    ctypes.CDLL("libcuda.so.1")
    loaded = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libcuda.so" in line)
    (home / "libcuda.so").symlink_to(loaded)
    cache = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")
    found = {"LIBRARY_PATH": str(home), "CPATH": str(SOFTCUDA / "include")}
    return found | {"HOME": str(home), "UV_CACHE_DIR": cache, "CFLAGS": "-w", "CXXFLAGS": "-w"}


def _install_command(wheels: Path | None) -> list[str]:
    uv = Path(sys.executable).parent / "uv"
    pip = [str(uv), "pip", "install", "--python", sys.executable] if uv.exists() else [sys.executable, "-m", "pip", "install"]
    command = [*pip, "--quiet", "--target", str(PYCUDA), "--no-build-isolation", "--no-binary", "pycuda"]
    if wheels is None:
        return [*command, "--require-hashes", "-r", str(REQUIREMENTS)]
    # A wheel made on another such machine is as good as the source, and has another hash.
    return [*command[:-2], "--no-index", "--find-links", str(wheels), "-r", str(UNPINNED)]
