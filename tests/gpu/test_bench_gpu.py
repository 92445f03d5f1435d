"""`cordon bench gpu` runs to its end on the software driver; its figures mean nothing there, what it says about them does."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_kit import tiny_networks
from softcuda.env import BUILD, ROOT, soft_environment

import bench.gpu_heightmap as heightmaps
from bench.gpu_clock import GpuClock
from bench.gpu_copies import Copies
from bench.gpu_facts import parse_nvidia_smi, parse_tegrastats
from bench.gpu_parts import QUICK, Failed, MissingError, Scale, Skipped, attempt
from bench.gpu_passes import CLEARING, passes
from bench.gpu_scans import FULL_SPEC, organised_cloud, rasterised, unorganised_cloud
from edge.errors import GpuError
from edge.inspector.cuda.device import Device

pytestmark = pytest.mark.soft
PARTS = ("copies", "heightmaps", "building", "engines", "agreement", "verdict", "line")
SMALL: Scale = dataclasses.replace(QUICK, cloud=(20, 30), runs=2, cpu_runs=1)
COPIES = Copies(block_bytes=SMALL.block_bytes, within=1.0, within_ms=1.0, to_gpu=1.0, from_gpu=1.0)


def bench(folder: Path, *options: str, **settings: Any) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """The command in a process of its own, and the JSON in its last line."""
    tiny = tiny_networks(folder / "networks")
    words = ["--quick", "--networks", str(tiny.folder), "--architecture", tiny.architecture, "--backend", "tensorrt", *options]
    environment = soft_environment(**settings)
    command = [sys.executable, "-m", "edge", "bench", "gpu", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)
    lines = done.stdout.splitlines()
    return done, json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}


@pytest.mark.slow
def test_every_part_is_measured_and_the_software_driver_is_named(tmp_path: Path) -> None:
    done, figures = bench(tmp_path, "--out", str(tmp_path / "figures.json"), report=tmp_path / "driver")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "they say nothing of any GPU" in done.stdout
    assert figures == json.loads((tmp_path / "figures.json").read_text())
    assert figures["machine"]["gpu"] == "software driver (Orin)"
    assert not any("skipped" in part or "failed" in part for name in PARTS for part in np.atleast_1d(figures[name]))
    assert [each["difference_grays"] for each in figures["heightmaps"]] == pytest.approx([0.0] * 6, abs=1.0)
    assert [each["usual"] for each in figures["heightmaps"]] == [False] * 3 + [True] * 3
    assert len(figures["engines"]) == 12
    assert {each["captured"] for each in figures["engines"] if "no graphs" not in each["setting"]} == {1, 2}
    assert all(each["golden"] == 4 and each["flips"] == 0 and each["largest"] < 1e-3 for each in figures["agreement"])
    assert len(figures["verdict"]) == 6
    assert figures["line"]["missing"] == 0
    assert "missed" in done.stdout, "no software reaches a GPU's target"
    assert "violation" not in (tmp_path / "driver").read_text()


@pytest.mark.slow
def test_without_tensorrt_what_needs_it_is_skipped_visibly(tmp_path: Path) -> None:
    done, figures = bench(tmp_path, PYTHONPATH=str(BUILD / "pycuda"), device="h100")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("skipped: no tensorrt in this Python") == 5
    assert all("no tensorrt" in figures[name]["skipped"] for name in PARTS[2:])
    assert len(figures["heightmaps"]) == 6


def test_without_a_gpu_it_says_so_and_fails(tmp_path: Path) -> None:
    done, figures = bench(tmp_path, device="none")
    assert done.returncode == 1
    assert not figures
    assert "GpuError" in done.stderr
    assert "nvidia-smi" in done.stderr


def test_a_gpu_lost_on_the_way_fails_its_part_and_leaves_the_others_out(tmp_path: Path) -> None:
    done, figures = bench(tmp_path, fault="sticky:700:after=60")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "illegal memory access" in figures["copies"]["failed"]
    assert all("lost" in figures[name]["skipped"] for name in PARTS[1:])


def test_a_part_that_fails_is_named_and_makes_the_command_fail(tmp_path: Path) -> None:
    done, figures = bench(tmp_path, PYTHONPATH=str(BUILD / "pycuda"), memory_limit=1 << 20)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "out of memory" in figures["copies"]["failed"]
    assert figures["heightmaps"] == {"skipped": "there is no copy to compare with"}
    assert "no tensorrt" in figures["building"]["skipped"]


def test_a_wrong_heightmap_fails_its_part() -> None:
    case = heightmaps.make_cases(SMALL)[0]
    wrong = dataclasses.replace(case, expected=case.expected ^ np.uint8(64))
    with pytest.raises(GpuError, match="differs from the CPU's by 64 grays"):
        heightmaps._measure(wrong, "copied", SMALL, COPIES)


def test_each_kernel_is_timed_and_together_they_move_what_the_whole_must() -> None:
    times = heightmaps._measure(heightmaps.make_cases(SMALL)[0], "copied", SMALL, COPIES)
    assert sum(kernel.nbytes for kernel in times.each) == times.must_move
    assert all(kernel.ms > 0 for kernel in times.each)
    assert times.kernels.count == SMALL.runs


def test_a_cloud_under_the_full_spec_must_move_forty_bytes_per_point() -> None:
    rows, cols = 50, 80
    found = passes(FULL_SPEC, organised_cloud(rows, cols))
    # x y z read and heights written once; then two refinements, three histograms and the resize read the heights.
    assert sum(one.nbytes for one in found) == rows * cols * (12 + 4 + 6 * 4) + FULL_SPEC.height * FULL_SPEC.width


def test_a_grid_is_cleared_filled_and_closed_before_anything_reads_it() -> None:
    rows, cols = 50, 80
    scan = unorganised_cloud(rows, cols)
    found = {one.kernel: one.nbytes for one in passes(rasterised(rows, cols), scan)}
    assert found[CLEARING] == 4 * rows * cols
    assert found["drop_points"] == 20 * scan.image.shape[1]
    assert found["fill_rows"] == found["fill_columns"] == 8 * rows * cols


def test_the_clock_tells_runs_that_the_host_was_late_for(device: Device) -> None:
    with device.current(), GpuClock(device, device.stream(), 1 << 20) as clock:
        clock.keep_busy_for(1.0)
        taken = clock.times(clock.copy, 3)
        late = clock.times(lambda: device.wait(clock._start, "being late"), 3)
    assert (taken.exposed, late.exposed) == (0, 3)
    assert all(ms > 0 for ms in taken.ms)


def test_what_is_missing_is_skipped_and_what_breaks_has_failed() -> None:
    def lacking() -> None:
        raise MissingError("no such thing", remedy="Get one")

    def broken() -> None:
        raise GpuError("the GPU broke", remedy="Restart")

    assert attempt(lacking) == Skipped("no such thing. Get one")
    assert attempt(broken) == Failed("GpuError: the GPU broke. Restart")


def test_nvidia_smi_is_read_by_the_order_of_the_question() -> None:
    found = parse_nvidia_smi("570.86.15, 2520, 10501, 3105, 10501, 41, 61.20, P2\n")
    assert (found["clocks.sm"], found["clocks.max.sm"], found["temperature.gpu"], found["pstate"]) == ("2520", "3105", "41", "P2")
    assert "power.draw" not in parse_nvidia_smi("540.4.0, [N/A], [N/A], [N/A], [N/A], [N/A], [N/A], [N/A]")
    assert parse_nvidia_smi("Failed to initialize NVML") == {}


def test_tegrastats_tells_clocks_and_temperature() -> None:
    line = "RAM 3456/30697MB (lfb 2x4MB) CPU [2%@729,0%@729] EMC_FREQ 1%@2133 GR3D_FREQ 37%@[611,611] cpu@47.1C gpu@43.562C soc1@44C"
    assert parse_tegrastats(line) == {"sm_mhz": 611.0, "memory_mhz": 2133.0, "celsius": 43.562}
    assert parse_tegrastats("RAM 1/2MB") == {}
