"""`make gpu-test`: everything that needs a real GPU, part by part, with a table at the end; docs/gpu-test.md says what each part proves."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "on_gpu"))

from gpu_host import ROOT, Machine, install_pycuda, missing, real_machine, software_machine  # noqa: E402 -- stands beside this file

Status: TypeAlias = Literal["passed", "failed", "skipped"]
BREAK, COMPARE = HERE / "on_gpu" / "break_gpu.py", HERE / "on_gpu" / "compare_kernels.py"
LOST = 3
SANITIZERS = ("memcheck", "racecheck", "synccheck", "initcheck")
SANITIZED = 99
"""Status of a program in which compute-sanitizer found something."""
BREAKS = {
    "illegal": (LOST, "illegal", "sticky:700:after=1"),
    "endless": (LOST, "does not finish", "hang"),
    "memory": (0, "out of memory", ""),
    "foreign": (0, "no kernel image", ""),
}
"""How the GPU is broken: the status that the process must end with, what it must say, and the software driver's fault."""
EXIT_S = 60.0
"""A process whose kernel never ends must be gone by then."""
OF_THE_FIXTURES = re.compile(r"^(?:from|import) (?:softcuda|trt_standin|standin_kit)\b", re.MULTILINE)
OF_TENSORRT = re.compile(r"^(?:from|import) (?:runtime_kit|box_kit)\b", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What became of one part."""

    name: str
    status: Status
    detail: str
    seconds: float = 0.0


Found: TypeAlias = tuple[Status, str]


@dataclass
class Run:
    """All parts on one machine."""

    machine: Machine
    options: argparse.Namespace
    parts: list[Part] = field(default_factory=list)

    def part(self, name: str, measure: Callable[[], Found]) -> bool:
        """Run one, say how it ended, and whether the next may follow."""
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        status, detail = measure()
        self.parts.append(Part(name=name, status=status, detail=detail, seconds=time.monotonic() - began))
        print(f"{status}: {detail}", flush=True)
        return status != "failed"

    def everything(self) -> None:
        """In the order in which one needs the other."""
        if not (self.part("prerequisites", self._prerequisites) and self.part("PyCUDA", self._pycuda)):
            return
        steps: dict[str, Callable[[], None]] = {
            "kernels": self._kernels,
            "errors": self._errors,
            "tests": self._tests,
            "sanitizer": self._sanitizers,
            "bench": self._bench,
        }
        for name, step in steps.items():
            if name in self.options.only:
                step()

    # -- parts

    def _prerequisites(self) -> Found:
        lacks = missing(self.machine)
        return ("failed", "; ".join(lacks)) if lacks else ("passed", f"driver, {self.machine.nvcc}, g++, Python.h")

    def _pycuda(self) -> Found:
        try:
            return "passed", install_pycuda(self.machine, self.options.wheels)
        except Exception as exc:  # noqa: BLE001 -- whatever stops the build belongs into the table
            return "failed", f"{type(exc).__name__}: {exc}"

    def _kernels(self) -> None:
        self.part("shipped kernels", self._compared)
        with tempfile.TemporaryDirectory(prefix="cordon-kernels-") as folder:
            self.part("kernels of this machine's nvcc", lambda: self._own_kernels(Path(folder)))

    def _compared(self, *words: str) -> Found:
        done = self.machine.run(COMPARE, *words)
        print(done.stdout, end="")
        return ("failed" if done.returncode else "passed"), last_line(done.stdout)

    def _own_kernels(self, folder: Path) -> Found:
        done = self.machine.run(HERE / "on_gpu" / "own_kernels.py", str(self.machine.nvcc), folder)
        if done.returncode:
            return "failed", last_line(done.stdout)
        return self._compared("--kernels", str(folder))

    def _errors(self) -> None:
        for how in BREAKS:
            self.part(f"error: {how}", lambda how=how: self._broken(how))

    def _broken(self, how: str) -> Found:
        status, words, fault = BREAKS[how]
        software = ["--software-driver"] if self.machine.software else []
        began = time.monotonic()
        done = self.machine.run(BREAK, how, *software, timeout_s=EXIT_S, SOFTCUDA_FAULT=fault)
        seconds = time.monotonic() - began
        if done.returncode != status or words not in done.stdout:
            return "failed", f"status {done.returncode}, not {status}, or not {words!r}: {last_line(done.stdout)}"
        return "passed", f"status {status} after {seconds:.1f} s: {done.stdout.splitlines()[0][:160]}"

    def _tests(self) -> None:
        files = sorted(HERE.glob("test_*.py"))
        ours = [path for path in files if not OF_THE_FIXTURES.search(path.read_text())]
        engines = [path for path in ours if OF_TENSORRT.search(path.read_text())]
        self.part("tests: kernels, copies, streams, graphs, errors", lambda: self._pytest([p for p in ours if p not in engines]))
        reason = self._no_tensorrt()
        self.part("tests: TensorRT", lambda: ("skipped", reason) if reason else self._pytest(engines))

    def _no_tensorrt(self) -> str:
        """Why TensorRT's tests cannot run here, nothing where they can."""
        done = self.machine.run("-c", "from bench.gpu_build import usable_backend; print(usable_backend('auto')[0].name)")
        return "" if done.returncode == 0 else last_line(done.stdout).rpartition("Error: ")[2]

    def _pytest(self, files: Sequence[Path]) -> Found:
        mode = "soft" if self.machine.software else "real"
        if not files:
            return "skipped", "there are none"
        status, said = self.machine.follow([sys.executable, "-m", "pytest", *map(str, files)], CORDON_GPU_TESTS=mode)
        return ("failed" if status else "passed"), last_line(said)

    def _sanitizers(self) -> None:
        for name in SANITIZERS:
            self.part(f"compute-sanitizer {name}", lambda name=name: self._sanitized(name))

    def _sanitized(self, name: str) -> Found:
        if self.machine.sanitizer is None:
            return "skipped", "no compute-sanitizer: it comes with the CUDA toolkit"
        tool = [str(self.machine.sanitizer), "--tool", name, "--error-exitcode", str(SANITIZED), "--target-processes", "all"]
        status, said = self.machine.follow([*tool, sys.executable, str(COMPARE)])
        if "Device not supported" in said:
            return "skipped", "compute-sanitizer says that it does not support this device (a sandbox, or a GPU newer than it)"
        summary = next((line for line in reversed(said.splitlines()) if "ERROR SUMMARY" in line or "RACECHECK SUMMARY" in line), "")
        return ("failed" if status or not summary else "passed"), summary.strip("= ") or last_line(said)

    def _bench(self) -> None:
        out = self.options.out.with_name("gpu-bench.json")
        out.unlink(missing_ok=True)
        words = [*(["--quick"] if self.options.quick else []), *self.options.bench]
        if not self.part("cordon bench gpu", lambda: self._benched(out, words)) and not out.exists():
            return
        figures = json.loads(out.read_text())
        for when, state in figures["clocks"].items():
            self.part(
                f"bench: clocks {when}", lambda state=state: of_figures({name: seen for name, seen in state.items() if seen is not None})
            )
        for name in ("copies", "heightmaps", "engines", "agreement", "verdict", "line"):
            for each in figures[name] if isinstance(figures[name], list) else [figures[name]]:
                self.part(f"bench: {name}", lambda each=each: of_figures(each))

    def _benched(self, out: Path, words: Sequence[str]) -> Found:
        status, _ = self.machine.follow([sys.executable, "-m", "edge", "bench", "gpu", "--out", str(out), *words])
        return ("failed" if status else "passed"), f"status {status}, figures in {out}"


def of_figures(figures: dict[str, Any]) -> Found:
    """One part of the benchmark as a row."""
    if "skipped" in figures:
        return "skipped", figures["skipped"]
    if "failed" in figures:
        return "failed", figures["failed"]
    return "passed", ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())


