"""`cordon bench`: the line against its alternatives; apart `real-data`, `export`, `gpu`, `link`, `flips`, `records`, `tamper`, ..."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np

from sim.welds import make_weld, to_heightmap

_APART = {
    "real-data": "bench.real_data",
    "export": "bench.export_bench",
    "gpu": "bench.gpu_bench",
    "link": "bench.link_bench",
    "flips": "bench.flips",
    "records": "bench.records_bench",
    "health": "bench.health_bench",
    "storm": "bench.storm",
    "curve": "bench.curve_cost",
    "explain": "bench.explain_bench",
    "pointing": "bench.pointing",
    "recipes": "bench.recipes",
    "swaps": "bench.swaps",
    "tamper": "bench.tamper",
}
"""Measurements that need nothing of the others: a box has neither PyTorch nor FastAPI."""


def main(argv: Sequence[str]) -> int:
    """Measure latency, start-up and memory with ResNet18 INT8 128 x 352; the last line printed is JSON."""
    if argv and argv[0] in _APART:
        apart: int = import_module(_APART[argv[0]]).main(argv[1:])
        return apart
    # A box has neither PyTorch nor FastAPI, and the GPU's benchmark needs neither.
    from bench.bundle import make_bundle  # noqa: PLC0415
    from bench.footprint import measure_footprint  # noqa: PLC0415
    from bench.line_bench import measure, table  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="cordon bench", description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=4, help="interleaved rounds (default %(default)s)")
    parser.add_argument("--count", type=int, default=400, help="calls of each kind per round (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of one engine call (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    arguments = parser.parse_args(argv)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}")
    images = np.stack([to_heightmap(make_weld("T3", "none", seed)) for seed in range(64)])
    say("exporting one ResNet18, then nine (random weights: speed and memory do not depend on them)")
    one = make_bundle(arguments.out, images, typologies=1, threads=arguments.threads)
    nine = make_bundle(arguments.out, images, typologies=9, threads=arguments.threads)
    footprint = measure_footprint(nine, threads=arguments.threads)
    say(f"nine ResNet18: READY after {footprint.ready_s:.2f} s on the second start, {footprint.rss_mb:.0f} MB resident in both daemons")
    samples = measure(one, rounds=arguments.rounds, count=arguments.count, threads=arguments.threads, say=say)
    text, timings = table(samples)
    print(text)
    line = timings["line"]
    print(
        json.dumps(
            {
                "engine_p50_ms": round(timings["engine"].p50_ms, 3),
                "engine_p99_ms": round(timings["engine"].p99_ms, 3),
                "e2e_p50_ms": round(line.p50_ms, 3),
                "e2e_p99_ms": round(line.p99_ms, 3),
                "fastai_p50_ms": round(timings["fastai"].p50_ms, 3),
                "fastapi_p50_ms": round(timings["fastapi"].p50_ms, 3),
                "ready_s": round(footprint.ready_s, 2),
                "rss_mb": round(footprint.rss_mb),
                "verdicts_missing": samples.missing,
            }
        )
    )
    return 0


def say(text: str) -> None:
    """One line per milestone."""
    print(text, flush=True)
