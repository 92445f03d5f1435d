"""The gate's process: one poll loop over the robot's port, the inspector's socket and the recorder; all cold work in `__init__`."""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType

from edge.config import Config, GateConfig, read_config
from edge.demonstration import WARNING, is_demonstration
from edge.errors import ContractError
from edge.gate.alive import Alive
from edge.gate.case import Action, Discard, Kept, Latch, Record, Send, Tell, Withdraw
from edge.gate.challenge_file import ChallengeFile
from edge.gate.challenge_start import challenges_of
from edge.gate.handshake import HandshakeSession
from edge.gate.log import say_event
from edge.gate.machine import boot_id, boot_problem
from edge.gate.peer import InspectorSocket
from edge.gate.push import PushSession
from edge.gate.quarantine import open_records
from edge.gate.recipe import RecipeBook, load_recipes
from edge.gate.records import Acknowledged, Back, Crashed, Durable, Failed, Latched, Noted, Recorder
from edge.gate.reload import Reload, Running
from edge.gate.robot_port import NS_PER_S, RobotPort
from edge.gate.rows import EventRow
from edge.gate.session import GateSession
from edge.gate.settings import settings_from
from edge.health.gate import GateHealth
from edge.log import Log
from edge.notify import Notifier

CHECKPOINT_ROWS = 512
QUIET_NS = 2 * NS_PER_S
"""After this long without a trigger the records are checkpointed and garbage is collected."""
DRAIN_S = 5.0


def _nonce() -> str:
    return os.urandom(4).hex()


def _session(config: GateConfig, recipes: RecipeBook | None) -> GateSession:
    settings, book = settings_from(config), None if recipes is None else recipes.recipes
    challenges = challenges_of(config, book, boot_id())
    if config.profile == "push":
        return PushSession(settings, _nonce, challenges)
    return HandshakeSession(settings, _nonce, book, challenges)


