"""What this box is: GPU, driver, CUDA and, on a Jetson, release and power mode, read without any package."""

from __future__ import annotations

import ctypes
import re
import subprocess
from pathlib import Path

import msgspec

from edge.engines.backend import Backend
from edge.engines.record import BoxFacts

_DRIVER = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
_TEGRA = Path("/etc/nv_tegra_release")
_VERSION = Path("/proc/driver/nvidia/version")
_NVPMODEL = ("nvpmodel", "/usr/sbin/nvpmodel")
"""An account without /usr/sbin on its PATH must find the same mode as root."""


class Gpu(msgspec.Struct, frozen=True):
    """The first CUDA device of this box."""

    name: str
    compute_capability: str
    cuda: str
    """The newest CUDA version that the driver speaks."""


def gpu() -> Gpu | None:
    """The GPU that engines will run on, or None where there is no usable driver or device."""
    try:
        cuda = ctypes.CDLL(_DRIVER)
        return _first(cuda)
    except (OSError, AttributeError):
        return None


def _first(cuda: ctypes.CDLL) -> Gpu | None:
    device, version, major, minor = (ctypes.c_int() for _ in range(4))
    name = ctypes.create_string_buffer(256)
    done = (
        cuda.cuInit(0) == 0
        and cuda.cuDeviceGet(ctypes.byref(device), 0) == 0
        and cuda.cuDeviceGetName(name, len(name), device) == 0
        and cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device) == 0
        and cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device) == 0
        and cuda.cuDriverGetVersion(ctypes.byref(version)) == 0
    )
    if not done:
        return None
    cuda_version = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return Gpu(name.value.decode(errors="replace"), f"{major.value}.{minor.value}", cuda_version)


def box_facts(backend: Backend) -> BoxFacts:
    """What engines built here and now depend on; the GPU at hand is left out where the backend builds for named targets."""
    if backend.targets:
        return BoxFacts(backend=backend.name, version=backend.version)
    device, l4t = gpu(), _first_line(_TEGRA)
    return BoxFacts(
        backend=backend.name,
        version=backend.version,
        gpu=device.name if device else None,
        compute_capability=device.compute_capability if device else None,
        cuda=device.cuda if device else None,
        # Orin's GPU driver is part of its release; the version told there is the display's, and only while its module is loaded.
        driver=_driver_version() if l4t is None else None,
        l4t=l4t,
        power_mode=_power_mode(),
    )


def difference(built: BoxFacts, here: BoxFacts) -> tuple[str, str | None, str | None] | None:
    """The first fact that differs: its name, what an engine was built for, and what is here; None where they agree."""
    for field in BoxFacts.__struct_fields__:
        there, now = getattr(built, field), getattr(here, field)
        if there != now:
            return field.replace("_", " "), there, now
    return None


def _driver_version() -> str | None:
    found = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", _first_line(_VERSION) or "")
    return found[1] if found else None


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").splitlines()[0].strip() or None
    except (OSError, IndexError):
        return None


def _power_mode() -> str | None:
    """What `nvpmodel -q` calls the mode, None where there is no nvpmodel."""
    for tool in _NVPMODEL:
        try:
            done = subprocess.run([tool, "-q"], capture_output=True, text=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        found = re.search(r"NV Power Mode:\s*(\S+)", done.stdout)
        return found[1] if found else None
    return None
