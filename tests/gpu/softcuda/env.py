"""The environment in which another process finds the software driver, PyCUDA and the TensorRT stand-in."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = ROOT / "build"


def _joined(first: list[Path], name: str) -> str:
    return os.pathsep.join([*map(str, first), *filter(None, [os.environ.get(name)])])


def soft_environment(
    *,
    device: str = "orin",
    seed: int = 0,
    fault: str = "",
    driver_version: int | None = None,
    memory_limit: int | None = None,
    report: Path | None = None,
    kernels: Path | None = None,
    **settings: str,
) -> dict[str, str]:
    """os.environ and what makes libcuda.so.1, pycuda and the stand-in tensorrt the software ones.

    `fault` is as in control.Driver.fault. `report` is a file to which violations are appended as they happen, and the counters when the
    process ends by itself. Further settings go into the environment as they are.
    """
    places = {
        "LD_LIBRARY_PATH": _joined([BUILD / "softcuda"], "LD_LIBRARY_PATH"),
        "PYTHONPATH": _joined([ROOT / "tests" / "gpu" / "standin", BUILD / "pycuda"], "PYTHONPATH"),
        "SOFTCUDA_DEVICE": device,
        "SOFTCUDA_SEED": str(seed),
        "SOFTCUDA_FAULT": fault,
        "SOFTCUDA_KERNELS": str(kernels or BUILD / "softcuda" / "heightmap_cpu.so"),
    }
    if driver_version is not None:
        places["SOFTCUDA_DRIVER_VERSION"] = str(driver_version)
    if memory_limit is not None:
        places["SOFTCUDA_MEMORY_LIMIT"] = str(memory_limit)
    if report is not None:
        places["SOFTCUDA_REPORT"] = str(report)
    return dict(os.environ) | places | settings
