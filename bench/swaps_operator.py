"""The person at the box, as a process of its own: activates one bundle after the other, reloads the inspector, looks who judges."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from edge.bundles.policy import Policy
from edge.bundles.proof import prover
from edge.bundles.state import Proof
from edge.bundles.store import Store
from edge.config import load_config
from edge.errors import SimulationError

LOOK_S = 0.01
LONGEST_S = 60.0
PAGE_KB = os.sysconf("SC_PAGE_SIZE") / 1024


def main(argv: Sequence[str]) -> int:
    """Swap `--swaps` times between the bundles installed; prints a line of JSON per swap."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("inspector", type=int, help="process id")
    parser.add_argument("bundles", nargs=2, help="hashes; the first one is active")
    parser.add_argument("--swaps", type=int, required=True)
    parser.add_argument("--pause-s", type=float, default=0.0)
    arguments = parser.parse_args(argv)
    config = load_config(arguments.config)
    store = Store(policy=Policy.of(config.inspector))
    known = remembered(store, arguments.bundles)
    for number in range(1, arguments.swaps + 1):
        wanted = arguments.bundles[number % 2]
        store.activate(wanted, known, downgrade="cordon bench swaps")
        began_s = time.monotonic()
        os.kill(arguments.inspector, signal.SIGHUP)
        await_verdict(config.gate.records, wanted, began_s + LONGEST_S)
        took_ms = (time.monotonic() - began_s) * 1e3
        print(json.dumps({"swap": number, "took_ms": round(took_ms, 1), "rss_mb": rss_mb(arguments.inspector)}), flush=True)
        time.sleep(arguments.pause_s)
    return 0


def first_activation(config_path: Path, paths: Sequence[Path], *, proved: bool) -> list[str]:
    """Install both bundles and activate the second, then the first; where `proved`, by a process of its own, as the command does."""
    config = load_config(config_path).inspector
    store = Store(policy=Policy.of(config))
    versions = {bundle.hash: bundle.manifest.version for bundle, _ in map(store.install, paths)}

    def unproved(name: str) -> Proof:
        return Proof(version=versions[name], answers=1, backend="nobody")

    prove = prover(config_path, store.policy.store.proof_s) if proved else unproved
    for name in reversed(versions):
        store.activate(name, prove, downgrade="cordon bench swaps")
    return [*versions]


def remembered(store: Store, names: Sequence[str]) -> Callable[[str], Proof]:
    """The proofs that `first_activation` got on this very box; the inspector runs every golden input again, at every swap."""
    proved = store.state().proved
    proofs = {name: proved[name] for name in names}
    return lambda name: proofs[name]


def await_verdict(records: Path, bundle: str, until_s: float) -> None:
    """Until the newest verdict in the records was given by `bundle`. Raises SimulationError."""
    with closing(sqlite3.connect(f"file:{records}?mode=ro", uri=True, timeout=1.0)) as connection:
        while True:
            newest = connection.execute("SELECT bundle FROM verdicts ORDER BY id DESC LIMIT 1").fetchone()
            if newest is not None and newest[0] == bundle:
                return
            if time.monotonic() > until_s:
                raise SimulationError(f"bundle {bundle[:12]} did not take over", seen=newest, remedy="See the inspector's log")
            time.sleep(LOOK_S)


def rss_mb(process: int) -> float:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return round(pages * PAGE_KB / 1024, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
