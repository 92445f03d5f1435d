"""`python -m fuzz.run`: coverage-guided fuzzing of every target with atheris; what is new goes to build/, the corpora stay as they are."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from fuzz.harness import CORPUS, MAX_INPUT_BYTES, TARGETS

RSS_LIMIT_MB = 1024
_STATISTICS = re.compile(r"^stat::(\w+):\s*(\d+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One target's run. `findings` are files of inputs that broke it."""

    target: str
    executions: int
    per_second: int
    rss_mb: int
    new_inputs: int
    seconds: float
    findings: tuple[str, ...]
    status: int

    @property
    def failed(self) -> bool:
        """True when an input broke the target, or the fuzzer itself did not end as it should."""
        return bool(self.findings) or self.status != 0


def fuzz_one(target: str, arguments: Sequence[str]) -> None:
    """Become the fuzzer of one target; never returns. Needs atheris."""
    import atheris  # noqa: PLC0415 - the corpora are replayed where it is not installed

    with atheris.instrument_imports(include=["edge", "tomllib", "tomli"]):
        harness = importlib.import_module(f"fuzz.{target}")
    atheris.Setup([target, *arguments], harness.check)
    atheris.Fuzz()


def run_target(target: str, seconds: float, folder: Path, seed: int) -> Outcome:
    """Fuzz one target in a process of its own."""
    found, broken = folder / target / "inputs", folder / target / "findings"
    found.mkdir(parents=True, exist_ok=True)
    broken.mkdir(parents=True, exist_ok=True)
    before = len(list(found.iterdir()))
    options = [
        f"-max_total_time={max(1, round(seconds))}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-rss_limit_mb={RSS_LIMIT_MB}",
        "-timeout=10",
        f"-seed={seed}",
        "-print_final_stats=1",
        f"-artifact_prefix={broken}/",
    ]
    dictionary = CORPUS.parent / f"{target}.dict"
    command = [sys.executable, "-m", "fuzz.run", "--only", target, "--", *options, f"-dict={dictionary}", str(found), str(CORPUS / target)]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=CORPUS.parents[1], check=False)
    (folder / target / "log.txt").write_text(done.stdout + done.stderr)
    numbers = {name: int(value) for name, value in _STATISTICS.findall(done.stderr)}
    return Outcome(
        target=target,
        executions=numbers.get("number_of_executed_units", 0),
        per_second=numbers.get("average_exec_per_sec", 0),
        rss_mb=numbers.get("peak_rss_mb", 0),
        new_inputs=len(list(found.iterdir())) - before,
        seconds=round(time.monotonic() - start, 1),
        findings=tuple(sorted(str(path) for path in broken.iterdir())),
        status=done.returncode,
    )


def main(argv: Sequence[str]) -> int:
    """Fuzz the serial decoder, the frame header, the bundle manifest and the configuration; the last line printed is JSON."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.run", description=main.__doc__)
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be repeated")
    parser.add_argument("--seconds", type=float, default=60.0, help="per target (default %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at a time (default: one per core)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="new inputs, findings and logs (default %(default)s)")
    arguments = parser.parse_args(argv)
    with ThreadPoolExecutor(max(1, arguments.jobs)) as pool:
        seconds, folder, seed = arguments.seconds, arguments.out.resolve(), arguments.seed
        outcomes = list(pool.map(lambda target: run_target(target, seconds, folder, seed), arguments.target or TARGETS))
    print(f"{'target':<18}{'executions':>12}{'per second':>12}{'RSS MB':>8}{'new inputs':>12}{'findings':>10}{'status':>8}")
    for one in outcomes:
        row = f"{one.target:<18}{one.executions:>12,}{one.per_second:>12,}{one.rss_mb:>8}{one.new_inputs:>12,}{len(one.findings):>10}"
        print(f"{row}{one.status:>8}")
        for finding in one.findings:
            print(f"  {finding}: see {folder / one.target / 'log.txt'}, keep it in fuzz/corpus/{one.target}/ once it is understood")
    total = {"executions": sum(one.executions for one in outcomes), "findings": sum(len(one.findings) for one in outcomes)}
    print(json.dumps({**total, "targets": {one.target: asdict(one) for one in outcomes}}))
    return int(any(one.failed for one in outcomes))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--only"]:
        fuzz_one(sys.argv[2], sys.argv[4:])
    raise SystemExit(main(sys.argv[1:]))
