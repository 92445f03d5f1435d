"""Row B03: the GPU is lost under a running inspector, on the software CUDA driver of tests/gpu."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from faults.registry import Effort, Result, Skipped, injects

TESTS = "tests/gpu/test_failures_on_the_line.py"
DRIVER = Path("build/softcuda/libcuda.so.1")
ONE = "test_a_gpu_that_fails_costs_rejects_inside_the_budget_and_comes_back"
LIMIT_S = 240
_PASSED, _FAILED = re.compile(r"(\d+) passed"), re.compile(r"(\d+) (?:failed|error)")


@injects("B03", test=TESTS)
def gpu_lost(effort: Effort) -> Result:
    """Sticky errors, hung kernels and vanished devices on real processes, as tests/gpu injects them; each passed test is one injection."""
    root = Path(__file__).parents[2]
    if not (root / TESTS).is_file():
        raise Skipped("tests/gpu is not here: run the suite from a checkout")
    if not (root / DRIVER).exists():
        raise Skipped("the software CUDA driver is not built: run the tests of tests/gpu with CORDON_GPU_TESTS=soft once (needs g++)")
    some = {"quick": f"{ONE} and cell0", "ci": f"{ONE} and (cell0 or cell1)", "long": ""}[effort.name]
    chosen = ("-k", some) if some else ()
    command = (
        sys.executable,
        "-m",
        "pytest",
        "-o",
        "addopts=",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={effort.folder / 't'}",
        TESTS,
        *chosen,
    )
    environment = {**os.environ, "CORDON_GPU_TESTS": "soft"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    passed, failed = (int(found[1]) if (found := pattern.search(done.stdout)) else 0 for pattern in (_PASSED, _FAILED))
    if not passed and not failed:
        raise Skipped(f"tests/gpu cannot run here: {done.stdout[-200:]!r} {done.stderr[-200:]!r}")
    failures = (f"{failed} tests failed: {done.stdout[-300:]}",) if failed or done.returncode else ()
    note = "no real GPU was lost: the software driver stands in for it"
    return Result(injections=passed, failures=failures, counter="events inspector GPU_FAULT, one per fault at least", note=note)
