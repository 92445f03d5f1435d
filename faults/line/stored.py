"""A line whose inspector takes its bundle from a store, which the product's own commands fill as processes."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edge.bundles.policy import Policy
from edge.bundles.store import FILE, VERSIONS, Store
from edge.config import load_config
from edge.contract import Outcome
from edge.errors import SimulationError
from edge.gate.audit import read_part
from faults.line.bundles import KEY, PUBLIC, TinyBundle
from faults.line.cell import CORDON, FaultLine, Setup
from faults.line.trial import Trial

COMMAND_S = 120.0
_HASH = re.compile(r"[0-9a-f]{64}")
_TABLE = """
[inspector.bundles]
folder = "{folder}/bundles"
revoked_keys = {revoked}
"""


class StoredLine:
    """Gate and inspector around a store; `close` ends them. `prefix` stands before the inspector's command."""

    def __init__(self, *, prefix: tuple[str, ...] = ()) -> None:
        # The inspector is started once there is something in the store.
        self.line = FaultLine(Setup(inspector=False, prefix=prefix))
        self._file = f'bundle = "{self.line.folder}/line.cordon"\n'
        self._plain = self.line.config.read_text()
        self.trust(PUBLIC)

    def trust(self, *keys: str, revoked: Sequence[str] = ()) -> None:
        """Write the configuration with these keys. The gate starts anew with it; for the inspector it counts from its next start on."""
        trusted = ", ".join(f'"{key}"' for key in keys)
        text = self._plain.replace(self._file, "").replace(f'trusted_keys = ["{PUBLIC}"]', f"trusted_keys = [{trusted}]")
        table = _TABLE.format(folder=self.line.folder, revoked="[" + ", ".join(f'"{key}"' for key in revoked) + "]")
        self.line.config.write_text(text + table)
        gate = self.line.gate
        gate.process.terminate()
        gate.process.wait(20)
        gate.streak, gate.started_s = 0, time.monotonic()
        self.line.revive()

    @property
    def store(self) -> Store:
        """The store as the configuration has it now."""
        return Store(policy=Policy.of(load_config(self.line.config).inspector))

    def bundle_file(self, name: str) -> Path:
        """Where an installed bundle lies."""
        return self.store.folder / VERSIONS / name / FILE

    def command(
        self, *words: str, prefix: Sequence[str] = (), variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`cordon bundle WORDS --config ...` as a process."""
        line = [*prefix, *CORDON, "bundle", *words, "--config", str(self.line.config)]
        environment = {**os.environ, **(variables or {})}
        return subprocess.run(line, capture_output=True, text=True, timeout=COMMAND_S, check=False, env=environment)

    def write(self, data: bytes, name: str = "new.cordon") -> Path:
        """A file beside the store."""
        path = self.line.folder / name
        path.write_bytes(data)
        return path

    def install(self, data: bytes, variables: Mapping[str, str] | None = None) -> str:
        """Install by the command; returns the hash. Raises SimulationError where it is refused."""
        said = _done(self.command("install", str(self.write(data)), variables=variables))
        return str(_HASH.findall(said)[0])

    def activate(self, name: str, variables: Mapping[str, str] | None = None) -> None:
        """Activate by the command, golden inputs and all. Raises SimulationError where it is refused."""
        _done(self.command("activate", name, variables=variables))

    def put(self, data: bytes, variables: Mapping[str, str] | None = None) -> str:
        """Install and activate."""
        name = self.install(data, variables)
        self.activate(name, variables)
        return name

    def start(self) -> None:
        """Let the inspector come up. Raises SimulationError."""
        self.line.setup = replace(self.line.setup, inspector=True)
        self.line.inspector.start()
        self.line.settle(60.0)

    def restart(self) -> None:
        """The inspector starts anew, and with it everything is read and checked again."""
        self.line.restart_inspector()

    def accepted_by(self, part: str) -> list[str]:
        """The bundles by which welds of this part were accepted, in the order of the verdicts."""
        rows = read_part(self.line.records, part)
        return [str(row["verdict.bundle"]) for row in rows if row.get("verdict.outcome") == Outcome.ACCEPT.value]

    def close(self) -> None:
        """End everything and remove the folder."""
        self.line.close()


def bundle(version: int, *, seed: int = 0) -> bytes:
    """A genuine bundle of this version; another `seed` gives other content."""
    tiny = TinyBundle(version=version)
    if seed:
        tiny.files["T2/good-too"] = seed.to_bytes(8, "little")
    return tiny.signed(KEY)


def refused(trial: Trial, done: subprocess.CompletedProcess[str], *words: str) -> None:
    """A command that must say no, with one of these words, and no traceback."""
    trial.injections += 1
    said = done.stdout + done.stderr
    if done.returncode == 0 or "Traceback" in said or not any(word in said for word in words):
        trial.fail(f"{' '.join(map(str, done.args[3:6]))}: status {done.returncode}, {said[-300:]!r}, not {' or '.join(words)}")


def _done(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        seen = f"{' '.join(map(str, done.args))}: {done.stderr[-500:]}"
        raise SimulationError("a command that must work was refused", seen=seen, remedy="Look at what it says")
    return done.stdout
