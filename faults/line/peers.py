"""Rows A14 and A15: dead cables, and peers that speak anything but what they should, between a real camera and a real inspector."""

from __future__ import annotations

import contextlib
import pickle
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from edge.gate.messages import State
from edge.inspector.frame import encode_alive
from faults.line.camera import NAME, Parts
from faults.line.cell import FaultLine, Setup
from faults.line.network import GROWTH_MIB
from faults.line.proxy import Proxy
from faults.line.trial import Asked, Trial, nothing
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_line_network.py"


@contextlib.contextmanager
def _behind_proxy() -> Iterator[tuple[Proxy, FaultLine]]:
    """A line whose camera is reached through a proxy on TCP."""
    port = _free_port()
    proxy = Proxy(port)
    line = FaultLine(Setup(camera=f"tcp://127.0.0.1:{proxy.port}", bound=f"tcp://127.0.0.1:{port}"))
    try:
        line.settle()
        yield proxy, line
    finally:
        line.close()
        proxy.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@injects("A14", "A15", test=TEST)
def dead_cable_and_hostile_peer(effort: Effort) -> Result:
    """Half-open and reset connections to the camera; a peer that answers with anything but ZeroMQ; hundreds of raw sockets."""
    with _behind_proxy() as (proxy, line):
        trial = Trial(line, effort, "A14")
        seen_ms = [_half_open(trial, proxy) for _ in range(effort.times(3))]
        for _ in range(effort.times(6)):
            proxy.cut()
            trial.refused(trial.sending(trial.bad), "NO_FRAME", "DEFECT", "NOT_READY")
            _back(line, proxy)
        cables, hostile = trial.injections, _hostile(trial, proxy, effort)
        note = (
            f"A dead cable was noticed after {max(seen_ms):.0f} ms at most (heartbeat 1000 ms). Peers without a key are not told apart: "
            "CURVE belongs to a later issue, so authentication itself was not attacked."
        )
        return trial.finish(note=note, injections_by_row={"A14": cables, "A15": hostile})


def _half_open(trial: Trial, proxy: Proxy) -> float:
    """Nothing passes any more and nobody is told; how long until the gate no longer says READY, in ms."""
    line = trial.line
    line.settle()
    proxy.mode = "swallow"
    begin = time.monotonic()
    try:
        while line.robot.protocol.state is not State.WAIT and time.monotonic() < begin + 5:
            trial.refused(trial.sending(trial.looks_good), "NO_FRAME", "NOT_READY")
        dead_ms = (time.monotonic() - begin) * 1000
        if line.robot.protocol.state is not State.WAIT:
            trial.fail("not told within 5 s that the camera fell silent")
        trial.refused(trial.sending(trial.looks_good), "NOT_READY")
    finally:
        _back(line, proxy)
    return dead_ms


def _back(line: FaultLine, proxy: Proxy) -> None:
    """The cable is whole again: wait until the inspector listens."""
    proxy.mode = "pass"
    proxy.cut()
    line.until(lambda: not line.camera.heard(), 1)
    line.until(line.camera.heard, 10)
    line.settle()


CANARY = "canary"


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def _hostile(trial: Trial, proxy: Proxy, effort: Effort) -> int:
    line, rng = trial.line, random.Random(effort.seed)  # noqa: S311 - seeded, not secret
    before, before_mib, first = trial.injections, line.memory_mib(), line.inspector.process.pid
    canary = line.folder / CANARY
    proxy.hostile = [*_greetings(rng, effort), pickle.dumps(Canary(canary))]
    proxy.mode, tried = "hostile", proxy.connections
    proxy.cut()
    end_s = time.monotonic() + {"quick": 0.3, "ci": 4.0, "long": 60.0}[effort.name]
    while time.monotonic() < end_s:
        trial.refused(nothing, "NO_FRAME", "NOT_READY")
        proxy.cut()
    answered = proxy.connections - tried
    _back(line, proxy)
    _hostile_messages(trial, canary, effort)
    sockets = _raw_sockets(trial, effort)
    grown = line.memory_mib("VmHWM") - before_mib
    for wrong, what in (
        (grown > GROWTH_MIB, f"the inspector's memory grew by {grown:.0f} MiB"),
        (canary.exists(), "a pickle was executed"),
        (line.inspector.process.pid != first, "the inspector died of hostile bytes"),
    ):
        if wrong:
            trial.fail(what)
    return trial.injections - before + answered + sockets


def _greetings(rng: random.Random, effort: Effort) -> list[bytes]:
    """Bytes in place of ZeroMQ's greeting, and greetings that go wrong later."""
    hello = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
    ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"
    whole = hello + ready
    found = [rng.randbytes(rng.randint(1, 400)) for _ in range(effort.times(60))]
    for _ in range(effort.times(200)):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        found.append(bytes(data[: rng.randint(1, len(data))]) + rng.randbytes(rng.randint(0, 64)))
    found += [
        whole + b"\x02" + b"\xff" * 8,
        whole + b"\x06" + b"\x7f" * 8,
        whole + b"\x00\x00" * 500,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01",
    ]
    rng.shuffle(found)
    return found


def _hostile_messages(trial: Trial, canary: Path, effort: Effort) -> None:
    """Well-framed messages with pickles, foreign topics and bombs of JSON."""
    bombs = [
        pickle.dumps(Canary(canary)),
        b"[" * 4000,
        b'{"a":' * 600,
        b'{"version":1' + b" " * 4000 + b"}",
        b'{"version":' + b"9" * 3000 + b"}",
        b"\xff\xfe" * 1000,
        b"\x80\x04cposix\nsystem\n",
    ]
    for _ in range(effort.times(4)):
        for bomb in bombs:
            trial.refused(trial.sending(_with_header, trial, bomb), "NO_FRAME")

        def topics(_asked: Asked) -> None:
            for length in range(1, 200):
                trial.line.camera.send(b"x" * length, b"", b"")
                trial.line.camera.send(NAME.encode() + b"x" * length, *encode_alive(NAME, 1, 1)[1:])

        trial.refused(topics, "NO_FRAME", count=398)


def _with_header(asked: Asked, trial: Trial, text: bytes) -> Parts:
    topic, _, payload = trial.looks_good(asked)
    return topic, text, payload


def _raw_sockets(trial: Trial, effort: Effort) -> int:
    """Connections that never say a word, at the camera's own port, while the good camera streams."""
    count = {"quick": 20, "ci": 500, "long": 1000}[effort.name]
    port = int(trial.line.camera.endpoint.rsplit(":", 1)[1])
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            with contextlib.suppress(OSError):
                opened.append(socket.create_connection(("127.0.0.1", port), timeout=1))
        trial.accepted()
        trial.refused(trial.sending(trial.bad), "DEFECT")
    finally:
        for one in opened:
            one.close()
    return len(opened)
