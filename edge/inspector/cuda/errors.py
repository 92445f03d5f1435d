"""What CUDA's errors mean for the box: each becomes a GpuError with the driver's words and what to do about it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

from edge.errors import GpuError

RESTART = "Only a new process can use the GPU again: the service manager starts the inspector anew, and until then every weld is rejected"
NO_GPU = "Look for the GPU with nvidia-smi (Jetson: tegrastats), for its driver, and for the service user's groups video and render"
OUT_OF_MEMORY = "Stop other programs that hold GPU memory, load fewer typologies, or use smaller heightmaps"
_SICK = f"{RESTART}. If it returns, look for Xid or nvgpu lines in the kernel log and test the GPU's memory"
_BUILD = "Run `make cubins` of this release, or install the release made for this GPU and driver"
_REMEDIES = (
    ("out of memory", OUT_OF_MEMORY),
    ("no cuda-capable device", NO_GPU),
    ("invalid device ordinal", NO_GPU),
    ("busy or unavailable", f"{NO_GPU}; another process may hold it in exclusive mode"),
    ("insufficient", "Install the NVIDIA driver that docs/engines.md names, or JetPack 6.1 or newer"),
    ("stub library", "Take the toolkit's lib64/stubs out of LD_LIBRARY_PATH: it hides the driver's own libcuda.so.1"),
    ("driver", "Install the NVIDIA driver that docs/engines.md names, and restart the machine after an update"),
    ("no kernel image", _BUILD),
    ("kernel image is invalid", _BUILD),
    ("ptx", _BUILD),
    ("ecc error", _SICK),
    ("illegal", _SICK),
    ("misaligned", _SICK),
    ("assert", _SICK),
    ("launch failure", _SICK),
    ("timed out", _SICK),
)
"""What the driver's text says (in lower case) and the remedy; the first that fits counts, and RESTART where none does."""

_Kinds: TypeAlias = "tuple[type[Exception], ...]"


def cuda_errors() -> _Kinds:
    """The one class that all of PyCUDA's errors have in common, none of them a built-in one; none before PyCUDA is loaded."""
    driver: Any = sys.modules.get("pycuda.driver")
    return () if driver is None else (driver.Error,)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Every error of PyCUDA inside becomes a GpuError that `what` could not be done."""
    try:
        yield
    except cuda_errors() as exc:
        raise gpu_error(what, str(exc)) from exc


def gpu_error(what: str, text: str) -> GpuError:
    """The error to raise for the driver's `text`, such as `cuMemAlloc failed: out of memory`."""
    seen = " ".join(text.split())[:300]
    lower = seen.lower()
    remedy = next((remedy for sign, remedy in _REMEDIES if sign in lower), RESTART)
    if "out of memory" in lower:
        seen += free_memory()
    return GpuError(what, seen=seen, remedy=remedy)


def free_memory() -> str:
    """`, 120 of 7620 MiB free` where the driver still answers, otherwise nothing."""
    driver: Any = sys.modules.get("pycuda.driver")
    if driver is not None:
        with suppress(driver.Error):
            free, total = driver.mem_get_info()
            return f", {free >> 20} of {total >> 20} MiB free"
    return ""
