"""A liar in the inspector's place: says over the gate's real socket whatever an injector wants it to say, at the moment it wants."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from edge.contract import CONTRACT_VERSION, InspectorState, Reason, Report, ToGate, TriggerId, encode

BUNDLE = "b" * 64
BEAT_S = 0.05


class Probe:
    """Connected from construction on; a thread keeps saying READY, and connects again when the gate hung up."""

    def __init__(self, path: Path, **state: Any) -> None:
        self._path = path
        self._socket = self._connect()
        self._lock, self._ending = threading.Lock(), threading.Event()
        config = hashlib.sha256(path.with_name("cordon.toml").read_bytes()).hexdigest()
        self.state = msgspec.structs.replace(ready_state(), **{"config": config, **state})
        self._thread = threading.Thread(target=self._beat, name="probe", daemon=True)
        self._thread.start()

    def say(self, message: ToGate) -> bool:
        """One message; False when the gate hung up."""
        return self.say_raw(encode(message))

    def say_raw(self, packet: bytes) -> bool:
        """One packet of any bytes; False when the gate hung up."""
        try:
            with self._lock:
                self._socket.send(packet, socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Hang up."""
        self._ending.set()
        self._thread.join(2)
        self._socket.close()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            raise
        return connection

    def _beat(self) -> None:
        while not self._ending.wait(BEAT_S):
            if not self.say(msgspec.structs.replace(self.state, sent_ns=time.monotonic_ns())):
                self._renew()

    def _renew(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._socket.close()
            self._socket = self._connect()


def ready_state() -> InspectorState:
    """An inspector to which nothing is wanting."""
    return InspectorState(
        version=CONTRACT_VERSION,
        pid=os.getpid(),
        ready=True,
        backend="probe",
        bundle=BUNDLE,
        bundle_version=1,
        typologies=("T2", "T5"),
        known_answers=4,
        camera_alive=True,
        frames=0,
        gaps=0,
        refused=0,
        sent_ns=0,
    )


def good_report(session: str, sequence: int, part: str, weld: str, *, counter: int, digest: str = "") -> Report:
    """A report that may be accepted."""
    now_ns = time.monotonic_ns()
    return Report(
        camera="cam0",
        counter=counter,
        trigger=TriggerId(session, sequence),
        part=part,
        weld=weld,
        typology_named="T2",
        typology="T2",
        reason=Reason.OK,
        detail="",
        score=0.1,
        threshold=0.5,
        members=(0.1,),
        members_expected=1,
        router_confidence=None,
        bundle=BUNDLE,
        backend="probe",
        payload_hash=digest or f"{counter:032x}",
        captured_ns=1,
        received_ns=now_ns,
        prepared_ns=now_ns,
        scored_ns=now_ns,
    )
