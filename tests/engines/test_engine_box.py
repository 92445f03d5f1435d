import shutil
import subprocess
from pathlib import Path

import pytest

from edge.engines import box
from edge.engines.backend import Backend

DRIVER = """
#include <string.h>
int cuInit(unsigned f) { return %d; }
int cuDeviceGet(int *d, int i) { *d = 0; return 0; }
int cuDeviceGetName(char *n, int l, int d) { strncpy(n, "Orin (nvgpu)", l); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 8 : a == 76 ? 7 : -1; return 0; }
int cuDriverGetVersion(int *v) { *v = 12060; return 0; }
"""


def driver(folder: Path, answer: int) -> str:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile a CUDA driver with")
    source, library = folder / "cuda.c", folder / "libcuda.so.1"
    source.write_text(DRIVER % answer)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return str(library)


def module(folder: Path, told: str) -> Path:
    """What the kernel's module says of itself."""
    path = folder / "version"
    path.write_text(f"NVRM version: {told}\nGCC version:  gcc version 12.3.0\n")
    return path


def test_the_gpu_is_read_from_the_cuda_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "_DRIVER", driver(tmp_path, 0))
    assert box.gpu() == box.Gpu("Orin (nvgpu)", "8.7", "12.6")


def test_a_driver_without_a_device_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "_DRIVER", driver(tmp_path, 100))
    assert box.gpu() is None


def test_no_driver_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box, "_DRIVER", "libno-such-driver.so.1")
    assert box.gpu() is None


def test_a_jetson_tells_its_release_and_power_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rtx: Backend) -> None:
    (tmp_path / "release").write_text("# R36 (release), REVISION: 4.3\nmore\n")
    tool = tmp_path / "nvpmodel"
    tool.write_text("#!/bin/sh\necho 'NV Power Mode: MAXN_SUPER'; echo 2\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(box, "_TEGRA", tmp_path / "release")
    monkeypatch.setattr(box, "_VERSION", module(tmp_path, "NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release Build"))
    monkeypatch.setattr(box, "_DRIVER", driver(tmp_path, 0))
    facts = box.box_facts(Backend("tensorrt", "10.3.0", rtx.trt, rtx.log, ()))
    assert (facts.l4t, facts.power_mode, facts.gpu, facts.cuda) == ("# R36 (release), REVISION: 4.3", "MAXN_SUPER", "Orin (nvgpu)", "12.6")
    assert facts.driver is None, "the display's module comes and goes with the desktop"


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ("NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024", "535.183.01"),
        ("NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder@U22)", "580.65.06"),
    ],
)
def test_a_pc_tells_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rtx: Backend, told: str, version: str) -> None:
    monkeypatch.setattr(box, "_TEGRA", tmp_path / "none")
    monkeypatch.setattr(box, "_VERSION", module(tmp_path, told))
    monkeypatch.setattr(box, "_DRIVER", driver(tmp_path, 0))
    facts = box.box_facts(Backend("tensorrt", "11.4.0", rtx.trt, rtx.log, ()))
    assert (facts.driver, facts.l4t) == (version, None)


def test_the_power_mode_is_found_without_sbin_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvpmodel"
    tool.write_text("#!/bin/sh\necho 'NV Power Mode: 25W'; echo 1\n")
    tool.chmod(0o755)
    monkeypatch.setattr(box, "_NVPMODEL", ("nvpmodel", str(tool)))
    assert box._power_mode() == "25W"


def test_engines_for_named_targets_do_not_depend_on_the_gpu_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rtx: Backend) -> None:
    monkeypatch.setattr(box, "_DRIVER", driver(tmp_path, 0))
    assert box.box_facts(rtx) == box.BoxFacts(backend="tensorrt_rtx", version=rtx.version)
