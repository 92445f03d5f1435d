"""A whole cell on real processes: gate, inspector, pseudo-terminal and robot, with the books that the oracle checks at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType

import msgspec

from edge.config import GateConfig
from edge.errors import SimulationError
from edge.gate.settings import INSPECTOR_BEAT_MS
from faults.cell.books import Books, Findings, audit
from faults.cell.gate import REAL, GateProcess
from faults.cell.robot import CellRobot
from faults.cell.wire import Relay, Wire
from sim.robot_protocol import RobotResult

DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(GateConfig) if field.default is not msgspec.NODEFAULT}
NO_CHANGES: Mapping[str, object] = MappingProxyType({})
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})
QUICK_TIMES: Mapping[str, object] = {"budget_ms": 60.0, "resend_ms": 10.0, "ack_timeout_ms": 80.0}
"""For injectors that wait for deadlines again and again."""
START_S = 20.0
"""How long a gate may take until it serves, on a machine that does other things too."""
ROBOT_EXTRA_MS = 60.0
"""What the robot's own deadline has over the gate's budget: wire, adapter, scheduling."""


class Inspectors:
    """The zygote process, and the inspector that serves now."""

    def __init__(self, socket: Path, heartbeat_ms: float, variables: Mapping[str, str]) -> None:
        # As a script: as a module it would first import the whole suite.
        command = (sys.executable, str(Path(__file__).with_name("inspector.py")), str(socket), str(heartbeat_ms))
        environment = {**os.environ, **variables}
        self._zygote = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self.pid = 0

    def fresh(self) -> int:
        """Another inspector connects; returns its process id."""
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(b"new\n")
        self._zygote.stdin.flush()
        self.pid = int(self._zygote.stdout.readline())
        return self.pid

    def send(self, number: signal.Signals) -> None:
        """A signal to the inspector that serves now, if it lives."""
        send_signal(self.pid, number)

    @property
    def alive(self) -> bool:
        """The one that serves now has not ended."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def close(self) -> None:
        """End all of them."""
        self._zygote.communicate()


