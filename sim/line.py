"""A whole line as separate processes: writes the configuration, starts them in dependency order, restarts what dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from edge.errors import SimulationError

CORDON = (sys.executable, "-m", "edge")
BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pause before the n-th restart in a row, so that a daemon that cannot start does not spin."""
STABLE_S = 10.0
"""A child that lived this long starts with the shortest pause again."""

CONFIG = """\
[gate]
port = "{port}"
baudrate = {baudrate}
records = "{folder}/records.db"
socket = "{folder}/gate.sock"
profile = "{profile}"
budget_ms = {budget_ms}
{gate}
[inspector]
bundle = "{bundle}"
trusted_keys = ["{key}"]
{inspector}
[[inspector.camera]]
name = "cam0"
endpoint = "{camera}"
{more}
"""


@dataclass(frozen=True, kw_only=True)
class LineSpec:
    """Where a line lives and what it runs with."""

    folder: Path
    """Working folder (configuration, socket, records, logs); short enough for a Unix socket path."""
    bundle: Path
    key: str
    """Trusted public key, 64 hex digits."""
    budget_ms: float = 100.0
    profile: str = "handshake"
    gate: str = ""
    """More lines for `[gate]`."""
    inspector: str = ""
    """More lines for `[inspector]`."""
    null_modem: tuple[str, str] | None = None
    """Two real serial ports wired together, the gate's and the robot's, in place of the pseudo-terminal."""
    baudrate: int = 115_200

    endpoint: str = ""
    """Where the camera is heard; empty: a Unix socket in the folder."""
    camera_table: str = ""
    """More lines for the camera's table, and further tables."""

    @property
    def port(self) -> Path:
        """The robot's pseudo-terminal (a link to it), or the gate's real port."""
        return Path(self.null_modem[0]) if self.null_modem else self.folder / "robot"

    @property
    def camera(self) -> str:
        """Where the simulated camera publishes."""
        return self.endpoint or f"ipc://{self.folder}/camera"

    @property
    def capture(self) -> str:
        """Where the simulated camera takes capture requests."""
        return f"ipc://{self.folder}/capture"

    @property
    def config(self) -> Path:
        """The configuration both daemons read."""
        return self.folder / "cordon.toml"

    def write_config(self) -> Path:
        """Write the configuration file and return its path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(
            CONFIG.format(
                port=self.port,
                baudrate=self.baudrate,
                folder=self.folder,
                profile=self.profile,
                budget_ms=self.budget_ms,
                gate=self.gate,
                bundle=self.bundle,
                key=self.key,
                inspector=self.inspector,
                camera=self.camera,
                more=self.camera_table,
            )
        )
        return self.config


@dataclass
class Child:
    """One process, its log and how often it had to be started again."""

    name: str
    command: tuple[str, ...]
    log: Path
    restart: bool = True
    restarts: int = 0
    process: subprocess.Popen[bytes] = field(init=False)
    started_s: float = field(init=False, default=0.0)
    due_s: float = field(init=False, default=0.0)
    streak: int = field(init=False, default=0)

    def start(self) -> None:
        """Start the process with its output appended to the log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.started_s = time.monotonic()
        self.due_s = 0.0

    @property
    def running(self) -> bool:
        """True while the process lives."""
        return self.process.poll() is None

    def revive(self, now_s: float) -> None:
        """Start again when dead, after the pause that its recent history asks for."""
        if self.running or not self.restart:
            return
        if self.due_s == 0.0:
            self.streak = 0 if now_s - self.started_s > STABLE_S else self.streak + 1
            self.due_s = now_s + BACKOFF_S[min(self.streak, len(BACKOFF_S) - 1)]
        elif now_s >= self.due_s:
            self.restarts += 1
            self.start()

    def tail(self, lines: int = 12) -> str:
        """The end of the log, for error messages."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Line:
    """The supervisor: a context manager that starts children in order, revives them on `step()` and stops them in reverse order."""

    def __init__(self, spec: LineSpec) -> None:
        spec.write_config()
        self.spec = spec
        self.children: dict[str, Child] = {}

    def __enter__(self) -> Line:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self, name: str, *arguments: str, restart: bool = True) -> Child:
        """Start `cordon ARGUMENTS...` under `name`."""
        child = Child(name, (*CORDON, *arguments), self.spec.folder / f"{name}.log", restart)
        child.start()
        self.children[name] = child
        return child

    def start_daemons(self) -> None:
        """Gate and inspector, as on the box."""
        self.start("gate", "run", "gate", "--config", str(self.spec.config))
        self.start("inspector", "run", "inspector", "--config", str(self.spec.config))

    def start_camera(self, welds: Path, *options: str) -> None:
        """A simulated camera that answers capture requests with the scans of `welds` (a CSV)."""
        arguments = ("--endpoint", self.spec.camera, "--name", "cam0", "--capture", self.spec.capture, "--welds", str(welds))
        self.start("camera", "sim", "camera", *arguments, *options)

    def start_robot(self, welds: Path, results: Path, *options: str, name: str = "robot") -> Child:
        """A simulated robot that works through `welds` once; its pseudo-terminal exists when this returns."""
        budget = ("--budget-ms", f"{self.spec.budget_ms:g}", "--profile", self.spec.profile)
        files = ("--welds", str(welds), "--results", str(results))
        modem = self.spec.null_modem
        line = ("--port", modem[1], "--baudrate", str(self.spec.baudrate)) if modem else ("--link", str(self.spec.port))
        robot = self.start(name, "sim", "robot", *line, "--capture", self.spec.capture, *files, *budget, *options, restart=False)
        self.wait(self.spec.port.exists, robot, seconds=20, what="the robot's pseudo-terminal")
        return robot

    def step(self) -> None:
        """Revive what died."""
        now_s = time.monotonic()
        for child in self.children.values():
            child.revive(now_s)

    def wait(self, condition: Callable[[], bool], child: Child, *, seconds: float, what: str) -> None:
        """Step until `condition()` holds. Raises SimulationError with the child's log when it dies or takes too long."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until or not (child.running or child.restart):
                raise SimulationError(
                    f"{what} did not come up within {seconds:g} s",
                    seen=f"log of {child.name}:\n{child.tail()}\n",
                    remedy=f"See {child.log}",
                )
            self.step()
            time.sleep(0.01)

    def stop(self) -> None:
        """SIGTERM in reverse order, SIGKILL for what does not listen."""
        for child in reversed(self.children.values()):
            child.restart = False
            if child.running:
                child.process.send_signal(signal.SIGTERM)
        for child in self.children.values():
            try:
                child.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
