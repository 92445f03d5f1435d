"""SIGHUP to a real inspector: the service manager hears that it reloads and when it is through, and the active bundle judges."""

import signal
import subprocess
import sys
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


@pytest.mark.slow
def test_a_reload_is_told_to_the_service_manager_until_the_bundle_judges(tmp_path: Path) -> None:
    config, log, manager = tmp_path / "c.toml", tmp_path / "log", Manager(tmp_path)
    config.write_text(CONFIG.format(folder=tmp_path, key=PUBLIC))
    activate(config, 1)
    with log.open("wb") as errors:
        words = [sys.executable, "-m", "edge", "run", "inspector", "--config", str(config)]
        inspector = subprocess.Popen(words, env=manager.environment, stderr=errors)
    try:
        manager.wait("READY=1", 60)
        name = activate(config, 2)
        inspector.send_signal(signal.SIGHUP)
        manager.wait("RELOADING=1\nMONOTONIC_USEC=", 20)
        manager.wait("READY=1", 20)
        assert f"bundle {name[:12]} judges from here on" in log.read_text()
        assert inspector.poll() is None
        inspector.send_signal(signal.SIGTERM)
        assert inspector.wait(20) == 0
    finally:
        inspector.kill()
        inspector.wait()
        manager.close()
