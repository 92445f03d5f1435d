"""A box that fails: a real inspector process on the software driver, with a gate's socket and a camera's around it, and what became of it.

With CORDON_FAILURES set to a file, tests append what they saw to it; `python tests/gpu/failure_kit.py FILE` prints that as a table.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from box_kit import BOX_KEY, BOX_PUBLIC, build_engines, open_tiny
from cell_kit import SESSION, FakeGate, listen, make_parts
from conftest import left_contexts
from softcuda.env import BUILD, soft_environment
from test_inspector_without_gpu import certified
from tiny import HEIGHT, PUBLIC, WIDTH, frame_image, network

from edge.bundle import Member
from edge.contract import Expect, Reason, Report, TriggerId, encode
from edge.engines import build_engine
from edge.engines.record import EngineRecord
from edge.engines.signing import sign
from edge.inspector.frame import encode_alive

SWITCH = Path(__file__).parent / "switch"
TIMEOUT_MS = 200.0
LONGEST = 170
ABORTS = ("Traceback", "Fatal Python", "terminate called", "PyCUDA WARNING", "PyCUDA ERROR", "Segmentation", "core dumped", "violation")
"""What no log may contain: the end must have been meant."""
GPU_CONFIG = """\
[gate]
port = "/dev/null"
records = "{folder}/r.db"
socket = "{folder}/gate"
[inspector]
bundle = "{folder}/tiny.bundle"
trusted_keys = ["{key}"]
threads = 1
{inspector}
[[inspector.camera]]
name = "cam"
endpoint = "ipc://{folder}/cam"
heartbeat_ms = 5000
"""
INSPECTOR = """\
backend = "tensorrt"
[inspector.gpu]
engines = "{folder}/engines"
box_keys = ["{box}"]
timeout_ms = {timeout_ms}
{more}
"""


def inspector_lines(folder: Path, *, box: str = BOX_PUBLIC, more: str = "", timeout_ms: float = TIMEOUT_MS) -> str:
    """What the configuration says under `[inspector]` for the box in `folder`."""
    return INSPECTOR.format(folder=folder, box=box, more=more, timeout_ms=timeout_ms)


def environment(folder: Path, **settings: Any) -> dict[str, str]:
    """That of an inspector on the software driver, in which `inject` works."""
    changed = soft_environment(report=folder / "report", **settings)
    changed["PYTHONPATH"] = os.pathsep.join([str(SWITCH), changed["PYTHONPATH"]])
    changed["CORDON_TEST_FAULTS"] = str(folder / "faults")
    return changed


def inject(process: subprocess.Popen[Any], folder: Path, *faults: str) -> None:
    """Switch faults on in a running process; `switch/sitecustomize.py` says how they are written."""
    (folder / "faults").write_text("\n".join(faults))
    process.send_signal(signal.SIGUSR1)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended: exit status (negative: killed by that signal), seconds since `since`, all that it wrote."""

    folder: Path
    status: int
    seconds: float
    log: str
    misuse: tuple[str, ...]
    """What the software driver found it to have done wrong."""

    @property
    def said(self) -> str:
        """Its last line, the reason."""
        return self.log.strip().rpartition("\n")[2]

    def require_orderly(self, status: int) -> None:
        """It ended by itself with `status`, and no destructor, signal or misuse had a part in it."""
        assert self.status == status, self.log
        assert not [sign for sign in ABORTS if sign in self.log], self.log
        assert self.misuse == ()


