"""The software driver's switches, counters and findings, for tests in the same process."""

import ctypes
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

ROOT = Path(__file__).resolve().parents[3]
DRIVER = ROOT / "build" / "softcuda" / "libcuda.so.1"
KERNELS = Path(os.environ.get("SOFTCUDA_KERNELS") or ROOT / "build" / "softcuda" / "heightmap_cpu.so")
DeviceName = Literal["orin", "rtx4090", "h100", "rtx5090", "none"]
SoftFunction = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Counters(SimpleNamespace):
    """How often what happened since the last reset; the names are those of COUNTERS in internal.h."""

    def __sub__(self, earlier: "Counters") -> "Counters":
        return Counters(**{name: value - getattr(earlier, name) for name, value in vars(self).items()})

    def __getattr__(self, name: str) -> int:
        raise AttributeError(f"no counter {name}; there are {', '.join(vars(self))}")


class Driver:
    """The loaded libcuda.so.1. Loading it globally first makes PyCUDA, cuda.bindings and ctypes find this one by its name."""

    def __init__(self, path: Path = DRIVER) -> None:
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: run python tests/gpu/softcuda/build.py")
        self.library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        self.library.soft_counters.restype = ctypes.c_char_p
        self.library.soft_violations.restype = ctypes.c_char_p
        self.library.soft_reset.argtypes = [ctypes.c_char_p, ctypes.c_uint64]
        self.library.soft_seed.argtypes = [ctypes.c_uint64]
        self.library.soft_memory_limit.argtypes = [ctypes.c_uint64]
        self.library.soft_fail_next.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_uint64, ctypes.c_uint64]
        self.library.soft_range.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
        self.library.soft_capturing.argtypes = [ctypes.c_void_p]
        self.library.soft_launch.argtypes = [ctypes.c_void_p, SoftFunction, ctypes.c_void_p]
        self.expected = self.broken = False
        if KERNELS.exists():
            self.kernels(KERNELS)

    def reset(self, device: DeviceName = "orin", seed: int = 0) -> None:
        """A fresh machine: everything made before is gone, and handles to it are refused.

        The seed draws the order of late work; 0 runs only what is waited for, and each piece as late as can be.
        """
        if self.library.soft_reset(device.encode(), seed):
            raise ValueError(f"no device {device!r}")
        self.expected = self.broken = False

    def seed(self, seed: int) -> None:
        """Another order of late work from here on; nothing else changes."""
        self.library.soft_seed(seed)

    def driver_version(self, version: int) -> None:
        """CUDA version of the driver, 12060 for 12.6."""
        self.library.soft_driver_version(version)

    def memory_limit(self, nbytes: int) -> None:
        self.library.soft_memory_limit(nbytes)

    def fail_next(self, function: str, error: int, after: int = 0, times: int = 0) -> None:
        """After `after` more calls of `function` (as linked: cuMemAlloc_v2), the next `times` return `error` and do nothing.

        Once where `times` is not given, but twice for out of memory (2): PyCUDA then collects garbage and tries again.
        """
        if self.library.soft_fail_next(function.encode(), error, after, times or (2 if error == 2 else 1)):
            raise ValueError("too many faults at once")

    def fault(self, text: str) -> None:
        """Faults as SOFTCUDA_FAULT has them, joined by commas.

        "cuMemAlloc_v2:2:after=5": error 2 at the sixth call; "hang:after=100", "vanish:after=200", "sticky:700:after=50": as hang(),
        vanish() and sticky() do, once that many pieces of work have run on the device; at once without `after`.
        """
        self.broken = True
        if self.library.soft_fault(text.encode()):
            raise ValueError(f"fault {text!r} is not understood")

    def sticky(self, error: int) -> None:
        """The context is lost: every call that needs it returns `error` from now on."""
        self.broken = True
        self.library.soft_sticky(error)

    def hang(self, on: bool = True) -> None:
        """Queued work never finishes: queries say not ready, waits last until the process ends or hang(False)."""
        self.broken = True
        self.library.soft_hang(int(on))

    def vanish(self) -> None:
        """The device is gone: every call returns CUDA_ERROR_UNKNOWN (999), cuInit of a new process CUDA_ERROR_NO_DEVICE (100)."""
        self.broken = True
        self.library.soft_vanish()

    def counters(self) -> Counters:
        pairs = (line.split("=") for line in self.library.soft_counters().decode().split())
        return Counters(**{name: int(value) for name, value in pairs})

    def violations(self) -> list[str]:
        """What the program did wrong, in words; empty for a correct one."""
        return [line for line in self.library.soft_violations().decode(errors="replace").splitlines() if line]

    def expect_violations(self) -> None:
        """This test provokes violations or leaves memory behind on purpose: the check at its end leaves them alone."""
        self.expected = True

    def kernels(self, path: Path) -> None:
        """The kernels compiled for the CPU: a library that exports soft_kernel_NAME."""
        if self.library.soft_kernels(str(path).encode()):
            raise ValueError(f"{path} does not load: {self.violations()}")

    def launch(self, stream: int, function: "ctypes._FuncPointer", data: int = 0) -> int:
        """soft_launch: `function`, a SoftFunction that the caller keeps alive, as device work on the stream handle."""
        return int(self.library.soft_launch(stream, function, data))

    def fail_work(self, error: int) -> None:
        """Called by device work: it failed with this error."""
        self.library.soft_fail(error)

    def usable(self, address: int, nbytes: int) -> bool:
        """Whether these bytes lie in one live allocation."""
        return bool(self.library.soft_range(address, nbytes))

    def capturing(self, stream: int) -> bool:
        return bool(self.library.soft_capturing(stream))
