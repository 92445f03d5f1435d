"""`cordon bench storm`: a good camera's verdicts before, while and after a thousand strangers besiege the port that its frames come by."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import zmq
from numpy.typing import NDArray

from bench.driver import CAMERA as CAMERA_NAME
from bench.driver import Driver
from bench.line_run import SignedBundle
from bench.storm_crowd import Mode
from bench.timing import summary
from edge.contract import Outcome
from edge.curve_keys import CurvePair, new_curve_pair
from edge.errors import SimulationError
from edge.inspector.frame import encode_alive
from sim.camera_keys import CameraKeys, Identity
from sim.line import Line, LineSpec

Direction: TypeAlias = Literal["listen", "connect"]
EXPOSURE_S = 0.008
UNLIKE = 20
"""So many different images at least: the inspector takes one of the last sixteen for a frozen camera's."""
READY_S = 60.0
CAMERA, STRANGERS = "127.0.0.1", {"same": "127.0.0.1", "other": "127.0.0.2"}
"""Where frames come from, and strangers: from the camera's own address, as a NAT would show them, or from another."""
HEADER = (
    f"{'direction':<10}{'strangers':<10}{'':<9}{'phase':<8}{'welds':>6}{'missing':>9}{'false':>7}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}"
)


@dataclass(frozen=True)
class Phase:
    """Welds of one phase: latencies of ACCEPTs in ms, verdicts that did not come, and why good welds were rejected."""

    name: str
    taken_ms: list[float]
    missing: int
    reasons: Counter[str]

    @property
    def rejected(self) -> int:
        """Good welds that were rejected."""
        return sum(self.reasons.values())

    @property
    def undisturbed(self) -> bool:
        """Did every good weld get its ACCEPT?"""
        return not self.missing and not self.rejected


@dataclass(frozen=True)
class Siege:
    """One storm: how it came, what its crowd met, the three phases, and how long a camera that dropped out took to come back in it."""

    direction: Direction
    source: str
    mode: Mode
    crowd: dict[str, int]
    phases: tuple[Phase, ...]
    back_s: float

    def rows(self) -> Iterator[str]:
        """Lines below HEADER."""
        for phase in self.phases:
            timing = summary("", phase.taken_ms or [float("nan")])
            yield (
                f"{self.direction:<10}{self.source:<10}{self.mode:<9}{phase.name:<8}{len(phase.taken_ms):>6}{phase.missing:>9}"
                f"{phase.rejected:>7}{timing.p50_ms:>9.2f}{timing.p99_ms:>9.2f}{timing.max_ms:>9.2f}  {', '.join(phase.reasons)}"
            )
        yield f"{'':<38}crowd: {json.dumps(self.crowd)}; a camera that dropped out: ACCEPT again after {self.back_s:.1f} s"


class KeyedDriver(Driver):
    """A measuring robot whose camera has a key."""

    def __init__(self, spec: LineSpec, typology: str, keys: CameraKeys, *, connect: bool) -> None:
        self._connects, self._endpoint = connect, spec.camera
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._identity = Identity(self._context, keys)
        super().__init__(spec.port, spec.camera, typology, distinct=False)

    def camera_socket(self, endpoint: str) -> zmq.Socket[bytes]:
        """It binds, or connects to a box that listens; either way it proves its key."""
        camera = self._context.socket(zmq.PUB)
        camera.setsockopt(zmq.HANDSHAKE_IVL, 3_000)
        if self._connects:
            self._identity.connecting(camera)
            camera.connect(endpoint)
        else:
            self._identity.binding(camera)
            camera.bind(endpoint)
        return camera

    def come_back(self, images: Iterator[NDArray[np.uint8]]) -> float:
        """Lose the camera's connection and make a new one; seconds until a weld is accepted again. Raises SimulationError."""
        began_s = time.monotonic()
        if self._connects:
            self._camera.close(linger=0)
            self._camera = self.camera_socket(self._endpoint)
        while time.monotonic() - began_s < READY_S:
            if not self.session:
                self.renew(READY_S)
            self.say_alive()
            self.idle(0.05)
            cycle = self.inspect(next(images), exposure_s=EXPOSURE_S, deadline_s=0.5)
            if cycle.verdict is None:
                self.renew(READY_S)
            elif cycle.verdict.outcome is Outcome.ACCEPT:
                return time.monotonic() - began_s
        raise SimulationError(
            "a camera did not come back", seen=f"{READY_S:g} s", remedy="See `crowd`: did strangers take every connection?"
        )

    def say_alive(self) -> None:
        """One alive message, which the box waits for before it is READY."""
        self._camera.send_multipart(encode_alive(CAMERA_NAME, self._counter, time.time_ns()))

    def close(self) -> None:
        """Close the camera, its guard, and hang up."""
        super().close()
        self._identity.close()
        self._context.term()


def besiege(
    bundle: SignedBundle, direction: Direction, source: str, mode: Mode, *, connections: int, seconds: float, every_ms: float
) -> Siege:
    """One line with real gate and inspector, and `seconds` of welds before, during and after a storm. Raises SimulationError."""
    with tempfile.TemporaryDirectory(prefix="cordon-") as name:
        folder = Path(name)
        box, camera = new_curve_pair(folder, "box")[0], new_curve_pair(folder, "cam0")[0]
        port = random.SystemRandom().randint(20_000, 32_000)
        spec = line_spec(folder, bundle, direction, camera, port)
        target, server = f"{CAMERA}:{port}", box if direction == "listen" else camera
        with Line(spec) as line, Crowd(target, mode, source, connections, server) as crowd:
            driver = KeyedDriver(spec, bundle.typologies[0], CameraKeys(camera, (box.public,)), connect=direction == "listen")
            try:
                line.start_daemons()
                driver.wait_ready(READY_S)
                images, welds = itertools.cycle(bundle.accepted), max(1, int(seconds * 1000 / every_ms))
                phase("warm", driver, images, UNLIKE, every_ms)
                crowd.wait(driver)
                before = phase("before", driver, images, welds, every_ms)
                crowd.storm()
                during = phase("during", driver, images, welds, every_ms)
                crowd.count()
                back_s = driver.come_back(images)
                crowd.go()
                after = phase("after", driver, images, welds, every_ms)
            finally:
                driver.close()
    return Siege(direction, source, mode, crowd.met, (before, during, after), back_s)


