"""How long a frame takes here at worst, from its bytes to its report: golden inputs walk the frames' own way, the collector off.

Twenty runs cannot tell a slow network from a machine that was busy for a moment, but what they mean can be told apart: a network
that is too slow is so in every attempt, a hiccup is not. So the worst run of an attempt counts, and the best of three attempts, which
lie apart in time. An attempt is short where nothing is near the limit (10 to 20 runs, the worst within half of it), long where it
is (20 to 50), and ends where even the fastest of 5 does not fit, or where 5 took seconds.
"""

from __future__ import annotations

import gc
import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edge.bundle import Bundle, Golden
from edge.config import InspectorConfig
from edge.contract import Reason, encode
from edge.errors import FrameError, KnownAnswerError
from edge.inspector.camera import Arrival
from edge.inspector.explaining import Explainer
from edge.inspector.frame import FrameHeader, check_payload, encode_frame, payload_image, read_header
from edge.inspector.judging import inspect
from edge.inspector.loader import Loaded, golden_scan
from edge.inspector.reporting import report_of
from edge.inspector.scan import Scan

ATTEMPTS, PAUSES_S = 3, (0.1, 0.5)
HOPELESS_RUNS, FAR_RUNS, NEAR_RUNS, MOST_RUNS = 5, 10, 20, 50
FAR = 0.5
"""A worst run within this part of the limit is far from it."""
SHORT_S, LONG_S, TOO_LONG_S = 0.06, 0.5, 5.0
"""After so long an attempt goes on only where its least runs are not through: FAR_RUNS far from the limit, NEAR_RUNS near it, and no
more than HOPELESS_RUNS where a frame takes so long that a start would never end; a hiccup counts little beside such frames."""
NS_PER_MS = 1_000_000
ROUTED, EVERY = "named by the router", "every typology"

Between = Callable[[], None]
Timed = Callable[[], float]
"""One run; returns the milliseconds it took."""
Wait = Callable[[float], float]


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """The longest that frames of one typology took, in ms, and of how many runs that is; EVERY or ROUTED: frames of any."""

    name: str
    worst_ms: float
    """From the frame's bytes to the encoded report."""
    wait_ms: float
    """Before that: engines that are being warmed for a frame when it comes."""
    runs: int
    attempts: int

    @property
    def needed_ms(self) -> float:
        """What a frame takes of the inspector's time at worst."""
        return self.wait_ms + self.worst_ms


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One attempt: its worst run and what a frame may have to wait before it, in ms."""

    worst_ms: float
    wait_ms: float
    runs: int

    @property
    def needed_ms(self) -> float:
        """Both together."""
        return self.worst_ms + self.wait_ms


def worst_of(
    timed: Timed, limit_ms: float, *, wait: Wait = lambda _: 0.0, least: int = 1, between: Between = lambda: None
) -> tuple[Seen, int]:
    """The best attempt, and how many there were. `wait`: what the fastest run says of the wait before; `between` hears of every run."""
    best: Seen | None = None
    for attempt in range(1, ATTEMPTS + 1):
        seen = _attempt(timed, limit_ms, wait, least, between)
        best = seen if best is None or seen.needed_ms < best.needed_ms else best
        if best.needed_ms <= limit_ms or limit_ms <= 0 or attempt == ATTEMPTS:
            return best, attempt
        _rest(PAUSES_S[attempt - 1], between)
    raise AssertionError("there is an attempt at least")


def _attempt(timed: Timed, limit_ms: float, wait: Wait, least: int, between: Between) -> Seen:
    worst_ms, fastest_ms, run, began_s = 0.0, float("inf"), 0, time.monotonic()
    while True:
        run += 1
        took_ms = timed()
        between()
        worst_ms, fastest_ms = max(worst_ms, took_ms), min(fastest_ms, took_ms)
        seen = Seen(worst_ms=worst_ms, wait_ms=wait(fastest_ms), runs=run)
        hopeless = run >= HOPELESS_RUNS and fastest_ms + seen.wait_ms > limit_ms
        far = seen.needed_ms <= FAR * limit_ms
        most, long_s, fewest = (NEAR_RUNS, SHORT_S, FAR_RUNS) if far else (MOST_RUNS, LONG_S, NEAR_RUNS)
        took_s = time.monotonic() - began_s
        enough = run >= most or (run >= fewest and took_s > long_s) or (run >= HOPELESS_RUNS and took_s > TOO_LONG_S)
        if hopeless or (run >= least and enough):
            return seen


def _rest(seconds: float, between: Between) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        between()
        time.sleep(0.01)


def worst_cases(
    loaded: Loaded,
    bundle: Bundle,
    config: InspectorConfig,
    *,
    limit_ms: float,
    warmed_ms: float | None = None,
    between: Between = lambda: None,
) -> tuple[WorstCase, ...]:
    """One per typology, and one for frames that the router has to name; with `engines = "all"` one for all, for all run alike.

    `bundle` is the one that `loaded` came from. `limit_ms`: what a frame may take; it decides how long is looked, and nothing is refused
    here. `warmed_ms`: a trigger warms its engines so long before its frame can come; None: it does not. `between` is called after every
    run, never inside one. Raises EngineError or KnownAnswerError.
    """
    walk = _Walk(loaded, config)
    with _collector_off():
        return tuple(_case(walk, route, limit_ms, warmed_ms, between) for route in _routes(loaded, bundle, every=config.engines == "all"))


@dataclass(frozen=True, kw_only=True)
class _Route:
    """Frames that take one way, each with the typology that it or its trigger names."""

    name: str
    frames: list[tuple[Arrival, str | None]]
    warmed: float
    """The part of its engines that a trigger warms."""


def _routes(loaded: Loaded, bundle: Bundle, *, every: bool) -> list[_Route]:
    named = [
        _Route(name=name, frames=[(_frame(golden, bundle, loaded), name) for golden in judge.spec.golden], warmed=1.0)
        for name, judge in loaded.judges.items()
    ]
    goldens = () if loaded.router is None else loaded.router.spec.golden
    routed = [_Route(name=ROUTED, frames=[(_frame(golden, bundle, loaded), None) for golden in goldens], warmed=0.0)] if goldens else []
    if not every:
        return named + routed
    frames = [frame for route in named + routed for frame in route.frames]
    largest = max(len(judge.engines) for judge in loaded.judges.values())
    return [_Route(name=EVERY, frames=frames, warmed=largest / len(loaded.engines))]


def _case(walk: _Walk, route: _Route, limit_ms: float, warmed_ms: float | None, between: Between) -> WorstCase:
    def wait(fastest_ms: float) -> float:
        # A run holds its engines' work, so the fastest one bounds what warming them takes on a machine that is not disturbed.
        return 0.0 if warmed_ms is None else max(0.0, fastest_ms * route.warmed - warmed_ms)

    seen, attempts = worst_of(_in_turn(walk, route.frames), limit_ms, wait=wait, least=len(route.frames), between=between)
    return WorstCase(name=route.name, worst_ms=seen.worst_ms, wait_ms=seen.wait_ms, runs=seen.runs, attempts=attempts)


@contextmanager
def _collector_off() -> Iterator[None]:
    """As it is once the inspector is READY; beside a running line it is the line's own affair."""
    was = gc.isenabled() and threading.current_thread() is threading.main_thread()
    if not was:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _in_turn(walk: _Walk, frames: list[tuple[Arrival, str | None]]) -> Timed:
    number = 0

    def timed() -> float:
        nonlocal number
        number += 1
        return walk.timed(*frames[number % len(frames)])

    walk.timed(*frames[0])
    return timed


