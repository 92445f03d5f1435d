"""Rows A01, A05, A07, A12 to A15: too many frames, none, too large ones, two cameras, a slow box, dead cables and hostile peers."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import signal
import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge.gate.messages import State
from edge.inspector.frame import encode_alive
from faults.line.camera import NAME, Camera, Parts, make_header
from faults.line.cell import FaultLine, Setup, forget, shared
from faults.line.proxy import Proxy
from faults.line.trial import Asked, Trial, nothing
from faults.registry import Effort, Result, injects

TEST = "tests/faults/test_line_network.py"
GROWTH_MIB = 48.0
"""What the inspector's memory may grow by; the receive queue holds 8 frames of at most 1 MiB."""
LATE_JOIN_S = 1.2
LIMITED = Setup(prefix=("prlimit", "--as=4294967296"))
"""An inspector whose memory is bounded, as the service manager's MemoryMax does."""


@injects("A01", test=TEST)
def flood(effort: Effort) -> Result:
    """Ten thousand frames a second and more, of no trigger or of triggers before, around each trigger's own frame."""
    trial = Trial(shared(), effort, "A01")
    line, rng = trial.line, random.Random(effort.seed)
    before_mib, burst = line.memory_mib(), 400
    images = [trial.image(good=True) for _ in range(50)]
    sent = 0
    for number in range(effort.times(60)):

        def act(asked: Asked, number: int = number) -> None:
            for index in range(burst):
                if index == burst // 2 and number % 3:
                    trial.send(trial.bad(asked) if number % 3 == 1 else trial.good(asked))
                trial.send(_stray(trial, rng, images[index % len(images)]))

        sent += burst
        if number % 3 == 2:
            trial.injections += burst
            trial.trigger(act)
        else:
            trial.refused(act, count=burst)
    line.until(lambda: line.robot.wait_ready(0), 10)
    grown = line.memory_mib("VmHWM") - before_mib
    if grown > GROWTH_MIB:
        trial.fail(f"the inspector's memory grew by {grown:.0f} MiB")
    return trial.finish(note=f"{sent} stray frames; the inspector's memory grew by {max(0.0, grown):.1f} MiB at most")


def _stray(trial: Trial, rng: random.Random, image: np.ndarray[Any, Any]) -> Parts:
    """A good weld's frame of no trigger, or of one that is closed."""
    counter = trial.line.camera.count()
    session = trial.results[-1].session if trial.results and trial.results[-1].session else "0" * 16
    header = make_header(counter, session=session, sequence=max(1, counter % 60_000), part=trial.part, weld="W1", typology="T2")
    if rng.random() < 0.5:
        header = msgspec.structs.replace(header, trigger=None)
    return trial.line.camera.parts(header, image)


@injects("A05", test=TEST)
def missing_and_late_joiner(effort: Effort) -> Result:
    """Frames dropped from the stream, and a camera that goes away, comes back and speaks before anybody listens."""
    trial = Trial(shared(), effort, "A05")
    rng = random.Random(effort.seed)
    for _ in range(effort.times(40)):
        lost = rng.randint(0, 5)
        for _ in range(lost):
            trial.line.camera.count()
        trial.refused(nothing, "NO_FRAME", count=max(1, lost))
    for _ in range(effort.times(6)):
        _rejoin(trial)
    return trial.finish()


def _rejoin(trial: Trial) -> None:
    line = trial.line
    counter, endpoint = line.camera.counter, line.camera.endpoint
    line.camera.close()
    end_s = time.monotonic() + LATE_JOIN_S
    while time.monotonic() < end_s:
        line.revive()
        time.sleep(0.01)
    line.camera = Camera(endpoint, counter)

    def unheard(asked: Asked) -> None:
        if not line.camera.heard():
            trial.send(trial.looks_good(asked))

    trial.injections += 1
    result = trial.trigger(unheard)
    if result.accepted:
        trial.fail(f"{result.weld}: accepted while nobody listened to the camera")
    line.settle()


