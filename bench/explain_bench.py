"""`cordon bench explain`: what the map costs, one network with and without it, in turns within one run."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from calib.quantise import quantise
from edge.config import Explain
from edge.inspector.explaining import Explainer
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.inspector.judging import inspect
from edge.inspector.loader import Judge, Loaded
from edge.inspector.machine import CpuMachine
from edge.inspector.scan import Scan
from edge.manifest import Golden, MapOutput, Member, TypologySpec
from export.graph.evidence import MAP, with_map
from export.sources.load import load_source
from sim.welds import make_weld, to_heightmap

WARM_UP = 50
KINDS = ("none", "pore", "ball", "cut", "excess", "missing", "deviation", "brightness")


def main(argv: Sequence[str]) -> int:
    """Median and 99th percentile of an engine call and of a judged frame, INT8 by OpenVINO; the last line printed is JSON."""
    parser = argparse.ArgumentParser(prog="cordon bench explain", description=main.__doc__)
    parser.add_argument("network", type=Path, nargs="?", default=Path("checkpoints/T3.safetensors"), metavar="NETWORK")
    parser.add_argument("--count", type=int, default=2_000, help="calls of each kind (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args(argv)
    images = np.stack([to_heightmap(make_weld("T3", kind, 4_000 + n)) for n in range(8) for kind in KINDS])[:, None]
    source = load_source(arguments.network)
    plain = quantise(source.to_onnx(), images)
    mapped, shape = with_map(plain, source.classes.index("bad"))
    member = Member(name="one", file="one", architecture=source.architecture, input="heightmap", output="scores", classes=source.classes)
    telling = msgspec.structs.replace(member, map=MapOutput(name=MAP, shape=shape))
    boxes = {
        "without": Box(member, plain, source.heightmap, "none", arguments.threads),
        "cut off": Box(telling, mapped, source.heightmap, "none", arguments.threads),
        "with": Box(telling, mapped, source.heightmap, "all", arguments.threads),
    }
    times = in_turns(boxes, images[:, 0], arguments.count)
    print(f"{platform.machine()}, {arguments.network.name}, INT8, map {shape[0]} x {shape[1]}, {arguments.threads} threads")
    figures = {name: (float(np.median(values)), float(np.quantile(values, 0.99))) for name, values in times.items()}
    for name, (median, p99) in figures.items():
        print(f"{name:16s} p50 {median:7.3f} ms  p99 {p99:7.3f} ms")
    extra = {
        f"{what}_extra_{which}": round(figures[f"{what} with"][at] / figures[f"{what} without"][at] - 1, 4)
        for what in ("engine", "frame")
        for at, which in enumerate(("p50", "p99"))
    }
    print(json.dumps(extra))
    return 0


class Box:
    """One typology of one network, as an inspector holds it."""

    def __init__(self, member: Member, graph: bytes, heightmap: HeightmapSpec, asked: Explain, threads: int) -> None:
        machine = CpuMachine(threads=threads, maps=asked != "none")
        preparation = machine.preparation(heightmap)
        self.engine = machine.engine(member, memoryview(graph), preparation, "T")
        golden = tuple(
            Golden(file=label, label=label, kind="heightmap", shape=(1, 1), dtype="u1", score=score)
            for label, score in (("good", 0.0), ("bad", 1.0))
        )
        spec = TypologySpec(name="T", heightmap=heightmap, members=(member,), threshold=0.5, golden=golden)
        judges = {"T": Judge(spec=spec, preparation=preparation, engines=(self.engine,))}
        self.loaded = Loaded(bundle="0" * 64, version=1, machine=machine, judges=judges, router=None)
        self._explainer = Explainer(self.loaded, asked)

    def frame(self, image: NDArray[np.uint8]) -> bytes:
        """From the image to score and map, as the report carries them."""
        finding = inspect(self.loaded, Scan(image=image, kind="heightmap"), "T", every_engine=False)
        found = self._explainer.of(finding)
        return msgspec.msgpack.encode((finding.score, found.text, found.note))


def in_turns(boxes: dict[str, Box], images: NDArray[np.uint8], count: int) -> dict[str, list[float]]:
    """Milliseconds of `count` calls of each, in turns whose order changes, so that a slow moment hits all of them."""
    times: dict[str, list[float]] = {f"{what} {name}": [] for what in ("engine", "frame") for name in boxes}
    names = list(boxes)
    for number in range(WARM_UP + count):
        image = images[number % len(images)]
        for name in names[number % len(names) :] + names[: number % len(names)]:
            calls: dict[str, Callable[[], object]] = {"frame": partial(boxes[name].frame, image), "engine": boxes[name].engine.run}
            for what, call in calls.items():
                began = time.perf_counter()
                call()
                if number >= WARM_UP:
                    times[f"{what} {name}"].append(1e3 * (time.perf_counter() - began))
    return times
