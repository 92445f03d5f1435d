"""A real inspector under a real notify socket: what a service manager hears of it, and when it hears nothing any more."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
from cell_kit import make_parts
from manager_kit import Manager
from tiny import PUBLIC, TinyBundle

from edge.inspector.frame import encode_alive

INSPECTOR = """
import os, sys
import edge.inspector.daemon as daemon
judge = daemon.inspect
def hang(*arguments, **options):
    os.close(os.open(sys.argv.pop(), os.O_RDONLY))  # a FIFO that nobody writes: an engine call that does not return
    return judge(*arguments, **options)
daemon.inspect = hang
from edge.cli import main
sys.exit(main(sys.argv[1:-1]))
"""
CONFIG = """
[gate]
port = "none"
records = "{folder}/records.db"
socket = "{folder}/gate.sock"
[inspector]
bundle = "{folder}/tiny.bundle"
trusted_keys = ["{key}"]
threads = 1
[[inspector.camera]]
name = "cam"
endpoint = "ipc://{folder}/cam"
heartbeat_ms = 60000
"""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path)
    yield manager
    manager.close()


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind(f"ipc://{tmp_path}/cam")
        yield socket


@pytest.fixture
def inspector(tmp_path: Path, manager: Manager) -> Iterator[subprocess.Popen[bytes]]:
    TinyBundle(router=False).save(tmp_path / "tiny.bundle")
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path, key=PUBLIC))
    os.mkfifo(tmp_path / "fifo")
    words = ["run", "inspector", "--config", str(tmp_path / "c.toml"), str(tmp_path / "fifo")]
    process = subprocess.Popen([sys.executable, "-c", INSPECTOR, *words], env=manager.environment, stderr=subprocess.DEVNULL)
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
def test_ready_comes_with_proved_engines_and_the_feeding_ends_with_an_engine_call(
    inspector: subprocess.Popen[bytes], manager: Manager, camera: "zmq.Socket[bytes]", tmp_path: Path
) -> None:
    manager.wait("READY=1\nSTATUS=engines proved, waiting for a camera", 60)
    loading = [text for text in manager.heard if text.startswith("EXTEND_TIMEOUT_USEC=")]
    assert manager.heard[: len(loading)] == loading, "while networks load, more time is asked for, and nothing else is said"
    assert len(loading) > 7, "at the start, for the bundle, for two typologies loaded and proved, and for each run that looks for the worst"
    assert manager.fed()
    assert camera.poll(5_000)
    camera.recv()
    camera.send_multipart(encode_alive("cam", 0, 1))
    manager.wait("STATUS=judging")
    inspector.send_signal(signal.SIGSTOP)
    manager.drain()
    assert not manager.fed(), "a stopped process is not alive"
    inspector.send_signal(signal.SIGCONT)
    assert manager.fed()
    camera.send_multipart(make_parts())
    manager.listen(0.3)
    assert not manager.fed(), "an engine call is overdue"
    with (tmp_path / "fifo").open("wb"):
        assert manager.fed(2.0)
    inspector.send_signal(signal.SIGTERM)
    assert inspector.wait(10) == 0
    manager.wait("STOPPING=1", 1)


def test_an_inspector_whose_bundle_is_refused_is_never_ready(tmp_path: Path, manager: Manager) -> None:
    (tmp_path / "tiny.bundle").write_bytes(b"no bundle")
    (tmp_path / "c.toml").write_text(CONFIG.format(folder=tmp_path, key=PUBLIC))
    words = [sys.executable, "-m", "edge", "run", "inspector", "--config", str(tmp_path / "c.toml")]
    assert subprocess.run(words, env=manager.environment, capture_output=True, check=False).returncode == 1
    assert [text.partition("=")[0] for text in manager.listen(0.1)] == ["EXTEND_TIMEOUT_USEC"]
