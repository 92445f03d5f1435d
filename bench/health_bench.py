"""What the gate's numbers cost: per verdict, per state, per look, and in the verdicts' latency with readers that never rest."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge.config import read_config
from edge.contract import CONTRACT_VERSION, Expect, InspectorState, Outcome, Reason, Report, TriggerId, decode_to_inspector, encode
from edge.errors import SimulationError
from edge.gate.case import Record, Send, Ticket
from edge.gate.messages import Verdict
from edge.gate.push import PushSession
from edge.gate.records import Recorder
from edge.gate.rows import DispositionRow, TriggerRow, VerdictRow
from edge.gate.settings import settings_from
from edge.gate.store import Store
from edge.health.gate import LAYOUT, GateHealth
from edge.health.ledger import Ledger
from edge.health.reader import read
from edge.log import Log
from sim.robot import Robot

CONFIG = """\
[gate]
port = "{folder}/robot"
records = "{folder}/records.db"
socket = "{folder}/gate.sock"
budget_ms = 400.0
[inspector]
bundle = "x"
trusted_keys = ["{key}"]
[[inspector.camera]]
name = "cam0"
endpoint = "ipc:///tmp/none"
"""
GATE = "import sys; from pathlib import Path; import edge.gate.daemon as d\n{patch}\nsys.exit(d.run_gate(Path(sys.argv[1])))"
WITHOUT = """
class Nothing:
    problem = ""
    def __init__(self, *a): pass
    def __getattr__(self, name): return lambda *a, **k: None
d.GateHealth = Nothing
"""
READER = """
import sys
from pathlib import Path
from edge.health.reader import read
from edge.log import Log
while True:
    read(Path(sys.argv[1]))
"""
BUNDLE = "b" * 64
MEMORY = "/dev/shm"  # noqa: S108 - a folder of its own is made there
"""As /run is: a file system in memory."""
NS_PER_US = 1e3


class Answering:
    """The inspector's end of the gate's socket: says that it is ready, and that every weld is good."""

    def __init__(self, path: Path, config: str) -> None:
        self._config = config
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(str(path))
        self._stop = False
        self._threads = [threading.Thread(target=self._beat, daemon=True), threading.Thread(target=self._answer, daemon=True)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Hang up."""
        self._stop = True
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _beat(self) -> None:
        while not self._stop:
            self._socket.send(encode(self._state()))
            time.sleep(0.05)

    def _state(self) -> InspectorState:
        return InspectorState(
            version=CONTRACT_VERSION, pid=1, ready=True, backend="bench", bundle=BUNDLE, bundle_version=1, typologies=("T2",),
            known_answers=1, camera_alive=True, frames=0, gaps=0, refused=0, sent_ns=time.monotonic_ns(), config=self._config,
        )  # fmt: skip

    def _answer(self) -> None:
        counter = 0
        while packet := self._socket.recv(65_536):
            message = decode_to_inspector(packet)
            if isinstance(message, Expect):
                counter += 1
                self._socket.send(encode(_report(message, counter)))


def _report(expect: Expect, counter: int) -> Report:
    now_ns = time.monotonic_ns()
    return Report(
        camera="cam0", counter=counter, trigger=expect.trigger, part=expect.part, weld=expect.weld, typology_named="T2", typology="T2",
        reason=Reason.OK, detail="", score=0.1, threshold=0.5, members=(0.1,), members_expected=1, router_confidence=None, bundle=BUNDLE,
        backend="bench", payload_hash="0" * 32, captured_ns=1, received_ns=now_ns, prepared_ns=now_ns, scored_ns=now_ns,
    )  # fmt: skip


