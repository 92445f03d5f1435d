"""A real line for injectors: gate and inspector as processes, the simulated robot on a pseudo-terminal, and a camera in one's hand."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import SimulationError
from edge.gate.latch import Latch
from faults.line.bundles import PUBLIC, TinyBundle
from faults.line.camera import Camera
from sim.line import Child
from sim.robot import Robot

CORDON = (sys.executable, "-m", "edge")
ENTRY = (sys.executable, "-m", "faults.line.entry")
ROBOT_BUDGET_MS = 1_000.0
"""The robot's own deadline, long: an answer that comes late must be seen to come late."""
MISSED = 10
"""Heartbeats either side of the link may miss: what a loaded machine does to them is not the subject here."""
_EVENT = re.compile(r" from=gate kind=(frame|inspector|ack|session|records|trigger|noise|link)(?: reason=(\S+))? ")
_TIMES = re.compile(r" (?:count|suppressed)=(\d+)")
_CONFIG = """\
[gate]
port = "{folder}/robot"
records = "{folder}/records.db"
socket = "{folder}/gate.sock"
budget_ms = {budget_ms}
missed_heartbeats = {missed}
{gate}
[inspector]
bundle = "{folder}/line.cordon"
trusted_keys = ["{key}"]
threads = 1
max_frame_bytes = {max_frame_bytes}
{inspector}
[[inspector.camera]]
name = "cam0"
endpoint = "{camera}"
heartbeat_ms = 1000
"""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How a line is built."""

    budget_ms: float = 100.0
    faulty: bool = False
    """The inspector is started through `faults.line.entry`, which obeys `FaultLine.order`."""
    inspector: bool = True
    camera: str = ""
    """Endpoint that the inspector connects to, where it is not the camera's own (a proxy's)."""
    bound: str = ""
    """Endpoint that the camera binds; empty: a Unix socket in the folder."""
    max_frame_bytes: int = 1 << 20
    gate_lines: str = ""
    inspector_lines: str = ""
    prefix: tuple[str, ...] = ()
    """Put before the inspector's command (prlimit ...)."""


