"""From a frame in memory to its score, on the machine that the inspector uses, and from trigger to verdict through both daemons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.gpu_build import Built
from bench.gpu_engines import EngineTimes
from bench.gpu_parts import Scale
from bench.gpu_scans import FULL_SPEC, organised_cloud, range_image
from bench.line_run import through_the_line
from bench.timing import Timing, paced, summary
from edge.errors import SimulationError
from edge.inspector.gpu import GpuMachine, GpuPreparation
from edge.inspector.heightmap.spec import HeightmapSpec
from edge.inspector.machine import Engine, prepare_and_run
from edge.inspector.scan import Scan
from edge.inspector.scoring import typology_score

TARGET_MS = 0.5
"""Frame to score may take so much longer than the engines alone."""
PACE_MS = 20.0


@dataclass(frozen=True, kw_only=True)
class VerdictTimes:
    """Milliseconds from a frame in the CPU's memory to its score."""

    name: str
    networks: int
    frame_bytes: int
    total: Timing
    """Frames one right after the other."""
    paced: Timing
    """One frame per 20 ms, as on a line: between them a GPU may slow its clocks."""
    engine_ms: float
    """Median of the same networks alone on the GPU, between events."""

    @property
    def above_p50_ms(self) -> float:
        """Median above the engines."""
        return self.total.p50_ms - self.engine_ms

    @property
    def above_p99_ms(self) -> float:
        """99th percentile above the engines' median."""
        return self.total.p99_ms - self.engine_ms


@dataclass(frozen=True, kw_only=True)
class LineTimes:
    """Frame published to verdict at the robot, by gate and inspector as processes."""

    verdicts: Timing
    missing: int


def measure_verdicts(built: Built, engines: Sequence[EngineTimes], scale: Scale) -> tuple[VerdictTimes, ...]:
    """Three kinds of frames for one network and for all. Raises EngineError, GpuError or FrameError."""
    alone = {(t.setting.networks, t.setting.streams): t.gpu.p50_ms for t in engines if t.setting.graphs and t.setting.precision == "int8"}
    measured = []
    for networks in dict.fromkeys((1, scale.typologies)):
        streams = 1 if networks == 1 else scale.streams[-1]
        for name, scan, spec in _frames(built, scale):
            with _machine(built, spec, networks, streams) as (machine, preparation, running):
                judged = _Judged(machine=machine, preparation=preparation, engines=running, scan=scan)
                measured.append(judged.measure(name, scale, alone[networks, streams]))
    return tuple(measured)


def _frames(built: Built, scale: Scale) -> Iterator[tuple[str, Scan, HeightmapSpec]]:
    rows, cols = scale.cloud
    windowed = built.networks.bundle.manifest.typologies[0].heightmap
    yield "heightmap 352 x 128 u8", Scan(image=built.networks.accepted[0], kind="heightmap"), windowed
    yield "range 352 x 128 u16", range_image(), FULL_SPEC
    yield f"cloud {cols} x {rows}", organised_cloud(rows, cols), FULL_SPEC


@contextmanager
def _machine(built: Built, spec: HeightmapSpec, networks: int, streams: int) -> Iterator[tuple[GpuMachine, GpuPreparation, list[Engine]]]:
    """The inspector's GPU with the first networks of the bundle reading heightmaps of `spec`."""
    bundle = built.networks.bundle
    machine = GpuMachine(bundle, built.backend.name, built.config(streams=streams))
    try:
        preparation = machine.preparation(spec)
        engines: list[Engine] = [
            machine.engine(member, bundle.files[member.file], preparation, typology) for typology, member in built.members(networks)
        ]
        machine.ready()
        yield machine, preparation, engines
    finally:
        machine.close()


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """One frame, again and again."""

    machine: GpuMachine
    preparation: GpuPreparation
    engines: Sequence[Engine]
    scan: Scan

    def judge(self) -> None:
        """From the frame to every network's score."""
        prepare_and_run(self.machine, self.scan, (self.preparation,), self.engines)
        for engine in self.engines:
            typology_score([engine.output.tolist()], (engine.member,), "mean", "bad")

    def measure(self, name: str, scale: Scale, engine_ms: float) -> VerdictTimes:
        """Warm up, then one right after the other, then paced."""
        for _ in range(scale.warm_frames):
            self.judge()
        return VerdictTimes(
            name=name,
            networks=len(self.engines),
            frame_bytes=self.scan.image.nbytes,
            total=summary(name, paced(self.judge, count=scale.frames, every_ms=0.0)),
            paced=summary(name, paced(self.judge, count=scale.frames, every_ms=PACE_MS)),
            engine_ms=engine_ms,
        )


def measure_line(built: Built, scale: Scale) -> LineTimes:
    """Gate and inspector with the first precision's networks. Raises SimulationError, with the inspector's log, where no verdict came."""
    networks, config = built.networks, built.config()
    table = (
        f'backend = "{built.backend.name}"\n[inspector.gpu]\nengines = "{built.folder}"\nbox_keys = ["{built.box_key}"]\n'
        f"timeout_ms = {config.timeout_ms}\n"
    )
    taken, missing = through_the_line(networks, count=scale.line_frames, threads=2, prewarm=True, more=table)
    if not taken:
        seen = f"{missing} rejected or missing"
        raise SimulationError("the daemons accepted no weld on the GPU", seen=seen, remedy="Run the inspector by itself")
    return LineTimes(verdicts=summary("frame published -> verdict at the robot", taken), missing=missing)