@contextmanager
def children(commands: Sequence[Sequence[object]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that end with the block."""
    started = [subprocess.Popen([sys.executable, "-c", *map(str, words)], stderr=subprocess.DEVNULL) for words in commands]
    try:
        yield started
    finally:
        for process in started:
            process.terminate()
            process.wait()


def latencies_us(welds: int, *, ledger: bool, read_file: str = "") -> list[float]:
    """From trigger to the verdict's last byte, as the gate's own records have it; in us, sorted.

    `read_file`: what a reader never stops reading.
    """
    with tempfile.TemporaryDirectory(prefix="cordon-", dir=MEMORY) as name:
        folder = Path(name)
        path = folder / "cordon.toml"
        path.write_text(CONFIG.format(folder=folder, key="0" * 64))
        robot = Robot(link=folder / "robot", budget_ms=2_000.0, missed_heartbeats=50)
        gate = [GATE.format(patch="" if ledger else WITHOUT), path]
        Ledger(folder / "other.health", LAYOUT, release="bench", now_ns=1, wall_ns=1).close(1)
        with children([gate, *([[READER, folder / read_file]] if read_file else [])]):
            _wait((folder / "gate.sock").exists)
            answering = Answering(folder / "gate.sock", read_config(path)[1])
            robot.start()
            if not robot.wait_ready(20):
                raise SimulationError("the gate is not ready", remedy="See what it writes to stderr")
            for number in range(welds):
                if not robot.inspect(f"P{number}", "W1", "T2").accepted:
                    raise SimulationError("a good weld was rejected", seen=number, remedy="Use a machine that is less busy")
            robot.close()
            answering.close()
        return _recorded(folder / "records.db")


def _recorded(records: Path) -> list[float]:
    query = "SELECT d.sent_ns - v.opened_ns FROM verdicts v JOIN dispositions d USING (session, sequence) WHERE v.outcome = 'ACCEPT'"
    connection = sqlite3.connect(records)
    try:
        return sorted(took / NS_PER_US for (took,) in connection.execute(query) if took is not None)
    finally:
        connection.close()


def _wait(holds: object) -> None:
    until_s = time.monotonic() + 20
    while not holds():  # type: ignore[operator]
        if time.monotonic() > until_s:
            raise SimulationError("the gate did not start", remedy="Run it by hand: cordon run gate")
        time.sleep(0.01)


def costs_us(count: int) -> dict[str, float]:
    """The median of what one verdict's numbers, one state and one look cost, in us."""
    with tempfile.TemporaryDirectory(prefix="cordon-", dir=MEMORY) as name:
        folder = Path(name)
        path = folder / "cordon.toml"
        path.write_text(CONFIG.format(folder=folder, key="0" * 64))
        config, digest = read_config(path)
        session, log = PushSession(settings_from(config.gate), lambda: "0" * 8), Log("bench")
        recorder = Recorder(Store(config.gate.records, boot="b", config=digest))
        health = GateHealth(config.gate, digest, session, recorder, log)
        found: dict[str, list[float]] = {"before sending": [], "whole": [], "state": [], "look": []}
        for number in range(count):
            before_us, whole_us = _verdict(health, number)
            found["before sending"].append(before_us)
            found["whole"].append(whole_us)
        for _ in range(min(count, 2_000)):
            started = time.perf_counter_ns()
            health._shown_ns = 0  # noqa: SLF001 - due at every step
            health.step(time.monotonic_ns(), port_open=True)
            found["state"].append((time.perf_counter_ns() - started) / NS_PER_US)
            started = time.perf_counter_ns()
            read(folder / "gate.health")
            found["look"].append((time.perf_counter_ns() - started) / NS_PER_US)
        recorder.close()
        log.close()
        health.close()
    return {name: statistics.median(values) for name, values in found.items()}


def _verdict(health: GateHealth, number: int) -> tuple[float, float]:
    """Everything that is counted for one ACCEPT: before its bytes leave, and in all."""
    sequence = number % 60_000 + 1
    key = TriggerId("s" * 16, sequence)
    trigger = TriggerRow(session=key.session, sequence=sequence, part="P", weld="W", typology="T2", opened_by="trigger", opened_ns=1_000)
    verdict = VerdictRow(
        session=key.session, sequence=sequence, part="P", weld="W", typology="T2", outcome="ACCEPT", reason="OK", detail="",
        opened_ns=1_000, decided_ns=31_000_000,
    )  # fmt: skip
    done = DispositionRow(
        session=key.session, sequence=sequence, sent="ACCEPT", sent_reason="OK", done="ACCEPTED", detail="", sent_ns=33_000_000,
        closed_ns=40_000_000,
    )  # fmt: skip
    message = Verdict(session=key.session, sequence=sequence, part="P", weld="W", outcome=Outcome.ACCEPT, reason=Reason.OK)
    actions = (Record((trigger,), Ticket("trigger", key)), Record((verdict,), Ticket("verdict", key)), Send(message, 1, key))
    closing = Record((done,))
    started = time.perf_counter_ns()
    health.did(actions[0])
    health.did(actions[1])
    health.durable(Ticket("verdict", key), 33_000_000)
    leaves = time.perf_counter_ns()
    health.did(actions[2])
    health.did(closing)
    return (leaves - started) / NS_PER_US, (time.perf_counter_ns() - started) / NS_PER_US


def import_ms(runs: int = 15) -> float:
    """What the gate's start pays for the modules of its numbers, compiled before as on a box: the least of several starts, in ms."""
    code = "import edge.gate.session, edge.gate.records, edge.gate.reload, edge.gate.log, edge.gate.machine, time\n"
    code += "t = time.perf_counter()\nimport edge.health.gate\nprint((time.perf_counter() - t) * 1e3)"
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        command = [sys.executable, "-c", code]
        took = (subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout for _ in range(runs))
        return min(map(float, took))


def main(argv: Sequence[str] | None = None) -> int:
    """`cordon bench health [--welds N]`: prints the figures, and ends with one line of JSON."""
    parser = argparse.ArgumentParser(prog="cordon bench health", description=main.__doc__)
    parser.add_argument("--welds", type=int, default=1_500)
    parser.add_argument("--rounds", type=int, default=6, help="each way in turn, so often; the least of its medians counts")
    arguments = parser.parse_args(argv)
    figures: dict[str, float] = {f"{name.replace(' ', '_')}_us": value for name, value in costs_us(20_000).items()}
    figures["import_ms"] = import_ms()
    # The third way shows what a busy process beside the gate costs by itself.
    ways = {"without": (False, ""), "with": (True, ""), "busy": (True, "other.health"), "hammered": (True, "gate.health")}
    found: dict[str, list[list[float]]] = {way: [] for way in ways}
    for _ in range(arguments.rounds):
        for way, (ledger, read_file) in ways.items():
            found[way].append(latencies_us(arguments.welds // arguments.rounds, ledger=ledger, read_file=read_file))
    for way, values in found.items():
        # On a busy machine some rounds take twice as long in everything: the least one was disturbed least.
        figures[f"{way}_median_us"] = min(map(statistics.median, values))
        figures[f"{way}_p99_us"] = min(took[int(0.99 * len(took))] for took in values)
    figures["ratio"] = figures["with_median_us"] / figures["without_median_us"]
    figures["ratio_hammered"] = figures["hammered_median_us"] / figures["busy_median_us"]
    for name, value in figures.items():
        print(f"{name:<24}{value:12.3f}")
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
