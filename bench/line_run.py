"""Welds through gate and inspector as processes; needs neither PyTorch nor FastAPI, so a box can run it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.driver import Driver
from edge.contract import Outcome
from sim.line import Line, LineSpec

EVERY_MS = 20.0
EXPOSURE_S = 0.008
"""From the trigger to the published frame: a fast camera. The rest of the 20 ms holds verdict, acknowledgement and pause."""


class SignedBundle(Protocol):
    """A bundle on the disk, and heightmaps that its first typology accepts."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def key(self) -> str:
        """Public key of its signature."""

    @property
    def accepted(self) -> NDArray[np.uint8]:
        """u8 [n, 128, 352]."""

    @property
    def typologies(self) -> tuple[str, ...]:
        """Their names."""


def through_the_line(bundle: SignedBundle, *, count: int, threads: int, prewarm: bool, more: str = "") -> tuple[list[float], int]:
    """Gate and inspector as processes, `count` welds at one per 20 ms; (latencies of ACCEPTs in ms, verdicts that did not come).

    `more` are further lines of `[inspector]`.
    """
    with tempfile.TemporaryDirectory(prefix="cordon-") as folder:
        spec = LineSpec(
            folder=Path(folder),
            bundle=bundle.path,
            key=bundle.key,
            budget_ms=200,
            inspector=f"threads = {threads}\nprewarm = {str(prewarm).lower()}\n{more}",
        )
        with Line(spec) as line:
            driver = Driver(spec.port, spec.camera, bundle.typologies[0])
            line.start_daemons()
            driver.wait_ready(60)
            driver.idle(0.5)
            for number in range(20):
                driver.inspect(bundle.accepted[number % len(bundle.accepted)], exposure_s=EXPOSURE_S)
            taken: list[float] = []
            missing = 0

            def weld() -> None:
                nonlocal missing
                cycle = driver.inspect(bundle.accepted[(len(taken) + missing) % len(bundle.accepted)], exposure_s=EXPOSURE_S)
                if cycle.verdict is not None and cycle.verdict.outcome is Outcome.ACCEPT:
                    taken.append(cycle.latency_ms)
                else:
                    missing += 1

            paced_welds(weld, driver, count)
            driver.close()
    return taken, missing


def paced_welds(weld: Callable[[], None], driver: Driver, count: int) -> None:
    """One weld per 20 ms on an absolute schedule; the session is kept alive between them."""
    due_s = time.monotonic()
    for _ in range(count):
        due_s = max(due_s + EVERY_MS / 1e3, time.monotonic())
        driver.idle(due_s - time.monotonic())
        weld()