class GateDaemon:
    """Opens port, records and socket in this order; `step()` handles what is ready, `run()` repeats it until SIGTERM.

    Raises StorageError, ChainError, ConfigError, PortMissingError, PortBusyError or LinkError when it cannot start.
    """

    def __init__(self, config: Config, config_hash: str, path: Path | None = None) -> None:
        """`path`: the file it came from, for `reload`."""
        started_s = time.monotonic()
        self.config = config.gate
        self.log = Log("gate")
        self.stopping = False
        recipes = load_recipes(self.config.recipes, self.config.recipe) if self.config.recipes is not None else None
        self.session = _session(self.config, recipes)
        with ExitStack() as opened:
            notifier = Notifier()
            opened.callback(notifier.close)
            self.robot = RobotPort(self.config, self.session)
            opened.callback(self.robot.close)
            self._say(f"port {self.config.port} at {self.config.baudrate} baud, profile {self.config.profile}", started_s)
            store, left, damage = open_records(
                self.config.records, boot=boot_id(), config=config_hash, link=self.config.link_name, storage=self.config.storage
            )
            opened.callback(store.close)
            self._say(f"records {self.config.records}: {store.number} rows, {left} left open before are closed", started_s)
            if damage:
                self._say(f"the records were damaged and are put aside; nothing is accepted until somebody looked: {damage}", started_s)
            self.inspector = InspectorSocket(self.config.socket)
            opened.pop_all()
        self.recorder = Recorder(store, storage=self.config.storage)
        self.health = GateHealth(self.config, config_hash, self.session, self.recorder, self.log)
        self.robot.on_heard = self.health.heard
        self._rows, self._busy_ns, self._collected = 0, time.monotonic_ns(), True
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        running = Running(config, config_hash, recipes)
        self._reload = Reload(path, running, self.session, self.recorder, wake=self._wake, taken=self._configured)
        self._watch()
        self.session.note("gate", None, f"started, boot {boot_id()}, configuration {config_hash}", self._busy_ns)
        if problem := boot_problem():
            self.session.note("gate", None, problem, self._busy_ns)
        if recipes is not None:
            self.session.note("recipe", None, f"{len(recipes.recipes)} recipes, file {recipes.sha256}", self._busy_ns)
        if is_demonstration(config.inspector.trusted_keys):
            self.session.note("demonstration", None, WARNING, self._busy_ns)
        self.session.challenge_kept(ChallengeFile(self.config.records).load(), self._busy_ns)
        self.session.link_up(self._busy_ns)
        self._take_results()
        self._act()
        self._alive = Alive(notifier, self.recorder, f"serving {self.config.port}, {self.config.link_name}", self._busy_ns)
        self._say(f"waiting for the robot, and for the inspector on {self.config.socket}", started_s)

    def run(self) -> None:
        """Work until `stop()` or SIGTERM, then reject what is open, record it and close."""
        try:
            while not self.stopping:
                self.step(1.0)
        finally:
            self.close()

    def step(self, timeout_s: float) -> None:
        """Wait for something at most this long and handle everything that is ready."""
        for fd, mask in self._poll.poll(self._wait_s(timeout_s)):
            self._handle(fd, mask)
        now_ns = time.monotonic_ns()
        self.robot.mind(now_ns)
        self.session.tick(now_ns)
        # What has happened is recorded under the configuration that ruled.
        self._act()
        self._reload.step(now_ns)
        self._act()
        self._housekeep(now_ns)
        self.health.step(now_ns, port_open=self.robot.link is not None)
        self._alive.step(now_ns)

    def stop(self) -> None:
        """End after the present step; safe in a signal handler."""
        self.stopping = True
        self._wake()

    def reload(self) -> None:
        """Read the configuration again, and let it rule once no trigger is open; safe in a signal handler."""
        self._reload.ask()
        self._wake()

    def close(self) -> None:
        """Reject what is open, give every trigger its disposition, finish the records, close."""
        self._alive.stopping()
        self._reload.close()
        self.session.stop(time.monotonic_ns())
        self._act()
        self.robot.wait_for_line()
        self.session.close(time.monotonic_ns())
        self._act()
        whole = self.recorder.close(DRAIN_S)
        self.log.say("stopped, all records written" if whole else "stopped, but the disk did not take all records")
        self.inspector.close()
        self.robot.close()
        self._poll.close()
        self._wake_in.close()
        self._wake_out.close()
        self._alive.close()
        self.health.close()
        self.log.close()

    # polling

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # full: the loop is to wake up anyway
            self._wake_in.send(b"x")

    def _watch(self) -> None:
        self._poll = select.epoll()
        for readable in (self.inspector.listener, self.recorder, self._wake_out):
            self._poll.register(readable.fileno(), select.EPOLLIN)
        self.robot.watch(self._poll)

    def _wait_s(self, timeout_s: float) -> float:
        now_ns = time.monotonic_ns()
        due = [self.session.next_ns(now_ns), now_ns + int(timeout_s * NS_PER_S)]
        if (line_ns := self.robot.due_ns()) is not None:
            due.append(line_ns)
        return max(0, min(due) - now_ns) / NS_PER_S

    def _handle(self, fd: int, mask: int) -> None:
        if fd == self.recorder.fileno():
            self._take_results()
        elif self.robot.owns(fd):
            self.robot.serve(mask)
        elif fd == self.inspector.listener.fileno():
            self._accept()
        elif self.inspector.connection is not None and fd == self.inspector.connection.fileno():
            self._take_packets()
        elif fd == self._wake_out.fileno():
            self._wake_out.recv(64)
        self._act()

    def _act(self) -> None:
        """Do everything the session asked for, in its order; doing it may make it ask for more."""
        while actions := self.session.take():
            for action in actions:
                self._perform(action)
                self.health.did(action)

    def _perform(self, action: Action) -> None:
        if isinstance(action, Send):
            self.robot.send(action)
        elif isinstance(action, Record):
            self.recorder.submit(action.rows, action.ticket)
            self._rows += len(action.rows)
            for row in action.rows:
                if isinstance(row, EventRow):
                    say_event(self.log, row)
        elif isinstance(action, Tell):
            self.inspector.tell(action.message)
        elif isinstance(action, Latch):
            self.recorder.latch(action.why)
        elif isinstance(action, Kept):
            self.recorder.keep(action)
        elif isinstance(action, Withdraw):
            self.robot.withdraw(action.key)
        elif isinstance(action, Discard):
            self.robot.discard()

    # the inspector

    def _accept(self) -> None:
        try:
            peer = self.inspector.accept()
        except OSError as exc:
            self.session.note("inspector", None, str(exc), time.monotonic_ns())
            return
        if self.inspector.connection is not None:
            self._lose_inspector("a newer connection takes its place")
        self.inspector.adopt(peer)
        self._poll.register(peer.fileno(), select.EPOLLIN)
        self.session.inspector_up(time.monotonic_ns())
        self.health.connected()

    def _take_packets(self) -> None:
        try:
            messages = self.inspector.receive()
        except (ContractError, OSError) as exc:
            self._lose_inspector(str(exc))
            return
        for message in messages:
            self.session.told(message, time.monotonic_ns())
            self._act()
            self.health.told(message, time.monotonic_ns())

    def _lose_inspector(self, why: str) -> None:
        if self.inspector.connection is not None:
            self._poll.unregister(self.inspector.connection.fileno())
            self.inspector.drop()
        self.session.inspector_down(why, time.monotonic_ns())

    # the records

    def _take_results(self) -> None:
        for result in self.recorder.results():
            now_ns = time.monotonic_ns()
            if isinstance(result, Durable):
                self.session.recorded(result.ticket, now_ns)
                self.health.durable(result.ticket, now_ns)
            elif isinstance(result, Failed):
                self.session.record_failed(result.ticket, result.why, now_ns)
                self.health.record_failed()
            elif isinstance(result, Back):
                self.session.store_back(now_ns)
            elif isinstance(result, Latched):
                self.session.latched_for(result.reasons, now_ns)
            elif isinstance(result, Acknowledged):
                self.session.acknowledged(now_ns)
            elif isinstance(result, Noted):
                self.log.say(result.text)
            elif isinstance(result, Crashed):
                raise result.error

    def _housekeep(self, now_ns: int) -> None:
        """Slow work, only while no trigger is open."""
        if not self.session.idle:
            self._busy_ns, self._collected = now_ns, False
            return
        quiet = now_ns - self._busy_ns > QUIET_NS
        if self._rows >= CHECKPOINT_ROWS or (quiet and not self._collected and self._rows):
            self._rows = 0
            self.recorder.checkpoint(quiet=quiet)
        if quiet and not self._collected:
            self._collected = True
            gc.collect()

    def _configured(self, running: Running) -> None:
        self.config = running.config.gate
        self.health.configured(self.config, running.hash)

    def _say(self, text: str, since_s: float) -> None:
        self.log.say(text, kind="start", seconds=f"{time.monotonic() - since_s:.3f}")


def run_gate(config_path: Path) -> int:
    """The `cordon run gate` command: run until SIGTERM or SIGINT; returns 0. Raises CordonError when it cannot start."""
    # Asked for while it starts: the file may have been read before it was edited.
    early: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _frame: early.append(number))
    daemon = GateDaemon(*read_config(config_path), config_path)

    def end(_signal: int, _frame: FrameType | None) -> None:
        daemon.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    signal.signal(signal.SIGHUP, lambda _signal, _frame: daemon.reload())
    if early:
        daemon.reload()
    # A collection in the middle of a verdict would be a pause nobody asked for; it is done in quiet moments instead.
    gc.collect()
    gc.freeze()
    gc.disable()
    daemon.run()
    return 0
