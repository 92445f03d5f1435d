"""A small real inspector process: the contract's messages on the real socket, and misbehaviour that a weld's name asks for.

`python inspector.py SOCKET HEARTBEAT_MS` is a zygote: each line on its standard input makes one inspector, whose
process id it answers; one is always forked in advance, so that a new one is up within a few ms.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.contract import (
    CONTRACT_VERSION,
    MAX_MESSAGE_BYTES,
    Expect,
    InspectorState,
    Reason,
    Report,
    TriggerId,
    decode_to_inspector,
    encode,
)

BUNDLE = "b" * 64
TYPOLOGY = "T2"
GOOD_SCORE, BAD_SCORE, THRESHOLD = 0.1, 0.9, 0.5


class Inspector:
    """One connection to the gate at a time; the truth comes with the weld's name: `B...` is bad, `.xNN` asks for misbehaviour."""

    def __init__(self, path: str, heartbeat_s: float) -> None:
        self._path, self._heartbeat_s = path, heartbeat_s
        self._parent = os.getppid()
        self._config: str
        self._counter = 0
        self._last: Report | None = None

    def run(self) -> None:
        """Serve one gate after the other."""
        while True:
            with self._connected() as self._peer, contextlib.suppress(ConnectionError):
                self._serve()

    def _connected(self) -> socket.socket:
        while True:
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                peer.connect(self._path)
            except OSError:
                peer.close()
                if os.getppid() != self._parent:
                    os._exit(0)
                time.sleep(0.002)
            else:
                self._config = config_hash(self._path)
                return peer

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._peer, select.POLLIN)
        beat_s = 0.0
        while True:
            now_s = time.monotonic()
            if now_s >= beat_s:
                self._say(state(self._config))
                beat_s = now_s + self._heartbeat_s
            if poll.poll(max(0.0, beat_s - now_s) * 1e3):
                packet = self._peer.recv(MAX_MESSAGE_BYTES)
                if not packet:
                    return
                message = decode_to_inspector(packet)
                if isinstance(message, Expect):
                    self._answer(message)

    def _answer(self, expect: Expect) -> None:
        _, _, how = expect.weld.partition(".")
        amount = int(how[1:] or "0") if how else 0
        self._counter += 1
        fresh = report(expect, self._counter)
        BEHAVIOUR[how[:1]](self, fresh, amount)
        self._last = fresh

    def _say(self, message: InspectorState | Report) -> None:
        self._peer.send(encode(message))

    # what a weld's name may ask for

    def judge(self, fresh: Report, _: int) -> None:
        """Report."""
        self._say(fresh)

    def slow(self, fresh: Report, amount: int) -> None:
        """Report after so many ms."""
        time.sleep(amount / 1e3)
        self._say(fresh)

    def say_nothing(self, _fresh: Report, _: int) -> None:
        """No frame came."""

    def hang(self, _fresh: Report, _: int) -> None:
        """Never come back."""
        while True:
            time.sleep(3600)

    def die(self, _fresh: Report, amount: int) -> None:
        """Be killed so many microseconds after the trigger."""
        _pause_us(amount)
        os.kill(os.getpid(), signal.SIGKILL)

    def die_after(self, fresh: Report, amount: int) -> None:
        """Report, and be killed so many microseconds later."""
        self._say(fresh)
        self.die(fresh, amount)

    def garbage(self, _fresh: Report, amount: int) -> None:
        """Bytes that are no message: random ones, a cut message, too many."""
        noise = (os.urandom(64), encode(state(self._config))[:40], b"x" * (MAX_MESSAGE_BYTES + 1), b"\xc1", b"\x90")[amount % 5]
        self._peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MAX_MESSAGE_BYTES)
        self._peer.send(noise)

    def kill_gate(self, _fresh: Report, amount: int) -> None:
        """SIGKILL the gate so many microseconds after the trigger, before any report."""
        _pause_us(amount)
        os.kill(self._gate(), signal.SIGKILL)

    def report_and_kill_gate(self, fresh: Report, amount: int) -> None:
        """SIGKILL the gate so many microseconds after the report: while it commits, sends, or later."""
        self._say(fresh)
        self.kill_gate(fresh, amount)

    def report_and_end_gate(self, fresh: Report, amount: int) -> None:
        """SIGTERM the gate so many microseconds after the report."""
        self._say(fresh)
        self.end_gate(fresh, amount)

    def end_gate(self, _fresh: Report, amount: int) -> None:
        """SIGTERM the gate so many microseconds after the trigger, without a report."""
        _pause_us(amount)
        os.kill(self._gate(), signal.SIGTERM)

    def repeat_last(self, _fresh: Report, _: int) -> None:
        """Report the frame before once more instead of this one."""
        if self._last is not None:
            self._say(self._last)

    def _gate(self) -> int:
        pid, _, _ = struct.unpack("iII", self._peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII")))
        return int(pid)


BEHAVIOUR: dict[str, Callable[[Inspector, Report, int], None]] = {
    "": Inspector.judge,
    "s": Inspector.slow,
    "n": Inspector.say_nothing,
    "h": Inspector.hang,
    "d": Inspector.die,
    "e": Inspector.die_after,
    "g": Inspector.garbage,
    "k": Inspector.kill_gate,
    "r": Inspector.report_and_kill_gate,
    "t": Inspector.end_gate,
    "u": Inspector.report_and_end_gate,
    "o": Inspector.repeat_last,
}
"""By the first letter after the dot of a weld's name; the number behind it is the amount."""


def _pause_us(amount: int) -> None:
    until_ns = time.monotonic_ns() + amount * 1_000
    while time.monotonic_ns() < until_ns:
        pass


def config_hash(gate_socket: str) -> str:
    """Hash of the configuration that lies beside the gate's socket in these cells."""
    return hashlib.sha256(Path(gate_socket).with_name("cordon.toml").read_bytes()).hexdigest()


def state(config: str) -> InspectorState:
    """READY, by an inspector of this release that runs on the gate's own configuration."""
    return InspectorState(
        version=CONTRACT_VERSION,
        pid=os.getpid(),
        ready=True,
        backend="openvino",
        bundle=BUNDLE,
        bundle_version=1,
        typologies=(TYPOLOGY,),
        known_answers=2,
        camera_alive=True,
        frames=0,
        gaps=0,
        refused=0,
        sent_ns=time.monotonic_ns(),
        config=config,
    )


def report(expect: Expect, counter: int) -> Report:
    """A finding by the truth: the score of a weld named `B...` is above the threshold."""
    now_ns = time.monotonic_ns()
    score = BAD_SCORE if expect.weld.startswith("B") else GOOD_SCORE
    return Report(
        camera="cam0",
        counter=counter,
        trigger=TriggerId(expect.trigger.session, expect.trigger.sequence),
        part=expect.part,
        weld=expect.weld,
        typology_named=TYPOLOGY,
        typology=TYPOLOGY,
        reason=Reason.OK,
        detail="",
        score=score,
        threshold=THRESHOLD,
        members=(score,),
        members_expected=1,
        router_confidence=None,
        bundle=BUNDLE,
        backend="openvino",
        payload_hash="0" * 32,
        captured_ns=now_ns,
        received_ns=now_ns,
        prepared_ns=now_ns,
        scored_ns=now_ns,
    )


def main(argv: Sequence[str]) -> None:
    """Serve requests until standard input ends, then kill every inspector."""
    path, heartbeat_s = argv[0], float(argv[1]) / 1e3
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    children: list[int] = []
    pid, start = _fork(path, heartbeat_s)
    children.append(pid)
    for _ in sys.stdin:
        os.write(start, b"x")
        os.close(start)
        print(pid, flush=True)
        pid, start = _fork(path, heartbeat_s)
        children = [*children[-8:], pid]
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def _fork(path: str, heartbeat_s: float) -> tuple[int, int]:
    """A child that becomes an inspector once its pipe is written to, and ends with the pipe otherwise."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(reading)
        return pid, writing
    os.close(writing)
    os.close(0)
    if os.read(reading, 1):
        Inspector(path, heartbeat_s).run()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
