"""SIGHUP to a real inspector: the service manager hears that it reloads and when it is through, and the active bundle judges."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from manager_kit import Manager
from tiny import PUBLIC, TinyBundle

from edge.bundles.policy import Policy
from edge.bundles.state import Proof
from edge.bundles.store import Store
from edge.config import load_config

CONFIG = """
[gate]
port = "none"
records = "{folder}/records.db"
socket = "{folder}/gate.sock"
[inspector]
trusted_keys = ["{key}"]
threads = 1
[inspector.bundles]
folder = "{folder}/bundles"
[[inspector.camera]]
name = "cam"
endpoint = "ipc://{folder}/cam"
heartbeat_ms = 60000
"""


def activate(config: Path, version: int) -> str:
    path = TinyBundle(version=version, router=False).save(config.with_name(f"{version}.cordon"))
    store = Store(policy=Policy.of(load_config(config).inspector))
    name = store.install(path)[0].hash
    store.activate(name, lambda _: Proof(version=version, answers=1, backend="nobody"))
    return name


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    path.write_text(CONFIG.format(folder=tmp_path, key=PUBLIC))
    activate(path, 1)
    return path


@contextlib.contextmanager
def running(config: Path, manager: Manager, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """The inspector as a process of its own; its log is `log` beside the configuration."""
    with config.with_name("log").open("wb") as errors:
        words = (sys.executable, *(words or ("-m", "edge")), "run", "inspector", "--config", str(config))
        inspector = subprocess.Popen(words, env=manager.environment, stderr=errors)
    try:
        yield inspector
        inspector.send_signal(signal.SIGTERM)
        assert inspector.wait(20) == 0
    finally:
        inspector.kill()
        inspector.wait()
        manager.close()


def until(condition: Callable[[], bool], manager: Manager) -> None:
    """The manager listens meanwhile, as one does."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        manager.listen(0.01)


@pytest.mark.slow
def test_a_reload_is_told_to_the_service_manager_until_the_bundle_judges(config: Path, tmp_path: Path) -> None:
    log, manager = tmp_path / "log", Manager(tmp_path)
    with running(config, manager) as inspector:
        until(lambda: "verified, hash" in log.read_text(), manager)
        early = activate(config, 2)
        inspector.send_signal(signal.SIGHUP)
        until(lambda: f"bundle {early[:12]} judges from here on" in log.read_text(), manager)
        manager.drain()
        told = [line for text in manager.heard for line in text.splitlines() if line.startswith(("READY", "RELOADING"))]
        assert told == ["READY=1", "RELOADING=1", "READY=1"], "it was activated while the one before was being loaded"
        name = activate(config, 3)
        inspector.send_signal(signal.SIGHUP)
        manager.wait("RELOADING=1\nMONOTONIC_USEC=", 20)
        manager.wait("READY=1", 20)
        assert f"bundle {name[:12]} judges from here on" in log.read_text()
        assert inspector.poll() is None


COMPILES_FOR_EVER = """
import sys
from edge.inspector import successor
from edge.inspector.machines import load

def load_proved(bundle, config, *, progress):
    while True:
        load(bundle, config.inspector, progress=lambda _: None)

successor.load_proved, successor.END_S = load_proved, 0.05
from edge.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_the_process_ends_in_order_while_a_network_is_being_compiled(config: Path, tmp_path: Path) -> None:
    starts, manager = tmp_path / "inspector.starts", Manager(tmp_path)
    with running(config, manager, "-c", COMPILES_FOR_EVER) as inspector:
        manager.wait("READY=1", 60)
        activate(config, 2)
        inspector.send_signal(signal.SIGHUP)
        until(lambda: starts.read_text() != "", manager)
    assert starts.read_text() == "", "the bundle is not to blame"
