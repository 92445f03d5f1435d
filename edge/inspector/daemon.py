"""The inspector: frames in from the cameras, one report per frame out to the gate; it may be killed at any moment without harm."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import cv2
import zmq

from edge.bundle import Bundle
from edge.bundles.opening import open_configured, open_spare
from edge.bundles.starts import Starts
from edge.config import Config, load_config
from edge.contract import Expect, Reason, Settled
from edge.errors import BundleError, ContractError, CordonError, EngineError, FrameError, GpuError, KnownAnswerError
from edge.inspector.alive import STEP_S, Alive
from edge.inspector.archive import Archive
from edge.inspector.archive_map import Shown
from edge.inspector.camera import NS_PER_MS, Arrival, CameraFeed
from edge.inspector.cuda.leave import gave_up, leave
from edge.inspector.explaining import NOTHING, Explainer
from edge.inspector.frame import FrameHeader, payload_image
from edge.inspector.gate_link import GateLink
from edge.inspector.judging import Finding, choose_typology, inspect
from edge.inspector.loader import Loaded
from edge.inspector.machines import load
from edge.inspector.rehearsal import EVERY_MS, Rehearsal
from edge.inspector.reporting import Status, reason_of, refusal, report_of
from edge.inspector.scan import Scan
from edge.inspector.watch import LOADING_S, STILL_S, Watch
from edge.notify import Notifier

HEARTBEAT_NS = 80 * NS_PER_MS
FAULT_WAIT_S = 1.0
"""How long a bundle fault waits for the gate's socket before the process ends."""
ENGINE_FAULTS, ENGINE_WINDOW_S = 3, 60.0
"""So many engine failures within the window end the process: a compiled network that failed once keeps failing (OpenVINO keeps
the state of its graph), and the service manager starts a fresh one."""
QUIET_NS, COLLECT_NS = 1_000 * NS_PER_MS, 10_000 * NS_PER_MS

log = logging.getLogger("cordon.inspector")


