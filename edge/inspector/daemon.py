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

from edge.config import Config, read_config
from edge.contract import Expect, Reason, Settled
from edge.errors import ContractError, CordonError, EngineError, FrameError, GpuError
from edge.health.inspector import InspectorHealth
from edge.inspector.alive import STEP_S, Alive
from edge.inspector.announcing import Announcer
from edge.inspector.archive import Archive
from edge.inspector.archive_map import Shown
from edge.inspector.camera import NS_PER_MS, Arrival, CameraFeed
from edge.inspector.cuda.leave import gave_up, leave
from edge.inspector.curve import curve_of
from edge.inspector.explaining import NOTHING, Explainer
from edge.inspector.frame import FrameHeader, payload_image
from edge.inspector.judging import Finding, choose_typology, inspect
from edge.inspector.loader import Loaded
from edge.inspector.rehearsal import EVERY_MS, Rehearsal
from edge.inspector.reporting import reason_of, refusal, report_of
from edge.inspector.rereading import reread
from edge.inspector.scan import Scan
from edge.inspector.starting import Starting
from edge.inspector.successor import Restart, Successor
from edge.inspector.swap import Swap
from edge.inspector.watch import LOADING_S, STILL_S, Watch
from edge.log import Log
from edge.log_handler import log_through
from edge.notify import Notifier

ENGINE_FAULTS, ENGINE_WINDOW_S = 3, 60.0
"""So many engine failures within the window end the process: a compiled network that failed once keeps failing (OpenVINO keeps
the state of its graph), and the service manager starts a fresh one."""
QUIET_NS, COLLECT_NS = 1_000 * NS_PER_MS, 10_000 * NS_PER_MS

log = logging.getLogger("cordon.inspector")


