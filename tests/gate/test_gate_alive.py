"""A real gate under a real notify socket: what a service manager hears of it, and when it hears nothing any more."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gate_kit import write_config
from manager_kit import Manager

from edge.gate.latch import Latch
from sim.robot import Robot

GATE = """
import sys
import edge.gate.alive
edge.gate.alive.RECORDER_STILL_NS = 1_000_000_000
from edge.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""The gate's own command, with less patience for its recorder."""
Start = Callable[[], tuple[subprocess.Popen[bytes], Manager]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a gate that is latched, so that its recorder looks at the latch twice a second, with a robot at its port."""
    (tmp_path / "records.db.latched").write_text("somebody has to look\n")
    manager = Manager(tmp_path)
    started: list[subprocess.Popen[bytes]] = []
    with Robot(link=tmp_path / "robot", budget_ms=900, missed_heartbeats=10):

        def begin() -> tuple[subprocess.Popen[bytes], Manager]:
            words = ["run", "gate", "--config", str(write_config(tmp_path, missed_heartbeats=10))]
            gate = subprocess.Popen([sys.executable, "-c", GATE, *words], env=manager.environment, stderr=subprocess.DEVNULL)
            started.append(gate)
            return gate, manager

        yield begin
        for gate in started:
            gate.kill()
            gate.wait()
    manager.close()


def stall(latch: Path) -> None:
    """From now on, whoever reads the latch waits for somebody to write it: a disk that does not answer."""
    fifo = latch.with_suffix(".fifo")
    os.mkfifo(fifo)
    fifo.replace(latch)


def unstall(latch: Path, seconds: float = 10.0) -> None:
    """The disk answers again: who waited reads a reason, and the next one finds the file as it was."""
    until = time.monotonic() + seconds
    while True:
        try:
            pipe = os.open(latch, os.O_WRONLY | os.O_NONBLOCK)
            break
        except OSError:
            assert time.monotonic() < until, "nobody reads the latch"
            time.sleep(0.02)
    plain = latch.with_suffix(".plain")
    plain.write_text("somebody has to look\n")
    plain.replace(latch)
    os.write(pipe, b"somebody has to look\n")
    os.close(pipe)


def test_ready_comes_once_the_gate_serves_and_the_feeding_ends_with_its_loop(start: Start) -> None:
    gate, manager = start()
    manager.wait("READY=1\nSTATUS=serving ")
    assert manager.heard[0].startswith("READY=1"), "nothing is said before"
    assert manager.fed()
    gate.send_signal(signal.SIGSTOP)
    manager.drain()
    assert not manager.fed(), "a stopped process is not alive"
    gate.send_signal(signal.SIGCONT)
    assert manager.fed()
    gate.send_signal(signal.SIGTERM)
    assert gate.wait(10) == 0
    manager.wait("STOPPING=1", 1)
    assert manager.listen(0.1) == []


def test_a_recorder_that_stands_still_ends_the_feeding_while_the_loop_goes_on(start: Start, tmp_path: Path) -> None:
    latch = Latch(tmp_path / "records.db").path
    stall(latch)
    _, manager = start()
    assert manager.listen(0.8) == [], "a gate whose disk does not answer is not READY"
    unstall(latch)
    manager.wait("READY=1")
    assert manager.fed()
    stall(latch)
    until = time.monotonic() + 8
    while manager.fed():
        assert time.monotonic() < until
    unstall(latch)
    assert manager.fed(2.0), "the loop never stopped: it goes on feeding once the recorder does"


def test_a_gate_that_cannot_start_is_never_ready(tmp_path: Path) -> None:
    manager = Manager(tmp_path)
    words = [sys.executable, "-m", "edge", "run", "gate", "--config", str(write_config(tmp_path))]
    assert subprocess.run(words, env=manager.environment, capture_output=True, check=False).returncode == 1
    assert manager.listen(0.1) == []
    manager.close()
