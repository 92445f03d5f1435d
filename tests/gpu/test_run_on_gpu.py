"""The script behind `make gpu-test`: what it finds wrong stands in its table, and so does what it could not do."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import run_on_gpu
from break_gpu import PTX
from compare_kernels import frames
from gpu_host import Machine, missing, software_machine
from run_on_gpu import Run, main, of_figures
from softcuda.env import ROOT

from bench.gpu_passes import passes
from edge.inspector.heightmap.cuda_kernels import NAMES

pytestmark = pytest.mark.soft
NVCC = shutil.which("nvcc")


def run(folder: Path) -> Run:
    return Run(software_machine(), argparse.Namespace(only=[], wheels=None, out=folder / "table.md", quick=True, bench=[]))


@pytest.mark.slow
@pytest.mark.skipif(NVCC is None, reason="no nvcc")
def test_kernels_and_errors_end_up_in_a_table_and_a_missing_sanitizer_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "table.md"
    status = main(["--software-driver", "--only", "kernels", "errors", "sanitizer", "--out", str(table)])
    said = capfd.readouterr().out
    assert status == 0, said
    text = table.read_text()
    rows = {cells[1]: cells[2] for cells in ([cell.strip() for cell in line.split("|")] for line in text.splitlines()) if len(cells) > 4}
    shown = ("prerequisites", "PyCUDA", "shipped kernels", "kernels of this machine's nvcc", "error: illegal", "error: endless")
    assert {rows[name] for name in shown} == {"passed"}
    assert rows["error: memory"] == rows["error: foreign"] == "passed"
    assert rows["compute-sanitizer racecheck"] == ("skipped" if shutil.which("compute-sanitizer") is None else rows["error: memory"])
    assert "software driver (NVIDIA H100" in text


def test_an_error_that_does_not_come_fails_its_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(run_on_gpu.BREAKS, "endless", (3, "does not finish", ""))
    status, detail = run(tmp_path)._broken("endless")
    assert status == "failed"
    assert "nothing happened" in detail


def test_kernels_that_cannot_be_loaded_fail_their_part(tmp_path: Path) -> None:
    status, detail = run(tmp_path)._compared("--kernels", str(tmp_path))
    assert status == "failed"
    assert "index.json" in detail


def test_what_a_machine_lacks_is_named_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    lacks = missing(Machine(nvcc=None, sanitizer=None, environment={}))
    assert [sentence.split(":")[0] for sentence in lacks] == ["libcuda.so.1 is the software driver of the tests", "no nvcc", "no g++"]


def test_the_compared_frames_run_every_kernel() -> None:
    run_at_least_once = {one.kernel for _, scan, spec in frames() for one in passes(spec, scan)}
    assert set(NAMES) <= run_at_least_once


@pytest.mark.skipif(shutil.which("ptxas") is None, reason="no ptxas")
@pytest.mark.parametrize("arch", ["sm_75", "sm_87", "sm_90"])
def test_the_breaking_kernels_are_ptx_that_gpus_take(arch: str, tmp_path: Path) -> None:
    (tmp_path / "break.ptx").write_bytes(PTX)
    command = ["ptxas", "-arch", arch, str(tmp_path / "break.ptx"), "-o", str(tmp_path / "break.cubin")]
    subprocess.run(command, check=True, capture_output=True)


def test_figures_become_rows_that_keep_the_reason() -> None:
    assert of_figures({"skipped": "no TensorRT"}) == ("skipped", "no TensorRT")
    assert of_figures({"failed": "GpuError: broken"}) == ("failed", "GpuError: broken")
    assert of_figures({"share_of_copy": 0.7, "target_met": True}) == ("passed", "share of copy 0.7, target met True")


def test_without_a_driver_nothing_is_tried(tmp_path: Path) -> None:
    script = Path(run_on_gpu.__file__)
    command = [sys.executable, str(script), "--only", "kernels", "--out", str(tmp_path / "table.md")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no NVIDIA driver" in done.stdout
    assert "shipped kernels" not in done.stdout