class _Walk:
    """A frame's way from its bytes to its report."""

    def __init__(self, loaded: Loaded, config: InspectorConfig) -> None:
        self.loaded = loaded
        self._every = config.engines == "all"
        self._explainer = Explainer(loaded, config.explain)

    def timed(self, frame: Arrival, typology: str | None) -> float:
        """One run in ms."""
        began_ns = time.monotonic_ns()
        try:
            self._run(frame, typology)
        except FrameError as exc:
            remedy = "Do not run this bundle on this box: export it again and verify it here"
            raise KnownAnswerError("a golden input that was proved gives no score", seen=exc, remedy=remedy) from exc
        return (time.monotonic_ns() - began_ns) / NS_PER_MS

    def _run(self, frame: Arrival, typology: str | None) -> None:
        header = read_header(frame.text)
        check_payload(header, frame.payload)
        hashlib.blake2b(frame.payload, digest_size=16).hexdigest()
        scan = Scan.of(header, payload_image(header, frame.payload))
        finding = inspect(self.loaded, scan, typology, every_engine=self._every)
        encode(report_of(frame, header, finding, self.loaded, self._explainer.of(finding)))


def _frame(golden: Golden, bundle: Bundle, loaded: Loaded) -> Arrival:
    """The golden input as a camera would send it."""
    header = FrameHeader(
        version=1, camera="start-up", counter=0, trigger=None, part="golden", weld="golden", typology=None, kind=golden.kind,
        shape=golden.shape, dtype=golden.dtype, pitch_mm=golden.pitch_mm, z_scale_mm=golden.z_scale_mm, z_offset_mm=golden.z_offset_mm,
        no_data="nan" if math.isnan(golden.no_data) else golden.no_data, captured_ns=0, crc32=0,
    )  # fmt: skip
    _, text, payload = encode_frame(header, golden_scan(golden, bundle).image)
    return Arrival(read_header(text), text, memoryview(payload), loaded.bundle[:32], time.monotonic_ns(), Reason.OK, "", ())
