"""What the machine is and how it runs right now: GPU, versions, clocks, temperature, power mode; whatever it does not tell is None."""

from __future__ import annotations

import ctypes
import importlib.metadata
import platform
import re
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from edge.engines.backend import BackendChoice, load_backend
from edge.errors import EngineError
from edge.inspector.cuda.device import Device

NOT_AVAILABLE = "not available"
SOFTWARE_DRIVER = "software driver"
_ASKED = ("driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "temperature.gpu", "power.draw", "pstate")
_TEGRASTATS = {"sm_mhz": r"GR3D_FREQ \d+%@\[?(\d+)", "memory_mhz": r"EMC_FREQ \d+%@(\d+)", "celsius": r"\bgpu@([\d.]+)C"}
_DEVFREQ = Path("/sys/class/devfreq")
_THERMAL = Path("/sys/class/thermal")
_TEGRA = Path("/etc/nv_tegra_release")
_PATIENCE_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What stays the same while measuring."""

    gpu: str
    compute_capability: str
    multiprocessors: int
    integrated: bool
    cuda: str
    """The newest CUDA that the driver speaks."""
    driver: str | None
    tensorrt: str
    """Name and version of the builder and runtime, or why there is none."""
    pycuda: str | None
    cuda_bindings: str | None
    software_driver: bool
    """Figures taken on the software CUDA driver of the tests say nothing of any GPU."""
    machine: str
    jetson: str | None


@dataclass(frozen=True, kw_only=True)
class State:
    """What changes: MHz, degrees Celsius, watts."""

    sm_mhz: float | None = None
    memory_mhz: float | None = None
    sm_mhz_max: float | None = None
    memory_mhz_max: float | None = None
    celsius: float | None = None
    watts: float | None = None
    performance_state: str | None = None
    power_mode: str | None = None
    told_by: str = "nothing here"


def read_facts(device: Device, choice: BackendChoice) -> Facts:
    """The facts of `device`, opened by the caller, and of the runtime `choice`."""
    software = is_software_driver()
    major, minor = device.compute_capability
    asked = _nvidia_smi(bus_id(device)) if not software else {}
    return Facts(
        gpu=f"{SOFTWARE_DRIVER} ({device.name})" if software else device.name,
        compute_capability=f"{major}.{minor}",
        multiprocessors=device.multiprocessors,
        integrated=device.integrated,
        cuda=".".join(map(str, device.driver_version)),
        driver=SOFTWARE_DRIVER if software else asked.get("driver_version"),
        tensorrt=_tensorrt(choice),
        pycuda=_pycuda(),
        cuda_bindings=_installed("cuda-bindings"),
        software_driver=software,
        machine=f"{platform.machine()}, {_processor()}, Linux {platform.release()}, Python {platform.python_version()}",
        jetson=_first_line(_TEGRA),
    )


def is_software_driver() -> bool:
    """Is libcuda.so.1 here the software driver of the tests? It alone has switches to make it fail."""
    try:
        return hasattr(ctypes.CDLL("libcuda.so.1"), "soft_reset")
    except OSError:
        return False


def bus_id(device: Device) -> str:
    """The GPU's place on the PCI bus: nvidia-smi counts GPUs in another order than CUDA may."""
    return str(device.driver.Device(0).pci_bus_id())


def read_state(bus: str | None) -> State:
    """Clocks and temperature now, from nvidia-smi, else tegrastats, else sysfs; `bus` is the GPU's, None for the software driver."""
    if bus is None:
        return State(told_by=SOFTWARE_DRIVER)
    asked = _nvidia_smi(bus)
    desktop = {name: asked.get(name) for name in ("clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "temperature.gpu")}
    if any(desktop.values()):
        return State(
            sm_mhz=_number(desktop["clocks.sm"]),
            memory_mhz=_number(desktop["clocks.mem"]),
            sm_mhz_max=_number(desktop["clocks.max.sm"]),
            memory_mhz_max=_number(desktop["clocks.max.mem"]),
            celsius=_number(desktop["temperature.gpu"]),
            watts=_number(asked.get("power.draw")),
            performance_state=asked.get("pstate"),
            power_mode=power_mode(),
            told_by="nvidia-smi",
        )
    return _jetson_state()


def parse_nvidia_smi(line: str) -> dict[str, str]:
    """`565.57, 210, [N/A], ...` in the order of the question; what is not known is left out."""
    values = [value.strip() for value in line.strip().split(",")]
    if len(values) != len(_ASKED):
        return {}
    return {name: value for name, value in zip(_ASKED, values, strict=True) if value and not value.startswith("[")}


def parse_tegrastats(line: str) -> dict[str, float]:
    """Clocks and temperature of the GPU in one line of tegrastats."""
    found = {name: re.search(pattern, line, re.IGNORECASE) for name, pattern in _TEGRASTATS.items()}
    return {name: float(match[1]) for name, match in found.items() if match}


def power_mode() -> str | None:
    """The name of a Jetson's power mode, None where there is no nvpmodel."""
    found = re.search(r"NV Power Mode:\s*(\S+)", _output("nvpmodel", "-q"))
    return found[1] if found else None


def rows(value: Facts | State) -> Iterable[tuple[str, str]]:
    """(name, what was seen) of every field, for people."""
    for field in fields(value):
        seen = getattr(value, field.name)
        yield field.name.replace("_", " "), NOT_AVAILABLE if seen is None else str(seen)


def _nvidia_smi(bus: str) -> dict[str, str]:
    return parse_nvidia_smi(_output("nvidia-smi", f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader,nounits", "-i", bus))


def _jetson_state() -> State:
    said = parse_tegrastats(_one_line("tegrastats", "--interval", "200"))
    teller = "tegrastats" if said else "sysfs"
    clocks = next((path for path in sorted(_DEVFREQ.glob("*")) if "gpu" in path.name or "ga10b" in path.name), _DEVFREQ / "none")
    return State(
        sm_mhz=said.get("sm_mhz") or _sysfs(clocks / "cur_freq", 1e6),
        sm_mhz_max=_sysfs(clocks / "max_freq", 1e6),
        memory_mhz=said.get("memory_mhz"),
        celsius=said.get("celsius") or _thermal_zone(),
        power_mode=power_mode(),
        told_by=teller if said or clocks.exists() else State.told_by,
    )


def _thermal_zone() -> float | None:
    for zone in sorted(_THERMAL.glob("thermal_zone*")):
        if "gpu" in (_first_line(zone / "type") or "").lower():
            return _sysfs(zone / "temp", 1e3)
    return None


def _sysfs(path: Path, unit: float) -> float | None:
    number = _number(_first_line(path))
    return None if number is None else number / unit


def _tensorrt(choice: BackendChoice) -> str:
    try:
        backend = load_backend(choice)
    except EngineError as exc:
        return f"{NOT_AVAILABLE}: {exc.what}" + ("" if exc.seen is None else f" ({exc.seen})")
    return f"{backend.name} {backend.version}"


def _pycuda() -> str | None:
    try:
        import pycuda  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - not everywhere
    except ImportError:
        return None
    return str(pycuda.VERSION_TEXT)


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    line = next((line for line in _read(Path("/proc/cpuinfo")).splitlines() if line.lower().startswith("model name")), "")
    return line.partition(":")[2].strip() or "processor unknown"


def _first_line(path: Path) -> str | None:
    lines = _read(path).splitlines()
    return (lines[0].strip("\0 \n") or None) if lines else None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _output(*command: str) -> str:
    return _patiently(lambda: subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False).stdout)


def _one_line(*command: str) -> str:
    """The first line of a program that never ends."""

    def first() -> str:
        quiet: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        with subprocess.Popen(["timeout", str(_PATIENCE_S), *command], **quiet) as process:
            assert process.stdout is not None
            line = str(process.stdout.readline())
            process.kill()
        return line

    return _patiently(first)


def _patiently(ask: Callable[[], str]) -> str:
    """What `ask` gives, nothing where the program is missing or does not answer."""
    try:
        return ask()
    except (OSError, subprocess.TimeoutExpired):
        return ""