@dataclass
class Station:
    """One inspector process between the gate's socket and the camera's."""

    folder: Path
    gate: FakeGate
    camera: zmq.Socket[bytes]
    process: subprocess.Popen[bytes]
    since: float
    """time.monotonic of the moment from which `ended` counts: the start, or what `send` or `inject` did last."""
    sent: int = 0

    def until(self, condition: Callable[[], bool], seconds: float = 15.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"in vain; the gate heard {self.gate.messages[-3:]}, log:\n{self.log}"
            if not any(state.ready for state in self.gate.states):  # nobody hears the camera before he subscribed
                self.camera.send_multipart(encode_alive("cam", self.sent, 1))
            self.gate.poll()
            time.sleep(0.002)
        self.gate.poll()

    def ready(self) -> Station:
        """Wait until it is."""
        self.until(lambda: any(state.ready for state in self.gate.states))
        return self

    def send(self, gray: int = 40) -> None:
        """A frame of a good T2 weld."""
        self.sent += 1
        self.since = time.monotonic()
        self.camera.send_multipart(make_parts(frame_image(gray, seed=self.sent), counter=self.sent))

    def judge(self) -> Report:
        before = len(self.gate.reports)
        self.send()
        self.until(lambda: len(self.gate.reports) > before)
        return self.gate.reports[-1]

    def expect(self) -> None:
        """A trigger opens: the inspector warms the GPU."""
        assert self.gate.connection is not None
        self.since = time.monotonic()
        self.gate.connection.send(encode(Expect(TriggerId(SESSION, 7), "P1", "W1", "T2")))

    def inject(self, *faults: str) -> None:
        inject(self.process, self.folder, *faults)
        time.sleep(0.05)  # a signal has no answer

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def ended(self, within: float = 15.0) -> Ended:
        self.until(lambda: self.process.poll() is not None, within)
        seconds = time.monotonic() - self.since
        report = self.folder / "report"
        told = report.read_text().splitlines() if report.exists() else []
        misuse = tuple(line for line in told if line.startswith("violation"))
        return Ended(folder=self.folder, status=self.process.returncode, seconds=seconds, log=self.log, misuse=misuse)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@dataclass
class Box:
    """A folder with a certified bundle, its engines, and a configuration; `start` runs an inspector on it."""

    folder: Path
    gate: FakeGate
    camera: zmq.Socket[bytes]
    stations: list[Station] = field(default_factory=list)

    @property
    def engines(self) -> Path:
        return self.folder / "engines"

    def configure(self, inspector: str) -> None:
        text = GPU_CONFIG.format(folder=self.folder, key=PUBLIC, inspector=inspector)
        (self.folder / "cordon.toml").write_text(text)

    def start(self, *, cordon: tuple[str, ...] = ("-m", "edge"), **settings: Any) -> Station:
        """An inspector with these settings of `soft_environment`; the gate forgets what it heard before. `cordon`: what Python runs."""
        if not (self.folder / "cordon.toml").exists():
            self.configure(inspector_lines(self.folder))
        self.gate.poll()
        self.gate.messages.clear()
        command = (sys.executable, *cordon, "run", "inspector", "--config", str(self.folder / "cordon.toml"))
        changed = environment(self.folder, **settings)
        since = time.monotonic()
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(command, env=changed, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.stations.append(Station(self.folder, self.gate, self.camera, process, since))
        return self.stations[-1]

    def record(self, name: str) -> EngineRecord:
        return msgspec.json.decode((self.engines / f"{name}.json").read_bytes(), type=EngineRecord)

    def engine(self, name: str) -> Path:
        return self.engines / self.record(name).file

    def put(self, name: str, data: bytes) -> None:
        """These bytes in place of an engine's, vouched for by the box's key."""
        digest = hashlib.sha256(data).hexdigest()
        record = sign(msgspec.structs.replace(self.record(name), engine_sha256=digest, engine_bytes=len(data)), BOX_KEY)
        (self.engines / record.file).write_bytes(data)
        (self.engines / record.file).chmod(0o600)
        (self.engines / f"{record.name}.json").write_bytes(msgspec.json.encode(record))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to be copied: tiny.bundle, certified, its engines, and `another`, an engine that calls other welds bad than T2's does."""
    folder = tmp_path_factory.mktemp("built")
    build_engines(open_tiny(certified(), folder), folder / "engines")
    member = Member(name="T2-0", file="T2-0.onnx", architecture="tiny", input="heightmap", output="scores", classes=("bad", "good"))
    engine = build_engine(network(centre=50.0, sign=1.0), member=member, shape=(HEIGHT, WIDTH), backend="tensorrt")
    (folder / "another").write_bytes(engine.data)
    left_contexts()  # TensorRT's builder takes the primary context
    return folder


@pytest.fixture
def box(built: Path, tmp_path: Path) -> Iterator[Box]:
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    with zmq.Context() as context, context.socket(zmq.XPUB) as camera:
        camera.setsockopt(zmq.LINGER, 0)
        camera.bind(f"ipc://{tmp_path}/cam")
        made = Box(tmp_path, listen(tmp_path / "gate"), camera)
        yield made
        for station in made.stations:
            station.close()
        made.gate.close()


def refused(reports: list[Report]) -> bool:
    """Does none of these let a weld through?"""
    return all(report.reason is not Reason.OK for report in reports)


def note(request: pytest.FixtureRequest, row: str, where: str, ended: Ended, heard: str) -> None:
    """Keep what was seen for the table of docs/gpu-failures.md."""
    target = os.environ.get("CORDON_FAILURES")
    if target:
        test = request.node.nodeid.rpartition("/")[2].partition("[")[0]
        said = re.sub(r"^time=.* text=", "", ended.said.replace(str(ended.folder), "BOX").removeprefix("cordon run: "))
        line = [row, where.replace(str(BUILD), "build"), said, str(ended.status), heard, f"{ended.seconds:.2f} s", test]
        with Path(target).open("a") as file:
            file.write(json.dumps(line) + "\n")


def table(lines: list[str]) -> str:
    """What `note` kept, as a table in Markdown; of long messages only the beginning."""
    heads = ("what fails", "injected as", "the inspector's last line", "exit", "the gate hears", "time to exit", "test")
    rows = [heads, ("---",) * len(heads), *map(json.loads, lines)]
    return "\n".join(
        "| " + " | ".join(textwrap.shorten(cell.replace("|", "\\|"), LONGEST, placeholder=" …") for cell in row) + " |" for row in rows
    )


if __name__ == "__main__":
    print(table(Path(sys.argv[1]).read_text().splitlines()))