def last_line(text: str) -> str:
    """What a program said last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].strip("= ")[:300] if lines else "nothing said"


def markdown(run: Run, command: str) -> str:
    """The table for docs/measurements.md."""
    git = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    about = run.machine.run("-c", ABOUT)
    rows = [f"| {part.name} | {part.status} | {part.seconds:.0f} | {part.detail.replace('|', '/')} |" for part in run.parts]
    head = f"{dt.datetime.now(dt.timezone.utc).date()}, commit {commit}, `{command}`. {last_line(about.stdout)}"
    return "\n".join([head, "", "| part | result | s | |", "|---|---|---|---|", *rows, ""])


ABOUT = """
from bench.gpu_facts import read_facts
from edge.inspector.cuda.device import Device
device = Device()
facts = read_facts(device, "auto")
device.close()
print(f"{facts.gpu}, compute capability {facts.compute_capability}, driver {facts.driver}, CUDA {facts.cuda}, {facts.tensorrt}", end=", ")
print(facts.machine)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Test the GPU inspector on this machine's GPU; status 1 when a part failed. Parts that need what is not here are skipped visibly."""
    choices = ["kernels", "errors", "tests", "sanitizer", "bench"]
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="install PyCUDA and what it needs from this folder, without a network")
    parser.add_argument("--only", nargs="+", choices=choices, default=choices, help="leave the other parts out")
    parser.add_argument("--quick", action="store_true", help="the benchmark small: its figures are then worth nothing")
    parser.add_argument("--bench", nargs=argparse.REMAINDER, default=[], metavar="...", help="further options of `cordon bench gpu`, last")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-test.md", help="the table (default %(default)s)")
    parser.add_argument("--software-driver", action="store_true", help="on the software driver: tests this script, and no GPU")
    options = parser.parse_args(argv)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    run = Run(software_machine() if options.software_driver else real_machine(), options)
    run.everything()
    print(f"\n{'part':<52}{'result':<10}{'s':>6}  ")
    for part in run.parts:
        print(f"{part.name:<52}{part.status:<10}{part.seconds:>6.0f}  {part.detail[:160]}")
    options.out.write_text(markdown(run, " ".join(["tests/gpu/run_on_gpu.py", *(sys.argv[1:] if argv is None else argv)])))
    print(f"\nThe table for docs/measurements.md is in {options.out}")
    return 1 if any(part.status == "failed" for part in run.parts) else 0


if __name__ == "__main__":
    sys.exit(main())