class InspectorDaemon:
    """Loads and proves the bundle on construction; then `step` waits for and handles what the gate and the cameras send."""

    def __init__(
        self, config: Config, notifier: Notifier | None = None, reread: Callable[[], Config] | None = None, *, config_hash: str = ""
    ) -> None:
        """`reread` gives the configuration as it is when `reload` is called; without it, it stays as it was."""
        self._config = config.inspector
        self._curve = curve_of(self._config.curve)
        self._health = InspectorHealth(config.gate.socket)
        self._run_folder = config.gate.socket.parent
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._poller = zmq.Poller()
        self._announcer = Announcer(config.gate.socket, self._poller)
        self._announcer.on_milestone = self._health.loading
        self._gate, self._status = self._announcer.gate, self._announcer.status
        self._status.config = config_hash
        self._feeds = [self._subscribe(index) for index in range(len(self._config.camera))]
        self._stopping = False
        self._expected: Expect | None = None
        self._rehearsal = Rehearsal()
        self._archive = Archive(self._config.archive) if self._config.archive is not None else None
        self._faults: deque[float] = deque(maxlen=ENGINE_FAULTS)
        self._swap = Swap(config, self._announcer, notifier, reread)
        self._frame_ns = self._collected_ns = 0
        cv2.setNumThreads(1)
        self._loaded = self._load(Starting(config, self._announcer, notifier))
        self._status.loaded = self._loaded
        self._explainer = Explainer(self._loaded, self._config.explain).warned()

    @property
    def ready(self) -> bool:
        """Are the engines proved and all cameras heard?"""
        return self._announcer.ready

    def configured(self, config_hash: str) -> None:
        """The gate is told from now on that this configuration rules here; from any thread."""
        self._status.config = config_hash

    def run(self, alive: Callable[[], None] = lambda: None) -> None:
        """Step until `stop`; `alive` hears of every step."""
        while not self._stopping:
            self.step()
            alive()

    def step(self) -> None:
        """Wait at most until the next heartbeat is due and handle what came. Raises EngineError after repeated engine failures."""
        self._announcer.keep_connected()
        ready = dict(self._poller.poll(self._wait_ms()))
        expected = self._receive_expectation() if self._announcer.polled in ready else None
        arrivals = [arrival for feed in self._feeds if feed.socket in ready and (arrival := feed.receive()) is not None]
        for arrival in arrivals:
            self._work(arrival)
        if not arrivals:
            self._warm(expected)
        self._heartbeat()
        change = self._swap.step(self._loaded, time.monotonic_ns())
        if change is not None:
            self._change(change)
        self._show()

    def reload(self) -> None:
        """Take the active bundle, if it is another one, as soon as it is proved; safe in a signal handler."""
        self._swap.ask()

    def stop(self) -> None:
        """Let `run` return after the step in progress."""
        self._stopping = True

    def close(self) -> None:
        """Free the sockets, then the engines; the gate sees its connection end. The garbage collector is as before."""
        self._gate.close()
        for feed in self._feeds:
            feed.close()
        self._context.term()
        if self._archive is not None:
            self._archive.close()
        self._swap.close()
        if self._status.loaded is not None:
            self._status.loaded.machine.close()
        self._health.close()
        gc.unfreeze()
        gc.enable()

    # -- starting

    def _subscribe(self, index: int) -> CameraFeed:
        feed = CameraFeed(
            self._config.camera[index],
            self._context,
            max_frame_bytes=self._config.max_frame_bytes,
            receive_queue=self._config.receive_queue,
            curve=self._curve,
            remember=self._run_folder / f"{self._config.camera[index].name}.frames",
        )
        for socket in feed.sockets:
            self._poller.register(socket, zmq.POLLIN)
        return feed

    def _load(self, starting: Starting) -> Loaded:
        try:
            loaded = starting.load()
        except CordonError as exc:
            self._health.ended(exc)
            self.close()
            raise
        if starting.contract is not None:
            self._health.measured(starting.contract.worst_ms, starting.contract.room.left_ms)
        return loaded

    def _change(self, change: Successor | Restart) -> None:
        if isinstance(change, Restart):
            log.warning("the inspector ends, to be started anew: %s", change.why)
            # Closing with unread packets would make the gate's kernel report a reset before the last report and the reason.
            self._receive_expectation()
            self.stop()
            return
        old = [self._loaded, self._explainer]
        self._loaded, self._explainer = change.loaded, change.explainer
        self._rehearsal.change(self._loaded)
        self._faults.clear()
        self._health.measured(change.contract.worst_ms, change.contract.room.left_ms)
        self._swap.free(old)

    # -- the gate

    def _receive_expectation(self) -> Expect | None:
        newest = None
        try:
            while (message := self._gate.receive()) is not None:
                if isinstance(message, Expect):
                    newest = self._expected = message
                    self._swap.quiet.expects(message.trigger, time.monotonic_ns())
                elif isinstance(message, Settled):
                    self._swap.quiet.settled(message.trigger)
                    if self._archive is not None:
                        self._archive.settle(message)
        except ContractError:
            log.exception("dropping the connection to the gate")
            self._gate.close()
        return newest

    def _wait_ms(self) -> int:
        now = time.monotonic_ns()
        beat = self._announcer.until_beat_ms(now)
        return min(beat, EVERY_MS) if self._rehearsal.wanted(now) else beat

    def _heartbeat(self) -> None:
        now = time.monotonic_ns()
        alive = all(feed.alive(now) for feed in self._feeds)
        if alive != self.ready:
            self._change_ready(alive)
        if not alive:
            for feed in self._feeds:
                feed.renew(now)
        self._tend(now)
        self._announcer.tell_state(now, camera_alive=alive)
        if self._archive is not None:
            for event in self._archive.events():
                self._gate.send(event)
        self._collect_when_quiet(now)

    def _tend(self, now: int) -> None:
        for feed in self._feeds:
            feed.tend(now)
            if self._gate.connected and (event := feed.told(now)) is not None:
                self._gate.send(event)
                self._health.event(event)

    def _change_ready(self, ready: bool) -> None:
        self._announcer.ready = ready
        self._announcer.milestone("READY" if ready else "not READY: a camera is silent")
        if ready and gc.isenabled():
            gc.collect()
            gc.freeze()
            gc.disable()

    def _collect_when_quiet(self, now: int) -> None:
        # Refused frames leave exceptions behind; with the collector off, quiet times must clear them.
        if not gc.isenabled() and now - self._frame_ns > QUIET_NS and now - self._collected_ns > COLLECT_NS:
            self._collected_ns = now
            gc.collect()

    def _show(self) -> None:
        self._health.step(
            busy=self._rehearsal.wanted(time.monotonic_ns()),
            ready=self.ready,
            loaded=self._loaded,
            typologies=tuple(self._loaded.judges),
            feeds=self._feeds,
            connected=self._gate.connected,
            undelivered=self._gate.undelivered,
            notice=self._announcer.notice,
            archive=self._archive.standing() if self._archive is not None else None,
        )

    # -- frames

    def _work(self, arrival: Arrival) -> None:
        failure = None
        if arrival.header is not None:
            finding, failure = self._judge(arrival, arrival.header)
            explained = self._explainer.of(finding) if failure is None else NOTHING
            report = report_of(arrival, arrival.header, finding, self._loaded, explained)
            delivered = self._gate.send(report)
            self._health.reported(report, delivered=delivered, sent_ns=time.monotonic_ns())
            self._swap.quiet.reported(arrival.header.trigger_id, arrival.received_ns)
            self._status.frame(finding)
            self._frame_ns = arrival.received_ns
            if self._archive is not None:
                self._archive.hold(arrival, Shown.of(finding, explained))
        for event in arrival.events:
            self._gate.send(event)
            self._status.event(event)
            self._health.event(event)
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
        if not (self._config.prewarm and self.ready) or any(feed.waiting() for feed in self._feeds):
            return
        judge = None if expected is None else self._loaded.judges.get(expected.typology or "")
        now = time.monotonic_ns()
        try:
            if judge is not None:
                self._rehearsal.begin(judge, now)
                self._loaded.machine.warm(judge.engines)
                self._health.warmed()
            if self._rehearsal.wanted(now):
                self._rehearsal.walk(self._loaded)
        except EngineError as exc:
            self._engine_failed(exc)

    def _engine_failed(self, exc: EngineError) -> None:
        log.warning("%s", exc)
        self._health.failed(exc)
        if isinstance(exc, GpuError):
            self._announcer.tell_fault(exc)
            raise exc
        now = time.monotonic()
        self._faults.append(now)
        if len(self._faults) == ENGINE_FAULTS and now - self._faults[0] <= ENGINE_WINDOW_S:
            what = f"engines failed {ENGINE_FAULTS} times within {ENGINE_WINDOW_S:g} s"
            raise EngineError(what, seen=exc, remedy="The service manager starts the inspector again; check memory and bundle") from exc


