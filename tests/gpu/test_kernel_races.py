"""The kernels on threads of the CPU under ThreadSanitizer: no barrier is missing within a block, and no fence between blocks."""

from __future__ import annotations

import math
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from heightmap_kit import bumpy, gray_scan, on_the_cpu, range_scan

from edge.inspector.heightmap.cuda_layout import JOB, POINTERS, RESULT, STATE
from edge.inspector.heightmap.cuda_plan import Plan
from edge.inspector.heightmap.spec import HeightmapSpec, OutlierFilter, PercentileWindow, PlaneRemoval, Rasterise
from edge.inspector.scan import Scan

SOFTCUDA = Path(__file__).parent / "softcuda"
HEIGHTMAP = Path(__file__).parents[2] / "edge" / "inspector" / "heightmap"
GXX = [
    "g++",
    "-std=c++17",
    "-O1",
    "-g",
    "-fPIC",
    "-ffp-contract=off",
    "-fsanitize=thread",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
]
BLOCKS = 2
"""So few that every loop of a kernel over its work repeats."""
NULL = 4096
RACES = 66
"""Status of a program in which ThreadSanitizer found some."""
TICKET = 7
EVERYTHING = HeightmapSpec(
    window=PercentileWindow(), outliers=OutlierFilter(limit_mm=1.0), plane=PlaneRemoval(iterations=32), height=16, width=60
)
GRID = HeightmapSpec(
    window=PercentileWindow(),
    outliers=OutlierFilter(window=3),
    rasterise=Rasterise(x_mm=(0.0, 59.0), y_mm=(0.0, 39.0), pitch_mm=(1.0, 1.0)),
    height=40,
    width=60,
)
SQUISH = HeightmapSpec(window=PercentileWindow(), resize="fastai-squish", height=24, width=32)
pytestmark = [pytest.mark.soft, pytest.mark.slow, pytest.mark.skipif(shutil.which("g++") is None, reason="no g++")]


def frames() -> dict[str, tuple[Scan, HeightmapSpec]]:
    """Every kernel runs in one of them."""
    points = np.random.default_rng(0).uniform(0, (60, 40, 5), (1, 3000, 3)).astype(np.float32)
    grays = np.random.default_rng(1).integers(0, 256, (41, 300), np.uint8)
    return {
        "everything": (range_scan(bumpy((40, 130)), no_data=math.nan), EVERYTHING),
        "grid": (range_scan(points, no_data=-1.0), GRID),
        "grays": (gray_scan(grays), SQUISH),
    }


class Frame:
    """One frame's memory and launches in a file for races.cpp, and what became of them."""

    def __init__(self, path: Path, scan: Scan, spec: HeightmapSpec) -> None:
        self.path, self._spec = path, spec
        self._memory = bytearray()
        self._at: dict[str, int] = {}
        plan = Plan(spec, scan.kind, scan.image.dtype, (scan.image.shape[0], scan.image.shape[1]))
        self._put("raw", scan.image.tobytes())
        self._put("state", bytes(plan.state_bytes).ljust(STATE.itemsize, b"\xcb"))
        self._put("result", bytes(RESULT.itemsize))
        self._put("out", bytes(spec.height * spec.width))
        for name, nbytes in plan.sizes().items():
            self._put(name, bytes(nbytes))
        for name, table in plan.tables().items():
            self._put(name, table.tobytes())
        self._write(plan, self._jobs(plan, scan))

    def _put(self, name: str, data: bytes) -> None:
        self._at[name] = NULL + len(self._memory)
        self._memory += data.ljust(-(-len(data) // 64) * 64, b"\xcb")

    def _jobs(self, plan: Plan, scan: Scan) -> np.ndarray[tuple[int, ...], np.dtype[np.void]]:
        jobs = plan.jobs(self._at)
        jobs["raw"][plan.from_frame] = self._at["raw"]
        jobs["ticket"], jobs["scale"], jobs["no_data"] = TICKET, 1.0, scan.no_data
        jobs["nan_missing"], jobs["missing_step"] = math.isnan(scan.no_data), -1
        return jobs

    def _write(self, plan: Plan, jobs: np.ndarray[tuple[int, ...], np.dtype[np.void]]) -> None:
        with self.path.open("wb") as file:
            file.write(struct.pack("<5Q", NULL, len(self._memory), len(POINTERS), JOB.itemsize, len(plan.steps)) + self._memory)
            for step in plan.steps:
                file.write(struct.pack("<32sQ", step.kernel.encode(), BLOCKS) + jobs[step.job].tobytes())

    def image(self) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """What the network would read, of a frame that was finished."""
        memory = self.path.with_name(self.path.name + ".out").read_bytes()
        result = np.frombuffer(memory, RESULT, 1, self._at["result"] - NULL)[0]
        assert result["ticket"] == TICKET
        spec = self._spec
        return np.frombuffer(memory, np.uint8, spec.height * spec.width, self._at["out"] - NULL).reshape(spec.height, spec.width)


def build(folder: Path, *flags: str) -> None:
    """The two copies of the kernels and the program that runs them."""
    library, program = folder / "even.so", folder / "races"
    words = [*flags, f"-I{SOFTCUDA}", f"-I{HEIGHTMAP}"]
    for command in (
        [*GXX, *words, "-shared", "-o", str(library), str(SOFTCUDA / "threads.cpp"), "-lpthread"],
        [*GXX, "-rdynamic", "-o", str(program), str(SOFTCUDA / "races.cpp"), "-ldl", "-lpthread"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "tsan" in done.stderr and "cannot find" in done.stderr:
            pytest.skip("g++ has no ThreadSanitizer here")
        assert done.returncode == 0, done.stderr
    shutil.copy(library, folder / "odd.so")


def run(folder: Path, *frames: Frame) -> tuple[int, str]:
    """Status, and what ThreadSanitizer says."""
    command = [str(folder / "races"), str(folder / "even.so"), str(folder / "odd.so"), *(str(frame.path) for frame in frames)]
    without = ["setarch", "--addr-no-randomize"] if shutil.which("setarch") else []
    for words in (command, [*without, *command]):
        done = subprocess.run(words, env={"TSAN_OPTIONS": f"exitcode={RACES} halt_on_error=1"}, capture_output=True, text=True, check=False)
        if "unexpected memory mapping" not in done.stderr:
            return done.returncode, done.stderr
    pytest.skip("ThreadSanitizer does not start with this kernel's address space layout")


def test_no_two_threads_touch_the_same_memory_without_order(tmp_path: Path) -> None:
    build(tmp_path)
    made = {name: Frame(tmp_path / name, scan, spec) for name, (scan, spec) in frames().items()}
    status, said = run(tmp_path, *made.values())
    assert status == 0, said
    for name, (scan, spec) in frames().items():
        expected = on_the_cpu(spec, scan).image
        assert expected is not None
        assert np.abs(made[name].image().astype(np.int16) - expected).max() <= 1, name


@pytest.mark.parametrize("broken", ["fences", "barrier"])
def test_a_missing_fence_or_barrier_is_noticed(tmp_path: Path, broken: str) -> None:
    source = (HEIGHTMAP / "kernels" / "plane.cuh").read_text().splitlines()
    reduction = next(i for i, line in enumerate(source, 1) if line.strip() == "__syncthreads();" and "half" in source[i - 2])
    build(tmp_path, "-DSOFT_WITHOUT_FENCES" if broken == "fences" else f"-DSOFT_SKIPPED_LINE={reduction}")
    status, said = run(tmp_path, Frame(tmp_path / "everything", *frames()["everything"]))
    assert status == RACES, said
    assert "data race" in said
