"""Runs the tests of the safety core and demands that every branch of it was taken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mutation.targets import TARGETS

ROOT = Path(__file__).parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m mutation.coverage`: prints what was not covered; exit status 1 below 100 % of the branches."""
    tests = list(dict.fromkeys(test.partition("::")[0] for target in TARGETS for test in target.tests))
    measured = [f"--cov={target.module}" for target in TARGETS]
    report = ["--cov-branch", "--cov-report=term-missing:skip-covered", "--cov-fail-under=100"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *measured, *report, *tests, *(argv or ())]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