@injects("A07", test=TEST)
def oversized(effort: Effort) -> Result:
    """A gigabyte declared, sides of billions, payloads over the limit, messages of very many parts; the inspector's memory is watched."""
    trial = Trial(shared(LIMITED), effort, "A07")
    line = trial.line
    before_mib = line.memory_mib()
    shapes = [(32_768, 32_768), (2**31, 2**31), (2**62, 1), (1, 2**62), (0, 0), (0, 5), (16_384, 16_384), (16_385, 1), (1, 2**24)]
    for _ in range(effort.times(4)):
        for shape in shapes:
            for kind, dtype in (("heightmap", "u1"), ("range", "f4"), ("cloud", "f4")):
                changes = {"shape": shape, "kind": kind, "dtype": dtype}
                wanted = ("FRAME_SHAPE", "FRAME_SIZE", "FRAME_HEADER", "NO_FRAME")
                trial.refused(lambda asked, changes=changes: trial.send(trial.looks_good(asked, **changes)), *wanted)
    for _ in range(effort.times(3)):
        trial.refused(lambda asked: _send_more(trial, asked, b"\0" * (line.setup.max_frame_bytes + 1)), "NO_FRAME", "NOT_READY")
        line.settle()
        trial.refused(lambda asked: line.camera.send(*trial.looks_good(asked), *[b""] * 20_000), "FRAME_PARTS", "NO_FRAME")
        line.settle()
    grown = line.memory_mib("VmHWM") - before_mib
    if grown > GROWTH_MIB:
        trial.fail(f"the inspector's memory grew by {grown:.0f} MiB")
    rebuilt = _too_many_large_parts(trial, effort)
    note = (
        f"Memory grew by {max(0.0, grown):.1f} MiB at most. ZeroMQ bounds one part, not their sum: a message of 6000 parts of 1 MiB made the "
        f"inspector end at its memory limit {rebuilt} times; REJECT until it was back. Keep MemoryMax on its unit."
    )
    result = trial.finish(note=note)
    forget(LIMITED)
    return result


def _send_more(trial: Trial, asked: Asked, payload: bytes) -> None:
    topic, text, _ = trial.looks_good(asked)
    trial.send((topic, text, payload))


def _too_many_large_parts(trial: Trial, effort: Effort) -> int:
    """One message of 6 GB in parts that are each allowed: the process ends at its limit, and the gate goes on answering."""
    line, block = trial.line, bytes(1 << 20)
    if effort.name == "quick":
        return 0
    before = line.inspector.restarts
    trial.refused(nothing)
    for _ in range(2):
        topic, text, _ = trial.looks_good(Asked(session="0" * 16, sequence=1, part="X", weld="W1", typology="T2"))
        with contextlib.suppress(MemoryError):
            line.camera.send(topic, text, *[block] * 6_000)
        end_s = time.monotonic() + 6
        while time.monotonic() < end_s and line.inspector.running:
            trial.refused(nothing)
        line.settle(40)
    return line.inspector.restarts - before


@injects("A12", test=TEST)
def two_publishers(effort: Effort) -> Result:
    """A second publisher of the same name: its counters, images and triggers are its own; and one that takes the endpoint over."""
    trial = Trial(shared(), effort, "A12")
    rng = random.Random(effort.seed)
    foreign = rng.randint(1, 50)
    for number in range(effort.times(60)):
        foreign += 1

        def act(asked: Asked, number: int = number, foreign: int = foreign) -> None:
            first = _of_stranger(trial, asked, foreign if number % 2 else trial.line.camera.counter + 1_000 + number)
            second = trial.bad(asked)
            for parts in (first, second):
                trial.send(parts)

        trial.refused(act, "DEFECT", "NO_FRAME", "FRAME_DUPLICATE", "FRAME_UNBOUND")
        trial.line.camera.counter += 2_000
        trial.trigger(lambda asked: trial.send(trial.good(asked)))
    for _ in range(effort.times(4)):
        _taken_over(trial)
    note = (
        "A stranger who copies the open trigger's session and number is believed: only keys per camera (CURVE) would tell him apart, and they "
        "belong to a later issue. Injected here: strangers that do not know the trigger."
    )
    return trial.finish(note=note)


def _of_stranger(trial: Trial, asked: Asked, counter: int) -> Parts:
    """A good weld under the stranger's own count, for a session of his own."""
    header = make_header(counter, session="5" * 16, sequence=asked.sequence, part=asked.part, weld=asked.weld, typology="T2")
    return trial.line.camera.parts(header, trial.image(good=True))


