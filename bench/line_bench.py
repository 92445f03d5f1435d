"""Frame published to verdict readable, against the bare engine call and the usual alternatives, in one run on one clock."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.alternatives import FastApi, fastai_predict
from bench.bundle import CLASSES, INPUT, OUTPUT, BenchBundle, Images
from bench.driver import Driver
from bench.timing import HEADER, Timing, paced, summary
from edge.bundle import Member
from edge.contract import Outcome
from edge.inspector.engines.openvino import Compiler
from sim.line import Line, LineSpec

EVERY_MS = 20.0
EXPOSURE_S = 0.008
"""From the trigger to the published frame: a fast camera. The rest of the 20 ms holds verdict, acknowledgement and pause."""


@dataclass
class Samples:
    """Milliseconds gathered over all rounds."""

    engine: list[float] = field(default_factory=list)
    line: list[float] = field(default_factory=list)
    line_cold: list[float] = field(default_factory=list)
    fastapi: list[float] = field(default_factory=list)
    fastapi_raw: list[float] = field(default_factory=list)
    fastai: list[float] = field(default_factory=list)
    missing: int = 0


def measure(bundle: BenchBundle, *, rounds: int, count: int, threads: int, say: Callable[[str], None]) -> Samples:
    """Interleave all of them `rounds` times, so that a machine that changes speed changes it for all."""
    samples = Samples()
    image = bundle.accepted[0]
    engine = _bare_engine(bundle, threads)
    server = FastApi(bundle.network, threads)
    predict = fastai_predict(image)
    predict()
    try:
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}: engine, line, line without pre-warming, FastAPI, fastai")
            samples.engine += paced(engine, count=count, every_ms=EVERY_MS)
            for prewarm, into in ((True, samples.line), (False, samples.line_cold)):
                taken, missing = through_the_line(bundle, count=count, threads=threads, prewarm=prewarm)
                into.extend(taken)
                samples.missing += missing
            samples.fastapi += paced(server.predict(image), count=count, every_ms=EVERY_MS)
            samples.fastapi_raw += paced(server.raw(image), count=count, every_ms=EVERY_MS)
            samples.fastai += paced(predict, count=max(20, count // 10), every_ms=EVERY_MS)
    finally:
        server.close()
    return samples


def through_the_line(bundle: BenchBundle, *, count: int, threads: int, prewarm: bool, more: str = "") -> tuple[list[float], int]:
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


def table(samples: Samples) -> tuple[str, dict[str, Timing]]:
    """The rows with ratios to the bare engine call."""
    timings = {
        "engine": summary("bare engine call, one per 20 ms", samples.engine),
        "line": summary("frame published -> verdict at the robot", samples.line),
        "line_cold": summary("the same with prewarm = false", samples.line_cold),
        "fastapi": summary("same network behind FastAPI (upload, JSON)", samples.fastapi),
        "fastapi_raw": summary("the same stripped to raw bytes", samples.fastapi_raw),
        "fastai": summary("fastai learn.predict (FP32)", samples.fastai),
    }
    reference = timings["engine"]
    return "\n".join([HEADER, *(timing.row(reference) for timing in timings.values())]), timings


def _bare_engine(bundle: BenchBundle, threads: int) -> Callable[[], object]:
    member = Member(name="bench", file=bundle.network.name, architecture="resnet18", input=INPUT, output=OUTPUT, classes=CLASSES)
    data: Images = np.zeros(bundle.accepted.shape[1:], np.uint8)
    engine = Compiler(threads=threads).compile(member, bundle.network.read_bytes(), data)
    data[...] = bundle.accepted[0]
    for _ in range(20):
        engine.run()
    return engine.run