def run_inspector(config_path: Path) -> int:
    """`cordon run inspector`: until SIGTERM, then 0. Raises CordonError when it cannot start or its engines keep failing."""
    lines = log_through(Log("inspector"))
    try:
        _serve(config_path)
    except BaseException as exc:
        lines.flush()
        if isinstance(exc, GpuError) or gave_up():
            try:
                _explain(exc)
            finally:
                leave(1)
        raise
    lines.flush()
    if gave_up():  # of a compiler that is still at work, too
        leave(0)
    return 0


def _explain(exc: BaseException) -> None:
    if isinstance(exc, CordonError):
        print(f"cordon run: {type(exc).__name__}: {exc}", file=sys.stderr)
    else:
        traceback.print_exception(exc)


def _serve(config_path: Path) -> None:
    # Asked for while the networks load: file and store may have been read before they were changed.
    early: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _frame: early.append(number))
    config, config_hash = read_config(config_path)
    notifier = Notifier()
    loading = Watch(LOADING_S)
    loading.feed()
    notifier.extend(STEP_S)
    try:
        daemon = InspectorDaemon(config, notifier, lambda: reread(config_path, config, daemon.configured), config_hash=config_hash)
    finally:
        loading.end()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        daemon.stop()

    def reload(_signal: int, _frame: FrameType | None) -> None:
        daemon.reload()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    signal.signal(signal.SIGHUP, reload)
    watch = Watch(STILL_S + (config.inspector.gpu.timeout_ms / 1000.0 if config.inspector.gpu else 0.0))
    alive = Alive(notifier, watch)
    try:
        alive.step(cameras=daemon.ready)
        if early:
            daemon.reload()
        daemon.run(lambda: alive.step(cameras=daemon.ready))
        notifier.stopping()
    finally:
        daemon.close()
        watch.end()
        notifier.close()