def _taken_over(trial: Trial) -> None:
    """Another publisher binds the same Unix socket while the true one lives: the connection there is stays with the true one."""
    line = trial.line
    second = Camera(line.camera.endpoint, counter=10**6)
    try:
        trial.injections += 1
        trial.trigger(lambda asked: second.send(*_of_stranger(trial, asked, second.count())))
        trial.refused(lambda asked: trial.send(trial.bad(asked)), "DEFECT", "NO_FRAME")
    finally:
        second.close()
    counter, endpoint = line.camera.counter, line.camera.endpoint
    line.camera.close()
    line.camera = Camera(endpoint, counter + 10)
    line.settle()


@injects("A13", test=TEST)
def slow_consumer(effort: Effort) -> Result:
    """The inspector stands still for 0.1 to 3 s (SIGSTOP) while good welds' frames pile up, then goes on."""
    trial = Trial(shared(), effort, "A13")
    rng, line = random.Random(effort.seed), trial.line
    lengths = [0.1, 0.2, 0.35, 0.7, 1.5, 3.0] if effort.name != "quick" else [0.35]
    for length in lengths * effort.times(3):
        line.settle()
        pid = line.inspector.process.pid
        os.kill(pid, signal.SIGSTOP)
        end_s = time.monotonic() + length
        try:
            while time.monotonic() < end_s:
                trial.refused(lambda asked: trial.send(trial.looks_good(asked)), "NO_FRAME", "INSPECTOR_DOWN", "NOT_READY")
                time.sleep(rng.random() * 0.02)
        finally:
            os.kill(pid, signal.SIGCONT)
        for _ in range(4):
            trial.refused(lambda asked: trial.send(trial.bad(asked)), "DEFECT", "NO_FRAME", "INSPECTOR_DOWN", "NOT_READY")
    return trial.finish()


@contextlib.contextmanager
def _behind_proxy() -> Any:
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
        seen_ms = [_half_open(trial, proxy) for _ in range(effort.times(4))]
        for _ in range(effort.times(6)):
            proxy.cut()
            trial.refused(lambda asked: trial.send(trial.bad(asked)), "NO_FRAME", "DEFECT", "NOT_READY")
            _back(line, proxy)
        cables, hostile = trial.injections, _hostile(trial, proxy, effort)
        note = (
            f"A dead cable was noticed after {max(seen_ms):.0f} ms at most (heartbeat 1000 ms). Peers without a key are not told apart: CURVE "
            "belongs to a later issue, so authentication itself was not attacked."
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
            trial.refused(lambda asked: trial.send(trial.looks_good(asked)), "NO_FRAME", "NOT_READY")
        dead_ms = (time.monotonic() - begin) * 1000
        if line.robot.protocol.state is not State.WAIT:
            trial.fail("not told within 5 s that the camera fell silent")
        trial.refused(lambda asked: trial.send(trial.looks_good(asked)), "NOT_READY")
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
    line, rng = trial.line, random.Random(effort.seed)
    before, before_mib, first = trial.injections, line.memory_mib(), line.inspector.process.pid
    canary = line.folder / CANARY
    proxy.hostile = [*_greetings(rng, effort), pickle.dumps(Canary(canary))]
    proxy.mode, tried = "hostile", proxy.connections
    proxy.cut()
    end_s = time.monotonic() + {"quick": 0.3, "ci": 8.0, "long": 60.0}[effort.name]
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
    found += [whole + b"\x02" + b"\xff" * 8, whole + b"\x06" + b"\x7f" * 8, whole + b"\x00\x00" * 500, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01"]
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
    for _ in range(effort.times(10)):
        for bomb in bombs:
            trial.refused(lambda asked, bomb=bomb: _with_header(trial, asked, bomb), "NO_FRAME")

        def topics(_asked: Asked) -> None:
            for length in range(1, 200):
                trial.line.camera.send(b"x" * length, b"", b"")
                trial.line.camera.send(NAME.encode() + b"x" * length, *encode_alive(NAME, 1, 1)[1:])

        trial.refused(topics, "NO_FRAME", count=398)


def _with_header(trial: Trial, asked: Asked, text: bytes) -> None:
    topic, _, payload = trial.looks_good(asked)
    trial.send((topic, text, payload))


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
        trial.refused(lambda asked: trial.send(trial.bad(asked)), "DEFECT")
    finally:
        for one in opened:
            one.close()
    return len(opened)