class InspectorDaemon:
    """Loads and proves the bundle on construction; then `step` waits for and handles what the gate and the cameras send."""

    def __init__(self, config: Config, notifier: Notifier | None = None) -> None:
        self._started = time.monotonic()
        self._notifier = notifier
        self._config = config.inspector
        self._status, self._gate = Status(), GateLink(config.gate.socket)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self._feeds = [self._subscribe(index) for index in range(len(self._config.camera))]
        self._stopping = self._ready = False
        self._expected: Expect | None = None
        self._fallback: BundleError | None = None
        self._starts = Starts(config.gate.socket.with_name("inspector.starts") if self._config.bundles is not None else None)
        self._rehearsal = Rehearsal()
        self._archive = Archive(self._config.archive) if self._config.archive is not None else None
        self._faults: deque[float] = deque(maxlen=ENGINE_FAULTS)
        self._told: tuple[object, ...] = ()
        self._beat_ns = self._frame_ns = self._collected_ns = 0
        self._polled_gate = -1
        cv2.setNumThreads(1)
        self._loaded = self._load()
        self._status.loaded = self._loaded
        self._explainer = Explainer(self._loaded, self._config.explain)
        if self._explainer.without:
            log.warning("explain is on, but these typologies' networks give no map: %s", ", ".join(self._explainer.without))

    @property
    def ready(self) -> bool:
        """Are the engines proved and all cameras heard?"""
        return self._ready

    def run(self, alive: Callable[[], None] = lambda: None) -> None:
        """Step until `stop`; `alive` hears of every step."""
        while not self._stopping:
            self.step()
            alive()

    def step(self) -> None:
        """Wait at most until the next heartbeat is due and handle what came. Raises EngineError after repeated engine failures."""
        self._keep_connected()
        ready = dict(self._poller.poll(self._wait_ms()))
        expected = self._receive_expectation() if self._polled_gate in ready else None
        arrivals = [arrival for feed in self._feeds if feed.socket in ready and (arrival := feed.receive()) is not None]
        for arrival in arrivals:
            self._work(arrival)
        if not arrivals:
            self._warm(expected)
        self._heartbeat()

    def stop(self) -> None:
        """Let `run` return after the step in progress."""
        self._stopping = True

    def close(self) -> None:
        """Free the sockets, then the engines; the gate sees its connection end. The garbage collector is as before."""
        self._gate.close()
        for feed in self._feeds:
            feed.socket.close()
        self._context.term()
        if self._archive is not None:
            self._archive.close()
        if self._status.loaded is not None:
            self._status.loaded.machine.close()
        gc.unfreeze()
        gc.enable()

    # -- starting

    def _subscribe(self, index: int) -> CameraFeed:
        feed = CameraFeed(
            self._config.camera[index],
            self._context,
            max_frame_bytes=self._config.max_frame_bytes,
            receive_queue=self._config.receive_queue,
        )
        self._poller.register(feed.socket, zmq.POLLIN)
        return feed

    def _load(self) -> Loaded:
        try:
            return self._load_active()
        except (BundleError, KnownAnswerError, EngineError) as exc:
            self._tell_fault(exc)
            self.close()
            raise

    def _load_active(self) -> Loaded:
        try:
            bundle = open_configured(self._config)
            self._starts.begin(bundle.hash)
            loaded = self._prove(bundle)
        except (BundleError, KnownAnswerError, EngineError) as exc:
            spare = open_spare(self._config, exc)
            if spare is None:
                self._starts.through()
                raise
            bundle, self._fallback = spare
        else:
            self._starts.through()
            return loaded
        log.error("%s", self._fallback)
        self._tell_fallback()
        return self._prove(bundle)

    def _prove(self, bundle: Bundle) -> Loaded:
        self._milestone(f"bundle {bundle.manifest.name} version {bundle.manifest.version} verified, hash {bundle.hash[:12]}")
        loaded = load(bundle, self._config, progress=self._progress)
        self._milestone(f"{len(loaded.judges)} typologies on {loaded.backend}, {loaded.known_answers} golden inputs agreed")
        return loaded

    def _progress(self, step: str) -> None:
        self._milestone(step)
        if self._notifier is not None:
            self._notifier.extend(STEP_S)
        self._keep_connected()
        self._tell_state(time.monotonic_ns(), camera_alive=False)

    def _tell_fault(self, exc: CordonError) -> None:
        until = time.monotonic() + FAULT_WAIT_S
        while time.monotonic() < until:
            self._gate.connect()
            if self._gate.connected and self._gate.send(self._status.state(ready=False, camera_alive=False, fault=exc)):
                # Closing with unread packets would make the gate's kernel report a reset before the fault.
                while self._gate.receive() is not None:
                    continue
                return
            time.sleep(0.01)
        log.warning("the gate could not be told of the fault: nobody listens at its socket")

    def _tell_fallback(self) -> None:
        """As a fault, so that the records have it; what follows says that there is a bundle all the same."""
        if self._fallback is not None and self._gate.connected:
            self._gate.send(self._status.state(ready=False, camera_alive=False, fault=self._fallback))

    def _milestone(self, text: str) -> None:
        log.info("%s (%.2f s)", text, time.monotonic() - self._started)

    # -- the gate

    def _keep_connected(self) -> None:
        if self._gate.connect():
            self._milestone(f"connected to the gate; {self._gate.undelivered} messages were dropped while it was away")
            self._gate.undelivered = 0
            self._told = ()
            self._tell_fallback()
        if self._gate.fileno() != self._polled_gate:
            if self._polled_gate >= 0:
                self._poller.unregister(self._polled_gate)
                log.warning("the gate went away; frames are judged and dropped until it is back")
            self._polled_gate = self._gate.fileno()
            if self._polled_gate >= 0:
                self._poller.register(self._polled_gate, zmq.POLLIN)

    def _receive_expectation(self) -> Expect | None:
        newest = None
        try:
            while (message := self._gate.receive()) is not None:
                if isinstance(message, Expect):
                    newest = self._expected = message
                elif isinstance(message, Settled) and self._archive is not None:
                    self._archive.settle(message)
        except ContractError:
            log.exception("dropping the connection to the gate")
            self._gate.close()
        return newest

    def _wait_ms(self) -> int:
        now = time.monotonic_ns()
        beat = max(0, (HEARTBEAT_NS - (now - self._beat_ns)) // NS_PER_MS)
        return min(beat, EVERY_MS) if self._rehearsal.wanted(now) else beat

    def _heartbeat(self) -> None:
        now = time.monotonic_ns()
        alive = all(feed.alive(now) for feed in self._feeds)
        if alive != self._ready:
            self._change_ready(alive)
        if not alive:
            for feed in self._feeds:
                feed.renew(now)
        self._tell_state(now, camera_alive=alive)
        if self._archive is not None:
            for event in self._archive.events():
                self._gate.send(event)
        self._collect_when_quiet(now)

    def _tell_state(self, now: int, *, camera_alive: bool) -> None:
        status = (self._ready, camera_alive)
        if status != self._told or now - self._beat_ns >= HEARTBEAT_NS:
            self._told, self._beat_ns = status, now
            if self._gate.connected:
                self._gate.send(self._status.state(ready=self._ready, camera_alive=camera_alive))

    def _change_ready(self, ready: bool) -> None:
        self._ready = ready
        self._milestone("READY" if ready else "not READY: a camera is silent")
        if ready and gc.isenabled():
            gc.collect()
            gc.freeze()
            gc.disable()

    def _collect_when_quiet(self, now: int) -> None:
        # Refused frames leave exceptions behind; with the collector off, quiet times must clear them.
        if not gc.isenabled() and now - self._frame_ns > QUIET_NS and now - self._collected_ns > COLLECT_NS:
            self._collected_ns = now
            gc.collect()

    # -- frames

    def _work(self, arrival: Arrival) -> None:
        failure = None
        if arrival.header is not None:
            finding, failure = self._judge(arrival, arrival.header)
            explained = self._explainer.of(finding) if failure is None else NOTHING
            self._gate.send(report_of(arrival, arrival.header, finding, self._loaded, explained))
            self._status.frame(finding)
            self._frame_ns = arrival.received_ns
            if self._archive is not None:
                self._archive.hold(arrival, Shown.of(finding, explained))
        for event in arrival.events:
            self._gate.send(event)
            self._status.event(event)
        if failure is not None:
            self._engine_failed(failure)

    def _judge(self, arrival: Arrival, header: FrameHeader) -> tuple[Finding, EngineError | None]:
        if arrival.reason is not Reason.OK:
            return refusal(arrival.reason, arrival.detail), None
        try:
            typology = choose_typology(header.typology, self._expected_typology(header), self._loaded)
            scan = Scan.of(header, payload_image(header, arrival.payload))
            finding = inspect(self._loaded, scan, typology, every_engine=self._config.engines == "all")
        except FrameError as exc:
            return refusal(exc.reason, str(exc)), None
        except EngineError as exc:
            return refusal(reason_of(exc), str(exc)), exc
        self._rehearsal.keep(arrival, finding)
        return finding, None

    def _expected_typology(self, header: FrameHeader) -> str | None:
        expected = self._expected
        return expected.typology if expected is not None and expected.trigger == header.trigger_id else None

    def _warm(self, expected: Expect | None) -> None:
        if not (self._config.prewarm and self._ready) or any(feed.waiting() for feed in self._feeds):
            return
        judge = None if expected is None else self._loaded.judges.get(expected.typology or "")
        now = time.monotonic_ns()
        try:
            if judge is not None:
                self._rehearsal.begin(judge, now)
                self._loaded.machine.warm(judge.engines)
            if self._rehearsal.wanted(now):
                self._rehearsal.walk(self._loaded)
        except EngineError as exc:
            self._engine_failed(exc)

    def _engine_failed(self, exc: EngineError) -> None:
        log.warning("%s", exc)
        if isinstance(exc, GpuError):
            self._tell_fault(exc)
            raise exc
        now = time.monotonic()
        self._faults.append(now)
        if len(self._faults) == ENGINE_FAULTS and now - self._faults[0] <= ENGINE_WINDOW_S:
            what = f"engines failed {ENGINE_FAULTS} times within {ENGINE_WINDOW_S:g} s"
            raise EngineError(what, seen=exc, remedy="The service manager starts the inspector again; check memory and bundle") from exc


def run_inspector(config_path: Path) -> int:
    """`cordon run inspector`: until SIGTERM, then 0. Raises CordonError when it cannot start or its engines keep failing."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        _serve(load_config(config_path))
    except BaseException as exc:
        if isinstance(exc, GpuError) or gave_up():
            try:
                _explain(exc)
            finally:
                leave(1)
        raise
    if gave_up():
        leave(0)
    return 0


def _explain(exc: BaseException) -> None:
    if isinstance(exc, CordonError):
        print(f"cordon run: {type(exc).__name__}: {exc}", file=sys.stderr)
    else:
        traceback.print_exception(exc)


def _serve(config: Config) -> None:
    notifier = Notifier()
    loading = Watch(LOADING_S)
    loading.feed()
    notifier.extend(STEP_S)
    try:
        daemon = InspectorDaemon(config, notifier)
    finally:
        loading.end()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        daemon.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    watch = Watch(STILL_S + (config.inspector.gpu.timeout_ms / 1000.0 if config.inspector.gpu else 0.0))
    alive = Alive(notifier, watch)
    try:
        daemon.run(lambda: alive.step(cameras=daemon.ready))
        notifier.stopping()
    finally:
        daemon.close()
        watch.end()
        notifier.close()
