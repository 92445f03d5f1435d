"""Nine ResNet18 networks loaded: seconds to READY on a second start, and resident memory of both daemons together."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.bundle import BenchBundle
from bench.driver import Driver
from sim.line import Child, Line, LineSpec


@dataclass(frozen=True)
class Footprint:
    """What was seen."""

    ready_s: float
    rss_mb: float


def measure_footprint(bundle: BenchBundle, *, threads: int) -> Footprint:
    """Start gate and inspector twice; the second start is timed from before the processes exist to READY at the robot."""
    _start(bundle, threads)
    return _start(bundle, threads)


def _start(bundle: BenchBundle, threads: int) -> Footprint:
    with tempfile.TemporaryDirectory(prefix="cordon-") as folder:
        spec = LineSpec(folder=Path(folder), bundle=bundle.path, key=bundle.key, budget_ms=500, inspector=f"threads = {threads}")
        with Line(spec) as line:
            driver = Driver(spec.port, spec.camera, bundle.typologies[0])
            started_s = time.monotonic()
            line.start_daemons()
            driver.wait_ready(60)
            ready_s = time.monotonic() - started_s
            for image in bundle.accepted[:20]:
                driver.inspect(image, exposure_s=0.02)
            rss_mb = sum(resident_mb(child) for child in line.children.values())
            driver.close()
    return Footprint(ready_s, rss_mb)


def resident_mb(child: Child) -> float:
    """VmRSS of a process in MB (10^6 bytes)."""
    status = Path(f"/proc/{child.process.pid}/status").read_text()
    kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return kib * 1024 / 1e6