def line_spec(folder: Path, bundle: SignedBundle, direction: Direction, camera: CurvePair, port: int) -> LineSpec:
    """A line whose camera proves a key over TCP."""
    table = f'keys = ["{camera.public.decode()}"]\n'
    if direction == "listen":
        table += f'listen = true\nallow = ["{CAMERA}"]\n'
    table += f'[inspector.curve]\nkey = "{folder}/box.curve"\n'
    endpoint = f"tcp://{CAMERA}:{port}"
    return LineSpec(folder=folder, bundle=bundle.path, key=bundle.key, budget_ms=200, endpoint=endpoint, camera_table=table)


def phase(name: str, driver: Driver, images: Iterator[NDArray[np.uint8]], welds: int, every_ms: float) -> Phase:
    """`welds` good welds, one per `every_ms`."""
    taken: list[float] = []
    missing, reasons = 0, Counter[str]()
    for _ in range(welds):
        cycle = driver.inspect(next(images), exposure_s=EXPOSURE_S)
        if cycle.verdict is None:
            missing += 1
            driver.renew(READY_S)
        elif cycle.verdict.outcome is Outcome.ACCEPT:
            taken.append(cycle.latency_ms)
        else:
            reasons[cycle.verdict.reason.value] += 1
        driver.idle(max(0.0, every_ms / 1000 - EXPOSURE_S - cycle.latency_ms / 1000))
    return Phase(name, taken, missing, reasons)


class Crowd:
    """The strangers' process: there from the start, so that only what it does counts. `met` is filled in when it has ended."""

    def __init__(self, target: str, mode: Mode, source: str, connections: int, server: CurvePair) -> None:
        words = ["--target", target, "--mode", mode, "--connections", str(connections), "--source", STRANGERS[source]]
        command = [sys.executable, "-m", "bench.storm_crowd", *words, "--server-key", server.public.decode()]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.met: dict[str, int] = {}

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_error: object) -> None:
        self.go()
        told, _ = self._process.communicate(timeout=READY_S)
        self.met |= json.loads(told.splitlines()[-1]) if told.startswith("{") or "\n{" in told else {}

    def wait(self, driver: Driver) -> None:
        """Until the process is ready; the robot's session is kept alive meanwhile."""
        out = self._process.stdout
        assert out is not None
        while not select.select([out], [], [], 0)[0]:
            driver.idle(0.05)

    def storm(self) -> None:
        """Begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("storm\n")
        self._process.stdin.flush()

    def count(self) -> None:
        """The camera is about to leave: who came through until now did so while it was heard."""
        self._process.send_signal(signal.SIGUSR1)

    def go(self) -> None:
        """End; without waiting for it."""
        self._process.send_signal(signal.SIGTERM)


def main(argv: Sequence[str]) -> int:
    """Verdicts before, during and after each kind of storm, in one table; fails when a good weld lost its ACCEPT. The last line is JSON."""
    parser = argparse.ArgumentParser(prog="cordon bench storm", description=main.__doc__)
    parser.add_argument("--connections", type=int, default=1_000, help="strangers at a time (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of welds in each phase (default %(default)s)")
    parser.add_argument("--every-ms", type=float, default=50.0, help="one weld each (default %(default)s)")
    parser.add_argument("--direction", choices=get_args(Direction), action="append", help="default: listen")
    parser.add_argument(
        "--strangers", choices=sorted(STRANGERS), action="append", help="from the camera's own address, or another; default: both"
    )
    parser.add_argument("--mode", choices=get_args(Mode), action="append", help="default: all")
    parser.add_argument("--threads", type=int, default=2, help="threads of one engine call (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    arguments = parser.parse_args(argv)
    bundle = _bundle(arguments.out, arguments.threads)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}; {arguments.connections} strangers")
    print(HEADER)
    effort = {"connections": arguments.connections, "seconds": arguments.seconds, "every_ms": arguments.every_ms}
    sieges = []
    for direction in arguments.direction or ["listen"]:
        for source in arguments.strangers or ("same", "other"):
            for mode in arguments.mode or get_args(Mode):
                sieges.append(besiege(bundle, direction, source, mode, **effort))
                print("\n".join(sieges[-1].rows()), flush=True)
    disturbed = [siege for siege in sieges if not all(phase.undisturbed for phase in siege.phases[1:])]
    worst = max(max(siege.phases[1].taken_ms, default=0.0) for siege in sieges)
    print(json.dumps({"storms": len(sieges), "disturbed": len(disturbed), "worst_during_ms": round(worst, 2)}))
    return 1 if disturbed else 0


def _bundle(folder: Path, threads: int) -> SignedBundle:
    from bench.bundle import make_bundle  # noqa: PLC0415 - PyTorch, which the tests of this module need not
    from sim.welds import make_weld, to_heightmap  # noqa: PLC0415 - as above

    images = np.stack([to_heightmap(make_weld("T3", "none", seed)) for seed in range(64)])
    return make_bundle(folder, images, typologies=1, threads=threads)