@dataclass
class FaultLine:
    """A running line; `close` ends it. Raises SimulationError when it does not come up."""

    setup: Setup = field(default_factory=Setup)
    bundle: TinyBundle = field(default_factory=TinyBundle)
    folder: Path = field(init=False)
    parts: int = 0
    stopped: bool = False
    may_latch: bool = False
    """What latches the gate is expected: `settle` acknowledges it, as a person would."""
    acknowledged: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="cfl"))
        self.bundle_path = self.bundle.save(self.folder / "line.cordon")
        setup = self.setup
        bound = setup.bound or f"ipc://{self.folder}/camera"
        self.config = self.folder / "cordon.toml"
        text = _CONFIG.format(
            folder=self.folder,
            key=PUBLIC,
            budget_ms=setup.budget_ms,
            missed=MISSED,
            gate=setup.gate_lines,
            inspector=setup.inspector_lines,
            max_frame_bytes=setup.max_frame_bytes,
            camera=setup.camera or bound,
        )
        self.config.write_text(text)
        self.orders = self.folder / "orders.json"
        self.records = self.folder / "records.db"
        self.camera = Camera(bound)
        self.robot = Robot(link=self.folder / "robot", budget_ms=ROBOT_BUDGET_MS, repeat_ms=ROBOT_BUDGET_MS, missed_heartbeats=MISSED)
        self.robot.start()
        self.gate = Child("gate", (*CORDON, "run", "gate", "--config", str(self.config)), self.folder / "gate.log")
        self.inspector = Child("inspector", self._inspector_command(), self.folder / "inspector.log")
        self.gate.start()
        if setup.inspector:
            self.inspector.start()

    def _inspector_command(self) -> tuple[str, ...]:
        real = (*CORDON, "run", "inspector", "--config", str(self.config))
        obeying = (*ENTRY, str(self.config), str(self.orders))
        return (*self.setup.prefix, *(obeying if self.setup.faulty else real))

    def revive(self) -> None:
        """Start what died again, as the service manager does."""
        now_s = time.monotonic()
        self.gate.revive(now_s)
        if self.setup.inspector:
            self.inspector.revive(now_s)

    def idle(self, seconds: float) -> None:
        """Let time pass with the camera saying that it is there."""
        self.until(lambda: False, seconds)

    def until(self, condition: Callable[[], bool], seconds: float, *, camera: bool = True) -> bool:
        """Supervise until `condition` holds; False when it does not within `seconds`."""
        end_s = time.monotonic() + seconds
        beat_s = 0.0
        while not condition():
            now_s = time.monotonic()
            if now_s > end_s:
                return False
            if camera and now_s >= beat_s:
                self.camera.alive()
                beat_s = now_s + 0.2
            self.revive()
            time.sleep(0.005)
        return True

    def settle(self, seconds: float = 30.0) -> None:
        """Wait until the gate says READY from now on. Raises SimulationError with both logs' ends."""
        self.robot.protocol.state = None
        if not self.until(self._ready, seconds):
            told = [f"{child.name}:\n{child.tail()}\n" for child in (self.gate, self.inspector) if child.log.exists()]
            seen = "".join(told)
            raise SimulationError(f"the line was not READY within {seconds:g} s", seen=seen, remedy=f"See the logs in {self.folder}")

    def _ready(self) -> bool:
        if self.may_latch:
            self.acknowledged += Latch(self.records).acknowledge("fault suite")
        return self.robot.wait_ready(0.0)

    def restart_inspector(self, number: int = signal.SIGTERM) -> None:
        """End the inspector; the next `until` starts it again after the shortest pause."""
        self.inspector.process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            self.inspector.process.wait(20)
        self.inspector.streak, self.inspector.started_s = 0, time.monotonic()

    def order(self, **what: object) -> None:
        """Tell a faulty inspector what to do wrong from now on; nothing: to be good."""
        import json  # noqa: PLC0415

        fresh = self.orders.with_suffix(".new")
        fresh.write_text(json.dumps(what))
        fresh.replace(self.orders)

    def events(self) -> Counter[str]:
        """How often the gate recorded each kind of event so far, as its log says ("frame FRAME_LATE": 3)."""
        found: Counter[str] = Counter()
        for text in self.gate.log.read_text(errors="replace").splitlines():
            event = _EVENT.search(text)
            if event:
                times = sum(map(int, _TIMES.findall(text.partition(" text=")[0])))
                found[f"{event[1]} {event[2] or ''}"] += times or 1
        return found

    def memory_mib(self, field_name: str = "VmRSS") -> float:
        """The inspector's resident memory in MiB (VmHWM: its highest so far)."""
        status = Path(f"/proc/{self.inspector.process.pid}/status").read_text()
        found = re.search(rf"{field_name}:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else float("nan")

    @property
    def config_hash(self) -> str:
        """SHA-256 of the configuration as it lies there now."""
        return hashlib.sha256(self.config.read_bytes()).hexdigest()

    def stop(self) -> None:
        """End all processes; records and logs stay."""
        if self.stopped:
            return
        self.stopped = True
        self.robot.close()
        for child in (self.inspector, self.gate):
            if hasattr(child, "process") and child.running:
                os.kill(child.process.pid, signal.SIGCONT)
                child.process.terminate()
        for child in (self.inspector, self.gate):
            if hasattr(child, "process"):
                with contextlib.suppress(Exception):
                    child.process.wait(8)
                if child.running:
                    child.process.kill()
                    child.process.wait()
        self.camera.close()

    def close(self) -> None:
        """End everything and remove the folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


_LINES: dict[Setup, FaultLine] = {}


def shared(setup: Setup | None = None) -> FaultLine:
    """The line of this setup, started by the first injector that asks and READY; it serves all of them."""
    wanted = setup or Setup()
    line = _LINES.get(wanted)
    if line is None or not line.gate.running:
        forget(wanted)
        line = _LINES[wanted] = FaultLine(wanted)
    if wanted.inspector:
        line.settle()
    return line


def forget(setup: Setup) -> None:
    """End the shared line of this setup, if any: the next `shared` starts a fresh one."""
    line = _LINES.pop(setup, None)
    if line is not None:
        line.close()


@atexit.register
def close_all() -> None:
    """End every shared line."""
    for setup in list(_LINES):
        forget(setup)
