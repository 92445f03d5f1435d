"""Frame published to verdict readable, against the bare engine call and the usual alternatives, in one run on one clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bench.alternatives import FastApi, fastai_predict
from bench.bundle import CLASSES, INPUT, OUTPUT, BenchBundle, Images
from bench.line_run import EVERY_MS, through_the_line
from bench.timing import HEADER, Timing, paced, summary
from edge.bundle import Member
from edge.inspector.engines.openvino import Compiler


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