class Cell:
    """Use as context manager; `finish()` ends the gate and gives the findings."""

    def __init__(
        self,
        folder: Path,
        gate: Mapping[str, object] = NO_CHANGES,
        *,
        command: Sequence[str] = REAL,
        variables: Mapping[str, str] = NO_VARIABLES,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.settings = {**DEFAULTS, **gate}
        self.records = folder / "records.db"
        self.wire = Wire(folder / "robot")
        self.relay = Relay(self.wire)
        self.books = Books()
        self.robot = CellRobot(
            self.relay,
            self.books,
            budget_ms=self.number("budget_ms") + ROBOT_EXTRA_MS,
            heartbeat_ms=self.number("heartbeat_ms"),
            missed=int(self.number("missed_heartbeats")),
        )
        self.inspectors = Inspectors(folder / "gate.sock", INSPECTOR_BEAT_MS, variables)
        self.gate = GateProcess(write_config(folder, gate), command, variables=variables)
        self.sent = 0

    def number(self, key: str) -> float:
        """A figure of `[gate]`."""
        value = self.settings[key]
        assert isinstance(value, (int, float))
        return float(value)

    def __enter__(self) -> Cell:
        try:
            self.inspectors.fresh()
            self.gate.start()
            self.make_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Leave no process behind."""
        if self.gate.running:
            self.gate.kill()
        self.inspectors.close()
        self.wire.unplug()

    def make_ready(self, timeout_s: float = START_S) -> None:
        """Until the gate says READY. Raises SimulationError when it does not."""
        if not self.robot.pump_until(lambda: self.robot.ready, timeout_s):
            seen = f"gate {self.gate.ended()}, state {self.robot.protocol.state}, log {self.gate.log_text()[-600:]}"
            raise SimulationError("a gate of the fault suite did not become ready", seen=seen, remedy="Look at its log")

    def make_session(self, timeout_s: float = START_S) -> None:
        """Until a session is open. Raises SimulationError when there is none in time."""
        if not self.robot.pump_until(lambda: self.robot.protocol.session is not None, timeout_s):
            raise SimulationError("no session came", seen=self.gate.log_text()[-600:], remedy="Look at the gate's log")

    def weld(self, *, bad: bool, how: str = "") -> str:
        """The next weld's name, with its truth and what its inspector is asked to do."""
        self.sent += 1
        return f"{'B' if bad else 'G'}{self.sent}{'.' + how if how else ''}"

    def cycle(self, *, bad: bool, how: str = "", part: str = "P1") -> RobotResult | None:
        """One weld from trigger to result, in the session that is open or the next; None when nothing came of it."""
        self.make_session()
        if self.robot.trigger(part, self.weld(bad=bad, how=how)) is None:
            return None
        return self.robot.finish()

    def open(self, *, bad: bool, how: str = "", part: str = "P1") -> None:
        """Only send a trigger."""
        self.robot.trigger(part, self.weld(bad=bad, how=how))

    def kill_gate(self) -> None:
        """SIGKILL; the books remember in which session."""
        self.note_kill()
        self.gate.kill()
        self.wire.free()

    def note_kill(self) -> None:
        """The gate was or will be killed in the session that is open."""
        if self.robot.protocol.session is not None:
            self.books.killed.add(self.robot.protocol.session)

    def restart_gate(self, timeout_s: float = START_S) -> float:
        """SIGKILL, start again at once, wait for the new session; returns the seconds from kill to session."""
        old = self.robot.protocol.session
        killed_s = time.monotonic()
        self.kill_gate()
        self.respawn()
        self.await_session_after(old, timeout_s)
        return time.monotonic() - killed_s

    def await_session_after(self, old: str | None, timeout_s: float = START_S) -> None:
        """Until another session than `old` is open. Raises SimulationError when there is none in time."""
        if not self.await_change(old, timeout_s):
            raise SimulationError("no new session came", seen=self.gate.log_text()[-600:], remedy="Look at the gate's log")

    def await_change(self, old: str | None, timeout_s: float = START_S) -> bool:
        """Whether another session than `old` opens in time."""
        return self.robot.pump_until(lambda: self.robot.protocol.session not in (None, old), timeout_s)

    def respawn(self) -> None:
        """What the service manager does when the gate has ended."""
        self.gate.reap()
        self.wire.free()
        self.gate.start()

    def new_inspector(self) -> None:
        """What the service manager does when the inspector has ended."""
        self.inspectors.fresh()

    def replace_inspector(self) -> None:
        """Kill the one that serves, and start another."""
        self.inspectors.send(signal.SIGKILL)
        self.inspectors.fresh()

    def finish(self, *, exceptions: bool = False) -> Findings:
        """End the gate as the service manager does, and compare books and records; `exceptions`: the log may show some."""
        self.relay.heal()
        if self.gate.ended() is not None:
            old = self.robot.protocol.session
            self.respawn()
            self.await_session_after(old)
        self.robot.pump_for(0.02)
        status = self.gate.end()
        found = audit(self.records, self.books, int(self.number("budget_ms") * 1e6))
        if status != 0:
            found.failures.append(f"the gate ended with {status}: {self.gate.log_text()[-400:]}")
        if not exceptions and "Traceback" in self.gate.log_text():
            found.failures.append(f"a traceback in the gate's log: {self.gate.log_text()[-800:]}")
        return found


def send_signal(pid: int, number: signal.Signals) -> None:
    """To a process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def write_config(folder: Path, gate: Mapping[str, object] = NO_CHANGES) -> Path:
    """The box's configuration file for a cell in this folder."""
    keys = {"port": folder / "robot", "records": folder / "records.db", "socket": folder / "gate.sock", **gate}
    lines = [f'{key} = "{value}"' if isinstance(value, (str, Path)) else f"{key} = {str(value).lower()}" for key, value in keys.items()]
    inspector = ["[inspector]", 'bundle = "none"', f'trusted_keys = ["{"0" * 64}"]', "[[inspector.camera]]", 'name = "cam0"']
    path = folder / "cordon.toml"
    path.write_text("\n".join(["[gate]", *lines, *inspector, 'endpoint = "ipc:///none"', ""]), encoding="utf-8")
    return path
